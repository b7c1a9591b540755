"""EVS disks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from app.enums import DiskStatus, DiskType
from schema.ids import Node
from schema.payloads import Fault
from schema.sources.types import SourceImage

if TYPE_CHECKING:
    from schema.ecs.types import EcsInstance


@strawberry.type(description="A block device, of an ECS or of none.")
class EvsDisk(Node):
    uuid: UUID = strawberry.field(description="The plain id.")
    name: str = strawberry.field(description="1 to 255 characters; need not be unique.")
    size_gib: int = strawberry.field(description="Size in GiB.")
    type: DiskType = strawberry.field(description="Performance class.")
    status: DiskStatus = strawberry.field(description="Where it is in its life.")
    fault: Fault | None = strawberry.field(description="Why it could not be made, or why the last job about it failed.")
    is_system: bool = strawberry.field(description="Whether its ECS boots from it.")
    boot_index: int | None = strawberry.field(
        description="Its place among the disks of its ECS, from 0; there may be gaps."
    )
    ecs_instance: Annotated[EcsInstance, strawberry.lazy("schema.ecs.types")] | None = strawberry.field(
        description="The ECS that it belongs to. Null: none."
    )
    image: SourceImage | None = strawberry.field(description="The image that it was made from. Null: it was empty.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
