"""How uploads are read."""

from __future__ import annotations

from datetime import datetime

from app import faults, policy
from app.checksums import Checksum
from app.enums import HashAlgorithm, UploadProtocol, UploadStatus
from app.faults import Fault
from app.reading import Noun, Row
from app.uploads.models import Upload


class UploadRow(Row):
    """A file on its way to the service."""

    noun = "Upload"
    file_name: str | None
    status: UploadStatus
    size_bytes: int
    offset_bytes: int
    sha256: str | None
    created_at: datetime
    expires_at: datetime

    @property
    def protocol(self) -> UploadProtocol:
        """How its bytes are sent."""
        return UploadProtocol.TUS

    @property
    def url(self) -> str:
        """Where its bytes are sent, below the address of the service."""
        return f"/uploads/{self.id}"

    @property
    def checksum(self) -> Checksum | None:
        """Of what was received, once that is all."""
        return Checksum(HashAlgorithm.SHA256, self.sha256) if self.sha256 else None

    @property
    def fault(self) -> Fault | None:
        """Why it cannot be used."""
        return faults.fault_of(self)


UPLOADS = Noun(
    Upload,
    UploadRow,
    policy.visible_uploads,
    computed={"protocol": ("id",), "url": ("id",), "checksum": ("sha256",), "fault": faults.COLUMNS},
    order=("-created_at", "-id"),
)
