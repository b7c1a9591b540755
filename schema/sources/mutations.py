"""Making private images, from whatever source."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.enums import Architecture, DiskFormat, Firmware, ImageKind, TokenScope
from app.images import service as images
from app.images.reads import OperatingSystem
from app.jobs import service as jobs
from app.sources import service as sources
from app.sources.base import (
    BackupSource,
    DiskSource,
    EcsSource,
    FullEcsSource,
    ImageCopySource,
    SourceRequest,
    UploadSource,
    UrlSource,
)
from schema.context import caller
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import uuid_of
from schema.images.mutations import OsInput
from schema.images.types import PrivateImage
from schema.jobs.types import Job
from schema.payloads import Caution, TagInput, errors_field, reread_one, shown, tags_of
from schema.selection import wanted


@strawberry.input(description="The system disk of an ECS that is ACTIVE or SHUTOFF; a running machine runs on.")
class EcsSourceInput:
    ecs_id: strawberry.ID = strawberry.field(description="The ECS's id, opaque or plain.")


@strawberry.input(
    description="All disks of an ECS that is ACTIVE or SHUTOFF, of one instant; a running machine runs on."
)
class FullEcsSourceInput:
    ecs_id: strawberry.ID = strawberry.field(description="The ECS's id, opaque or plain.")


@strawberry.input(
    description="One EVS disk, which is AVAILABLE or belongs to an ECS that is ACTIVE or SHUTOFF; a running machine runs on."
)
class DiskSourceInput:
    disk_id: strawberry.ID = strawberry.field(description="The disk's id, opaque or plain.")
    kind: ImageKind = strawberry.field(default=ImageKind.DATA_DISK, description="DATA_DISK or SYSTEM_DISK.")
    os: OsInput | None = strawberry.field(
        default=None, description="What the disk boots: has to be given for SYSTEM_DISK, and for that only."
    )

    def plain(self) -> DiskSource:
        """The source as the service has it."""
        os = OperatingSystem(**vars(self.os)) if self.os else None
        return DiskSource(disk_id=uuid_of(self.disk_id, "EvsDisk"), kind=self.kind, os=os)


@strawberry.input(description="A backup that is AVAILABLE and has no image yet. The image shares its bytes.")
class BackupSourceInput:
    backup_id: strawberry.ID = strawberry.field(description="The backup's id, opaque or plain.")


@strawberry.input(description="A public image, an own one, or one that is shared with the viewer and accepted.")
class ImageCopyInput:
    image_id: strawberry.ID = strawberry.field(
        description="The image's id, opaque or plain; of kind SYSTEM_DISK or DATA_DISK."
    )


@strawberry.input(
    description="An upload that is COMPLETE. Its file is checked and converted, and removed once the image is there; a damaged "
    "or dangerous one, too."
)
class UploadSourceInput:
    upload_id: strawberry.ID = strawberry.field(description="The upload's id, opaque or plain.")
    format: DiskFormat | None = strawberry.field(
        default=None, description="What the file has to be. Null: as it turns out; what nothing is known of is RAW."
    )
    kind: ImageKind = strawberry.field(default=ImageKind.SYSTEM_DISK, description="SYSTEM_DISK, DATA_DISK or ISO.")
    os: OsInput | None = strawberry.field(
        default=None,
        description="What the disk boots, or the disc is of: has to be given for ISO, and not for DATA_DISK. Null: as it is found "
        "on the disk, where that is certain.",
    )
    architecture: Architecture | None = strawberry.field(
        default=None,
        description="What it runs on; not for DATA_DISK. Null: as it is found on the disk, where that is certain.",
    )
    firmware: Firmware | None = strawberry.field(
        default=None,
        description="How it boots; not for DATA_DISK. Null: BIOS, or UEFI where nothing on the disk starts from another.",
    )

    def plain(self) -> UploadSource:
        """The source as the service has it."""
        return UploadSource(
            upload_id=uuid_of(self.upload_id, "Upload"),
            format=self.format,
            kind=self.kind,
            os=OperatingSystem(**vars(self.os)) if self.os else None,
            architecture=self.architecture,
            firmware=self.firmware,
        )


@strawberry.input(
    description="A disk file that the service fetches. It is checked and converted like one that was uploaded, and not kept."
)
class UrlSourceInput:
    url: str = strawberry.field(
        description="http:// or https:// at a public address, without user name and password, of at most 2048 characters; or s3:// in "
        "the installation's object storage, where there is one. A dropped connection is continued. It is not shown to anybody, "
        "and forgotten once the job has ended."
    )
    format: DiskFormat | None = strawberry.field(
        default=None, description="What the file has to be. Null: as it turns out; what nothing is known of is RAW."
    )
    kind: ImageKind = strawberry.field(default=ImageKind.SYSTEM_DISK, description="SYSTEM_DISK, DATA_DISK or ISO.")
    os: OsInput | None = strawberry.field(
        default=None,
        description="What the disk boots, or the disc is of: has to be given for ISO, and not for DATA_DISK. Null: as it is found "
        "on the disk, where that is certain.",
    )
    sha256: str | None = strawberry.field(
        default=None, description="What the file's SHA-256 has to be, in 64 hexadecimal digits; else the job fails."
    )
    architecture: Architecture | None = strawberry.field(
        default=None,
        description="What it runs on; not for DATA_DISK. Null: as it is found on the disk, where that is certain.",
    )
    firmware: Firmware | None = strawberry.field(
        default=None,
        description="How it boots; not for DATA_DISK. Null: BIOS, or UEFI where nothing on the disk starts from another.",
    )

    def plain(self) -> UrlSource:
        """The source as the service has it."""
        return UrlSource(
            url=self.url,
            format=self.format,
            kind=self.kind,
            os=OperatingSystem(**vars(self.os)) if self.os else None,
            sha256=self.sha256,
            architecture=self.architecture,
            firmware=self.firmware,
        )


@strawberry.input(one_of=True, description="What to make an image from.")
class ImageSourceInput:
    ecs: strawberry.Maybe[EcsSourceInput] = strawberry.field(description="System disk image of an ECS.")
    disk: strawberry.Maybe[DiskSourceInput] = strawberry.field(description="Image of one EVS disk.")
    full_ecs: strawberry.Maybe[FullEcsSourceInput] = strawberry.field(description="Image of a whole ECS.")
    backup: strawberry.Maybe[BackupSourceInput] = strawberry.field(
        description="Image of a whole ECS, from a backup of it; at once, as nothing is copied."
    )
    image: strawberry.Maybe[ImageCopyInput] = strawberry.field(
        description="An own copy of an image, which shares no bytes with it."
    )
    upload: strawberry.Maybe[UploadSourceInput] = strawberry.field(
        description="Image of a disk file that was uploaded."
    )
    url: strawberry.Maybe[UrlSourceInput] = strawberry.field(description="Image of a disk file that is fetched.")

    def plain(self) -> SourceRequest:
        """The source as the service has it."""
        if self.full_ecs:
            return FullEcsSource(uuid_of(self.full_ecs.value.ecs_id, "EcsInstance"))
        if self.backup:
            return BackupSource(uuid_of(self.backup.value.backup_id, "Backup"))
        for given in (self.disk, self.upload, self.url):
            if given:
                return given.value.plain()
        if self.image:
            return ImageCopySource(uuid_of(self.image.value.image_id, "Image"))
        assert self.ecs
        return EcsSource(uuid_of(self.ecs.value.ecs_id, "EcsInstance"))


@strawberry.input(description="The image to make.")
class CreateImageInput:
    name: str = strawberry.field(
        description="1 to 128 letters, digits, spaces, dots, hyphens and underscores, and no space at its ends."
    )
    description: str | None = strawberry.field(default=None, description="At most 1024 characters on one line.")
    tags: list[TagInput] | None = strawberry.field(default=None, description="At most 10, with different keys.")
    source: ImageSourceInput = strawberry.field(description="What to make it from.")
    unique_name: bool = strawberry.field(
        default=False, description="Refuse with NAME_TAKEN when an own image has this name."
    )
    min_disk_gib: int | None = strawberry.field(
        default=None, description="Least system disk in GiB, up to 1024. Null: the size of the one it is made from."
    )
    min_ram_mib: int | None = strawberry.field(
        default=None, description="Least memory in MiB, 0 to 4194304; 0: no limit. Null: as the image before."
    )
    max_ram_mib: int | None = strawberry.field(
        default=None, description="Most memory in MiB, 1 to 4194304. Null: as the image before."
    )
    protected: bool = strawberry.field(default=False, description="Whether it is to be protected from being deleted.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be refused.")

    def request(self) -> sources.CreateImage:
        """The request as the service has it."""
        return sources.CreateImage(
            name=self.name,
            description=self.description,
            tags=tags_of(self.tags),
            source=self.source.plain(),
            unique_name=self.unique_name,
            min_disk_gib=self.min_disk_gib,
            min_ram_mib=self.min_ram_mib,
            max_ram_mib=self.max_ram_mib,
            protected=self.protected,
        )


@strawberry.type(description="The image that was begun, and the job that makes it.")
class CreateImagePayload:
    image: PrivateImage | None = strawberry.field(
        default=None, description="Null when it was refused, and in a dry run."
    )
    job: Job | None = strawberry.field(default=None, description="Null when it was refused, and in a dry run.")
    warnings: list[Caution] = strawberry.field(default_factory=list, description="What should be known.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class SourceMutations:
    @changing("Make a private image. Needs scope IMAGES.")
    async def create_image(self, info: Info, input: Input[CreateImageInput]) -> CreateImagePayload | None:
        return await refusable(CreateImagePayload, _create(info, input))


async def _create(info: Info, input: CreateImageInput) -> CreateImagePayload:
    who = caller(info, TokenScope.IMAGES)
    key = input.idempotency_key
    begun = await sources.create_image(who, input.request(), idempotency_key=key, dry_run=input.dry_run)
    image = await reread_one(images.find_images, who, begun.image_id, wanted(info).of("image"))
    job = await reread_one(jobs.find_jobs, who, begun.job_id, wanted(info).of("job"))
    return shown(CreateImagePayload, image=image, job=job, warnings=begun.warnings)
