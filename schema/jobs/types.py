"""Jobs: work that outlasts a request."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from app.enums import JobStatus, JobType
from schema.ids import Node
from schema.payloads import Fault
from schema.scalars import BigInt

if TYPE_CHECKING:
    from schema.backups.types import Backup
    from schema.disks.types import EvsDisk
    from schema.ecs.types import EcsInstance
    from schema.exports.types import Export
    from schema.images.types import Image


@strawberry.type(description="Work that outlasts a request.")
class Job(Node):
    uuid: UUID = strawberry.field(description="The plain id.")
    type: JobType = strawberry.field(description="What it does.")
    status: JobStatus = strawberry.field(description="Where it is in its life.")
    progress: float = strawberry.field(description="0.0 to 1.0.")
    phase: str | None = strawberry.field(description="Free text for people; do not match on it.")
    bytes_done: BigInt | None = strawberry.field(description="Bytes that are copied. Null where nothing is copied.")
    bytes_total: BigInt | None = strawberry.field(description="Bytes to copy in all. Null until known.")
    fault: Fault | None = strawberry.field(description="Why it failed, or is going to: undoing may still go on.")
    cancellable: bool = strawberry.field(description="Whether cancelJob would be heard now.")
    image: Annotated[Image, strawberry.lazy("schema.images.types")] | None = strawberry.field(
        description="The image that it is about. Null once deleted or no longer visible."
    )
    ecs_instances: list[Annotated[EcsInstance, strawberry.lazy("schema.ecs.types")]] = strawberry.field(
        description="The ECSs that it is about, without deleted ones."
    )
    backup: Annotated[Backup, strawberry.lazy("schema.backups.types")] | None = strawberry.field(
        description="The backup that it is about. Null once deleted."
    )
    evs_disks: list[Annotated[EvsDisk, strawberry.lazy("schema.disks.types")]] = strawberry.field(
        description="The EVS disks that it is about, without deleted ones."
    )
    export: Annotated[Export, strawberry.lazy("schema.exports.types")] | None = strawberry.field(
        description="The file that it made. Null until it has ended, and once expired."
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When it was first taken up.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")
