"""Images, as their viewer sees them: public, own, or shared with it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry import Info

from app.enums import (
    Architecture,
    DiskFormat,
    Firmware,
    ImageAction,
    ImageKind,
    ImageStatus,
    ImageVisibility,
    OsType,
    ShareStatus,
)
from app.images import reads
from app.reading import Row
from schema.context import Context
from schema.ecs.types import EcsInstance
from schema.errors import UserError
from schema.ids import Node, id_of
from schema.jobs.types import Job
from schema.paging import After, Before, Connection, First, Last, paged
from schema.payloads import Checksum, Fault, Launchability, Tag, errors_field
from schema.projects.types import Project
from schema.scalars import BigInt
from schema.selection import loaded
from schema.sharing.types import ImageMember
from schema.sources.types import ImageSource

OnFlavor = Annotated[strawberry.ID, strawberry.argument(description="The flavor's id, opaque or plain, or its name.")]
InStates = Annotated[
    list[ShareStatus] | None, strawberry.argument(description="Only those in one of these states. Null: all.")
]


def _on_flavor(root: strawberry.Parent[Row], info: Info, flavor_id: OnFlavor) -> Any:
    return loaded(root, info)


def _members(
    root: strawberry.Parent[Row],
    info: Info,
    *,
    status: InStates = None,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Any:
    return loaded(root, info)


def _download_url(root: strawberry.Parent[reads.ImageRow], info: Info[Context, None]) -> str | None:
    return f"{info.context.base_url}{root.download_url}" if root.download_url else None


def _platform(root: strawberry.Parent[reads.OperatingSystem]) -> str:
    return root.platform or root.type.value.capitalize()


@strawberry.type(description="What an image boots.")
class OperatingSystem:
    type: OsType = strawberry.field(description="The family that launch rules tell apart.")
    platform: str = strawberry.field(
        resolver=_platform, description="Its name, such as Debian; where none was given the type's."
    )
    version: str | None = strawberry.field(description="Such as 12.")
    bits: int | None = strawberry.field(description="32 or 64.")


@strawberry.type(description="One disk inside an image.")
class ImageDisk:
    id: strawberry.ID = strawberry.field(
        resolver=id_of, description="Unique to the image; DiskOverrideInput takes it. Not of a Node."
    )
    boot_index: int = strawberry.field(description="Its place among the image's disks, from 0.")
    size_gib: int = strawberry.field(description="Size of the disk in GiB.")
    is_system: bool = strawberry.field(description="Whether a machine boots from it.")
    content_bytes: BigInt | None = strawberry.field(description="Bytes in the store. Null until known.")
    checksum: Checksum | None = strawberry.field(
        description="Of all its bytes as a machine sees them, wherever and however they are kept. Null until worked out."
    )


@strawberry.interface(description="A template of a machine.")
class Image(Node):
    uuid: UUID = strawberry.field(description="The plain id.")
    name: str = strawberry.field(description="1 to 128 letters, digits, spaces, dots, hyphens and underscores.")
    description: str | None = strawberry.field(description="At most 1024 characters on one line.")
    owner: Project = strawberry.field(description="The project that made it.")
    kind: ImageKind = strawberry.field(description="What it holds.")
    visibility: ImageVisibility = strawberry.field(
        description="As the viewer sees it: the owner of an image that is shared out sees PRIVATE."
    )
    status: ImageStatus = strawberry.field(description="Where it is in its life.")
    fault: Fault | None = strawberry.field(
        description="Why it is KILLED, or, of an ACTIVE one, that it is DAMAGED. Null to others than the owner."
    )
    os: OperatingSystem | None = strawberry.field(description="Null until detected.")
    architecture: Architecture | None = strawberry.field(description="Of its processor. Null until detected.")
    firmware: Firmware | None = strawberry.field(description="How it boots. Null until detected.")
    min_disk_gib: int = strawberry.field(description="Least size of the system disk in GiB. 0 until known.")
    min_ram_mib: int = strawberry.field(description="Least memory of the flavor in MiB. 0: no limit.")
    max_ram_mib: int | None = strawberry.field(description="Most memory of the flavor in MiB. Null: no limit.")
    size_bytes: BigInt | None = strawberry.field(description="Bytes in the store, all disks. Null until known.")
    virtual_size_bytes: BigInt | None = strawberry.field(
        description="Bytes of its disks as a machine sees them. Null until known."
    )
    disk_format: DiskFormat | None = strawberry.field(
        description="Of the file that its owner can download. Null for a full-ECS image, and until ACTIVE."
    )
    checksum: Checksum | None = strawberry.field(
        description="Of the same file. Null for a full-ECS image, whose disks have theirs, and until worked out."
    )
    disks: list[ImageDisk] = strawberry.field(description="Its disks, the system disk first. Empty until ACTIVE.")
    tags: list[Tag] = strawberry.field(description="At most 10, by key. Empty while a share is pending or rejected.")
    protected: bool = strawberry.field(description="Whether it is protected from being deleted.")
    supports_user_data: bool = strawberry.field(
        description="Whether machines made from it read user data, keys and passwords when they first boot."
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
    active_at: datetime | None = strawberry.field(description="When it became ACTIVE.")
    launchability: Launchability = strawberry.field(
        resolver=_on_flavor, description="Whether the viewer could launch it on a flavor now, and if not, why."
    )
    viewer_can: list[ImageAction] = strawberry.field(description="What the viewer may do with it now.")
    ecs_instances: Connection[EcsInstance] = strawberry.field(
        resolver=paged,
        description="Machines of the viewer's own project that were launched from it, whoever owns the image. Newest first.",
    )


@strawberry.type(description="An image that everybody can launch.")
class PublicImage(Image):
    published_at: datetime | None = strawberry.field(description="When it was published.")


@strawberry.type(
    description="An own image, shared out or not. An operator also sees other projects' images as this type; `owner` tells."
)
class PrivateImage(Image):
    source: ImageSource | None = strawberry.field(description="What it was made from.")
    members: Connection[ImageMember] = strawberry.field(
        resolver=_members, description="The projects that it is shared with, oldest first."
    )
    member_limit: int = strawberry.field(description="How many members it may have: 256, or 10 for a full-ECS image.")
    jobs: Connection[Job] = strawberry.field(resolver=paged, description="Jobs about it, newest first.")
    download_url: str | None = strawberry.field(
        resolver=_download_url,
        description="Where its file is fetched (GET), in ranges if one likes; with a token of scope READ as here. Null when it may "
        "not be: a full-ECS image, or one that is not ACTIVE.",
    )


@strawberry.type(description="An image of another project that is shared with the viewer's, accepted or not.")
class SharedImage(Image):
    membership: ImageMember = strawberry.field(description="The viewer's own row; no other member is ever visible.")


@strawberry.type(description="What became of one image of a batch.")
class ImageResult:
    image_id: strawberry.ID = strawberry.field(description="The argument, as it was written.")
    image: Image | None = strawberry.field(
        default=None, description="The image now. Null when it was refused, in a dry run, and when it is gone."
    )
    error: UserError | None = strawberry.field(default=None, description="Why it was refused.")


@strawberry.type
class ImageResults:
    """The payload of every mutation that does one thing to many images."""

    results: list[ImageResult] = strawberry.field(
        default_factory=list, description="One for each image, in the order of imageIds; duplicates are collapsed."
    )
    user_errors: list[UserError] = errors_field()
