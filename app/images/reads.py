"""How images are read: what a row knows of itself, and its relations. Nouns above add theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app import faults, policy
from app.checksums import Checksum
from app.contents.reads import DiskChecksum
from app.enums import (
    Architecture,
    DiskFormat,
    ErrorCode,
    Firmware,
    HashAlgorithm,
    ImageKind,
    ImageSourceKind,
    ImageStatus,
    ImageVisibility,
    OsType,
)
from app.faults import Fault
from app.images.models import Image, ImageDisk, ImageTag
from app.projects.reads import PROJECTS
from app.reading import Children, Noun, Parent, Row

VARIANTS = {
    ImageVisibility.PUBLIC: "PublicImage",
    ImageVisibility.PRIVATE: "PrivateImage",
    ImageVisibility.SHARED: "SharedImage",
}

MEMBER_LIMITS = {ImageKind.SYSTEM_DISK: 256, ImageKind.DATA_DISK: 256, ImageKind.ISO: 256, ImageKind.FULL_ECS: 10}
"""Projects that an image may be shared with (IMS, restrictions on image sharing)."""


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """What an image boots."""

    type: OsType
    platform: str | None
    version: str | None
    bits: int | None


class ImageRow(Row):
    """An image, as its viewer sees it."""

    noun = "Image"
    project_id: str
    is_public: bool
    kind: ImageKind
    status: ImageStatus
    name: str
    os_type: OsType | None
    os_platform: str | None
    os_version: str | None
    os_bits: int | None
    architecture: Architecture | None
    firmware: Firmware | None
    min_disk_gib: int
    min_ram_mib: int
    max_ram_mib: int | None
    stored_bytes: int
    disk_format: DiskFormat | None
    sha256: str | None
    protected: bool
    fault_code: ErrorCode | None
    supports_user_data: bool
    source_kind: ImageSourceKind
    created_at: datetime

    @property
    def is_own(self) -> bool:
        """Whether the viewer may know what only an owner knows; an operator may of all."""
        return self.project_id == self.caller.project_id or self.caller.is_operator

    @property
    def visibility(self) -> ImageVisibility:
        """Public wins; the owner of an image that is shared out sees PRIVATE."""
        if self.is_public:
            return ImageVisibility.PUBLIC
        return ImageVisibility.PRIVATE if self.is_own else ImageVisibility.SHARED

    @property
    def variant(self) -> str:
        """The kind of image that it is to its viewer."""
        return VARIANTS[self.visibility]

    @property
    def member_limit(self) -> int:
        """How many projects it may be shared with."""
        return MEMBER_LIMITS[self.kind]

    @property
    def size_bytes(self) -> int | None:
        """Bytes in the store; none until known."""
        return self.stored_bytes or None

    @property
    def checksum(self) -> Checksum | None:
        """Of its file; none until it has been worked out."""
        return Checksum(HashAlgorithm.SHA256, self.sha256) if self.sha256 else None

    @property
    def download_url(self) -> str | None:
        """Where its file is fetched, below the address of the service; None when the viewer may not."""
        return None if policy.download_refusal(self.caller, self) else f"/images/{self.id}/file"

    @property
    def os(self) -> OperatingSystem | None:
        """The operating system; none until known."""
        if self.os_type is None:
            return None
        return OperatingSystem(self.os_type, self.os_platform, self.os_version, self.os_bits)

    @property
    def fault(self) -> Fault | None:
        """Why it was killed, or that it is damaged; nobody's business but the owner's."""
        return faults.fault_of(self) if self.is_own else None


class TagRow(Row):
    """A key and a value."""

    noun = "Tag"
    key: str
    value: str


class ImageDiskRow(Row):
    """One disk inside an image."""

    noun = "ImageDisk"
    image_id: str
    content_id: str
    boot_index: int
    size_gib: int
    is_system: bool


TAGS = Noun(ImageTag, TagRow, policy.visible_tags, order=("key", "id"))
IMAGE_DISKS = Noun(
    ImageDisk,
    ImageDiskRow,
    policy.visible_image_disks,
    relations={"checksum": DiskChecksum()},
    order=("boot_index", "id"),
)
RULE_COLUMNS = ("project_id", "is_public", "kind", "status", "protected", "fault_code")
"""What app.policy needs to know of an image."""
IMAGES = Noun(
    Image,
    ImageRow,
    policy.visible_images,
    always=("project_id", "is_public"),
    computed={
        "uuid": ("id",),
        "member_limit": ("kind",),
        "visibility": ("project_id", "is_public"),
        "size_bytes": ("stored_bytes",),
        "os": ("os_type", "os_platform", "os_version", "os_bits"),
        "fault": faults.COLUMNS,
        "checksum": ("sha256",),
        "download_url": RULE_COLUMNS,
    },
    relations={
        "tags": Children(TAGS, "image_id"),
        "disks": Children(IMAGE_DISKS, "image_id"),
        "owner": Parent(PROJECTS, "project_id"),
    },
    order=("-created_at", "-id"),
)
