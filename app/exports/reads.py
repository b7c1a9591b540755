"""How exports are read: through their jobs."""

from __future__ import annotations

from datetime import datetime

from app import policy
from app.checksums import Checksum
from app.enums import ExportFormat, HashAlgorithm
from app.exports.models import Export
from app.exports.presigning import presigned
from app.jobs.reads import JOBS
from app.reading import Child, Noun, Row


class ExportRow(Row):
    """An image as a file."""

    noun = "Export"
    job_id: str
    in_bucket: bool
    format: ExportFormat
    size_bytes: int
    sha256: str
    expires_at: datetime

    @property
    def url(self) -> str:
        """Where it is fetched: in the object storage, without a token, or, with one, below the address of the service."""
        signed = presigned(self.id, self.format, self.expires_at) if self.in_bucket else None
        return signed or f"/exports/{self.id}"

    @property
    def checksum(self) -> Checksum:
        """Of the file."""
        return Checksum(HashAlgorithm.SHA256, self.sha256)


EXPORTS = Noun(
    Export,
    ExportRow,
    policy.visible_exports,
    computed={"url": ("id", "in_bucket", "format", "expires_at"), "checksum": ("sha256",)},
    order=("id",),
)

JOBS.relations["export"] = Child(EXPORTS, "job_id")
