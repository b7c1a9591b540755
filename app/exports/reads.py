"""How exports are read: through their jobs."""

from __future__ import annotations

from datetime import datetime

from app import policy
from app.checksums import Checksum
from app.enums import ExportFormat, HashAlgorithm
from app.exports.models import Export
from app.jobs.reads import JOBS
from app.reading import Child, Noun, Row


class ExportRow(Row):
    """An image as a file."""

    noun = "Export"
    job_id: str
    format: ExportFormat
    size_bytes: int
    sha256: str
    expires_at: datetime

    @property
    def url(self) -> str:
        """Where it is fetched, below the address of the service."""
        return f"/exports/{self.id}"

    @property
    def checksum(self) -> Checksum:
        """Of the file."""
        return Checksum(HashAlgorithm.SHA256, self.sha256)


EXPORTS = Noun(
    Export,
    ExportRow,
    policy.visible_exports,
    computed={"url": ("id",), "checksum": ("sha256",)},
    order=("id",),
)

JOBS.relations["export"] = Child(EXPORTS, "job_id")
