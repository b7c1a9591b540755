"""Where something came from: images and ECSs as they are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from app.enums import DiskFormat, ImageSourceKind
from app.reading import Memory
from app.sources import reads
from schema.ids import opaque

if TYPE_CHECKING:
    from schema.ecs.types import EcsInstance
    from schema.images.types import Image


def _id(root: strawberry.Parent[Memory]) -> strawberry.ID:
    return opaque(root.noun, root.id)


def _row(root: strawberry.Parent[Memory]) -> Any:
    return root.row


@strawberry.type(description="A remembered image. Not a Node, so it has no `id`.")
class SourceImage:
    image_id: strawberry.ID = strawberry.field(resolver=_id, description="The image's id, be it there or not.")
    name: str = strawberry.field(description="As it was then.")
    image: Annotated[Image, strawberry.lazy("schema.images.types")] | None = strawberry.field(
        resolver=_row, description="The image as it is now. Null once deleted or no longer visible."
    )


@strawberry.type(description="A remembered ECS. Not a Node, so it has no `id`.")
class SourceEcs:
    ecs_id: strawberry.ID = strawberry.field(resolver=_id, description="The ECS's id, be it there or not.")
    name: str = strawberry.field(description="As it was then.")
    ecs_instance: Annotated[EcsInstance, strawberry.lazy("schema.ecs.types")] | None = strawberry.field(
        resolver=_row, description="The ECS as it is now. Null once deleted."
    )


def _disk_id(root: strawberry.Parent[reads.ImageSource]) -> strawberry.ID | None:
    return opaque("EvsDisk", root.disk_id) if root.disk_id else None


def _backup_id(root: strawberry.Parent[reads.ImageSource]) -> strawberry.ID | None:
    return opaque("Backup", root.backup_id) if root.backup_id else None


@strawberry.type(description="What an image was made from.")
class ImageSource:
    kind: ImageSourceKind = strawberry.field(description="What kind of thing it was.")
    image: SourceImage | None = strawberry.field(
        description="The image that it is a copy of, or that the ECS or disk it was made from had been made from."
    )
    ecs: SourceEcs | None = strawberry.field(description="The ECS that it, or the disk it was made from, belonged to.")
    disk_id: strawberry.ID | None = strawberry.field(
        resolver=_disk_id, description="The EVS disk that it was made from, be it there or not."
    )
    backup_id: strawberry.ID | None = strawberry.field(
        resolver=_backup_id, description="The backup that it was made from, be it there or not."
    )
    file_name: str | None = strawberry.field(description="Of the file that was uploaded, as its sender called it.")
    format: DiskFormat | None = strawberry.field(description="Of that file.")
