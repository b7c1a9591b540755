"""Backups."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from app.enums import BackupStatus, Consistency
from schema.ids import Node
from schema.payloads import Fault
from schema.scalars import BigInt
from schema.sources.types import SourceEcs

if TYPE_CHECKING:
    from schema.images.types import ImageDisk, PrivateImage


@strawberry.type(description="What all disks of an ECS held at one instant. It outlives the ECS.")
class Backup(Node):
    uuid: UUID = strawberry.field(description="The plain id.")
    name: str = strawberry.field(description="1 to 128 characters; need not be unique.")
    status: BackupStatus = strawberry.field(description="Where it is in its life.")
    fault: Fault | None = strawberry.field(
        description="Why it could not be made, or, of one that was, that it is DAMAGED."
    )
    consistency: Consistency | None = strawberry.field(
        description="How its disks relate to the file systems on them. Null until known."
    )
    ecs: SourceEcs = strawberry.field(description="The ECS that it is a backup of.")
    disks: list[Annotated[ImageDisk, strawberry.lazy("schema.images.types")]] = strawberry.field(
        description="Its disks, the system disk first."
    )
    changed_bytes: BigInt | None = strawberry.field(
        description="Bytes that were written to its disks since these were last sealed (for a backup or an image) or made: clusters of "
        "64 KiB, the same one counted once. Its own tables not counted. Null until known."
    )
    image: Annotated[PrivateImage, strawberry.lazy("schema.images.types")] | None = strawberry.field(
        description="The full-ECS image made from it; at most one."
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
