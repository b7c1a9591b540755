"""An image of a disk file from elsewhere. It is looked at, converted into a content of our own, and removed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from app.contents import service as contents
from app.ecs import host
from app.ecs.rules import Notice
from app.enums import DiskFormat, ImageKind, JobType, WarningCode
from app.errors import InvalidInput
from app.images import service as images
from app.images.models import ImageDisk
from app.sources.base import Draft, FileSource


@dataclass(frozen=True, slots=True)
class OfFile:
    """A file, wherever it is now. What is in it, only its job finds out."""

    request: FileSource
    job_type = JobType.IMPORT_IMAGE

    @property
    def kind(self) -> ImageKind:
        """As the user says."""
        return self.request.kind

    def _draft(self, name: str, file_name: str | None) -> Draft:
        """The image as the user describes it; how large its disk is, is not known yet. `name`: the source's, in the request.

        Raises: InvalidInput.
        """
        request = self.request
        if request.kind is ImageKind.FULL_ECS:
            raise InvalidInput("This is SYSTEM_DISK, DATA_DISK or ISO.", field=("kind",), otc="IMG.0024")
        if request.format and (request.format is DiskFormat.ISO) != (request.kind is ImageKind.ISO):
            message = "A file of format ISO makes an image of kind ISO, and no other file does."
            raise InvalidInput(message, field=("format",), otc="IMG.0024")
        columns: dict[str, object] = {
            "architecture": request.architecture,
            "firmware": request.firmware,
            "source_file_name": file_name,
            "source_format": request.format,
        }
        return Draft(
            columns={**columns, **self._os()},
            min_disk_gib=0,
            min_ram_mib=0,
            max_ram_mib=None,
            warnings=self._warnings(name),
        )

    def _os(self) -> dict[str, object]:
        """Raises: InvalidInput: given for a data disk image (IMG.0024), missing for a disc (IMG.0166), or of another form."""
        if self.request.kind is ImageKind.DATA_DISK:
            for name in ("os", "architecture", "firmware"):
                if getattr(self.request, name):
                    raise InvalidInput("A data disk image does not boot.", field=(name,), otc="IMG.0024")
        if self.request.os is None and self.request.kind is ImageKind.ISO:
            raise InvalidInput("Say what operating system the disc is of.", field=("os",), otc="IMG.0166")
        if self.request.os is None:
            return {}
        try:
            return images.os_columns(self.request.os)
        except InvalidInput as error:
            raise error.at(*(error.field or ())[1:]) from None

    def _warnings(self, name: str) -> list[Notice]:
        if self.request.kind is ImageKind.DATA_DISK or self.request.os:
            return []
        message = (
            "What system is on the disk is looked for, and not always found; say it in `os`, now or with updateImage."
        )
        return [Notice(WarningCode.OS_NOT_DETECTED, message, ("input", "source", name, "os"))]

    async def _expect(self, image_id: UUID) -> dict[str, object]:
        """Name the content; what every such job has as its input."""
        (content_id,) = await contents.expect(host.current().engine)
        await ImageDisk.create(
            id=uuid4(),
            image_id=image_id,
            content_id=content_id,
            boot_index=0,
            size_gib=0,
            is_system=self.kind is ImageKind.SYSTEM_DISK,
        )
        format_ = self.request.format
        return {
            "format": format_.value if format_ else None,
            "kind": self.kind.value,
            "content_id": str(content_id),
        }
