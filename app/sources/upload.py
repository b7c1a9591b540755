"""An image of a disk file that a user has sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from app.enums import ImageSourceKind
from app.policy import Caller
from app.sources.base import Draft, UploadSource
from app.sources.file import OfFile
from app.uploads import service as uploads


@dataclass(frozen=True, slots=True)
class OfUpload(OfFile):
    """An upload that is COMPLETE."""

    request: UploadSource
    source_kind = ImageSourceKind.UPLOAD

    async def check(self, caller: Caller) -> Draft:
        """The image as the user describes it."""
        row = await uploads.usable(caller, self.request.upload_id)
        return self._draft("upload", row.file_name)

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Take the upload, so that nobody else does."""
        await uploads.take(caller, self.request.upload_id)
        return {"upload_id": str(self.request.upload_id), **await self._expect(image_id)}
