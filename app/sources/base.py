"""What a source of images is: a check before anything is written, and a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from app.ecs.rules import Notice
from app.enums import Architecture, DiskFormat, Firmware, ImageKind, ImageSourceKind, JobType
from app.images.reads import OperatingSystem
from app.policy import Caller


@dataclass(frozen=True, slots=True)
class EcsSource:
    """The system disk of an ECS."""

    ecs_id: UUID


@dataclass(frozen=True, slots=True)
class FullEcsSource:
    """A whole ECS."""

    ecs_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSource:
    """One EVS disk; for a system disk image with the operating system on it."""

    disk_id: UUID
    kind: ImageKind = ImageKind.DATA_DISK
    os: OperatingSystem | None = None


@dataclass(frozen=True, slots=True)
class BackupSource:
    """A backup of a whole ECS."""

    backup_id: UUID


@dataclass(frozen=True, slots=True)
class ImageCopySource:
    """Another image, of which it is to be a copy."""

    image_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """What whoever brings a disk file knows of it."""

    format: DiskFormat | None = None
    kind: ImageKind = ImageKind.SYSTEM_DISK
    os: OperatingSystem | None = None
    architecture: Architecture | None = None
    firmware: Firmware | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSource(FileSource):
    """A disk file that was uploaded."""

    upload_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource(FileSource):
    """A disk file that is to be fetched."""

    url: str
    sha256: str | None = None


SourceRequest = EcsSource | DiskSource | FullEcsSource | BackupSource | ImageCopySource | UploadSource | UrlSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An image as its source would have it, before what the request says."""

    columns: Mapping[str, object]
    min_disk_gib: int
    min_ram_mib: int
    max_ram_mib: int | None
    virtual_bytes: int = 0
    """Of all its disks; 0 if only the job finds out."""
    warnings: list[Notice] = field(default_factory=list)


class Source(Protocol):
    """One way to make a private image. `check` refuses before anything is written; `begin` writes what its job needs."""

    @property
    def kind(self) -> ImageKind: ...
    @property
    def source_kind(self) -> ImageSourceKind: ...
    @property
    def job_type(self) -> JobType: ...

    async def check(self, caller: Caller) -> Draft:
        """What the image would be.

        Raises: NotFound, Forbidden, Busy, InvalidState, Unsupported, Refused. `field` is a path below the source, or None for its id.
        """

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """In the transaction that enqueues the job: hold what must not change meanwhile, write rows; the job's input.

        Raises: as check, for what has changed since.
        """
