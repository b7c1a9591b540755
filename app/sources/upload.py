"""An image of a disk file that a user has sent. It is looked at, converted into a content of our own, and removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from app.contents import service as contents
from app.ecs import host
from app.ecs.rules import Notice
from app.enums import ImageKind, ImageSourceKind, JobType, WarningCode
from app.errors import InvalidInput
from app.images import service as images
from app.images.models import ImageDisk
from app.policy import Caller
from app.sources.base import Draft, UploadSource
from app.uploads import service as uploads


@dataclass(frozen=True, slots=True)
class OfUpload:
    """An upload that is COMPLETE. What is in it, only its job finds out."""

    request: UploadSource
    source_kind = ImageSourceKind.UPLOAD
    job_type = JobType.IMPORT_IMAGE

    @property
    def kind(self) -> ImageKind:
        """As the user says."""
        return self.request.kind

    async def check(self, caller: Caller) -> Draft:
        """The image as the user describes it; how large its disk is, is not known yet."""
        row = await uploads.usable(caller, self.request.upload_id)
        request = self.request
        if request.kind not in (ImageKind.SYSTEM_DISK, ImageKind.DATA_DISK):
            raise InvalidInput("This is SYSTEM_DISK or DATA_DISK.", field=("kind",), otc="IMG.0024")
        columns: dict[str, object] = {
            "architecture": request.architecture,
            "firmware": request.firmware,
            "source_file_name": row.file_name,
            "source_format": request.format,
        }
        return Draft(
            columns={**columns, **self._os()},
            min_disk_gib=0,
            min_ram_mib=0,
            max_ram_mib=None,
            warnings=self._warnings(),
        )

    def _os(self) -> dict[str, object]:
        """Raises: InvalidInput: given for a data disk image (IMG.0024), or of another form."""
        if self.request.kind is ImageKind.DATA_DISK:
            for name in ("os", "architecture", "firmware"):
                if getattr(self.request, name):
                    raise InvalidInput("A data disk image does not boot.", field=(name,), otc="IMG.0024")
        if self.request.os is None:
            return {}
        try:
            return images.os_columns(self.request.os)
        except InvalidInput as error:
            raise error.at(*(error.field or ())[1:]) from None

    def _warnings(self) -> list[Notice]:
        if self.request.kind is ImageKind.DATA_DISK or self.request.os:
            return []
        message = "What system is on the disk is not known; say it in `os`, now or with updateImage."
        return [Notice(WarningCode.OS_NOT_DETECTED, message, ("input", "source", "upload", "os"))]

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Take the upload, so that nobody else does, and name the content."""
        await uploads.take(caller, self.request.upload_id)
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
            "upload_id": str(self.request.upload_id),
            "format": format_.value if format_ else None,
            "kind": self.kind.value,
            "content_id": str(content_id),
        }
