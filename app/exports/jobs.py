"""What jobs do to export images. The file has its id before there are any bytes, so every step can be done again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from app import db
from app.enums import ExportFormat
from app.errors import ServiceError
from app.exports import folder
from app.exports.models import Export
from app.jobs.work import Work
from app.runtime import Runtime

ENGINE_FORMATS: Mapping[ExportFormat, str] = {
    ExportFormat.QCOW2: "qcow2",
    ExportFormat.RAW: "raw",
    ExportFormat.VMDK: "vmdk",
    ExportFormat.VHD: "vpc",
    ExportFormat.VHDX: "vhdx",
}
"""What the engine calls them."""
WRITING = 0.7
"""How much of the work it is to write the file; the rest is reading it again."""


class ExportImage:
    """A file of an image's only disk: written, then hashed."""

    cancellable = True

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Nobody sees the export before its end, which is that of the job."""
        format_ = ExportFormat(str(work.input["format"]))
        path = _path(runtime, work)
        await asyncio.to_thread(path.parent.mkdir, mode=0o700, exist_ok=True)

        async def progress(done: int, total: int) -> None:
            fraction = WRITING * done / max(total, 1)
            await work.progress(fraction, phase="writing the file", bytes_done=done, bytes_total=total)

        await runtime.engine.contents.export(
            UUID(str(work.input["content_id"])), path, format=ENGINE_FORMATS[format_], progress=progress
        )
        hashing = await _hashed(path, work)
        expires_at = db.now() + timedelta(hours=runtime.settings.export_kept_h)
        async with db.transaction():
            await Export.filter(job_id=work.id).update(
                size_bytes=hashing.total, sha256=hashing.hexdigest(), expires_at=expires_at
            )
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """There is neither a file nor an export."""
        await asyncio.to_thread(_path(runtime, work).unlink, missing_ok=True)
        await Export.filter(job_id=work.id).delete()


def _path(runtime: Runtime, work: Work) -> Path:
    format_ = ExportFormat(str(work.input["format"]))
    return folder.path_of(runtime.settings.data_dir, str(work.input["export_id"]), format_)


async def _hashed(path: Path, work: Work) -> folder.Hashing:
    hashing = await asyncio.to_thread(folder.Hashing, path)
    while True:
        done = await asyncio.to_thread(hashing.hash_on)
        fraction = hashing.done / max(hashing.total, 1)
        await work.progress(WRITING + (0.99 - WRITING) * fraction, phase="working out the checksum")
        if done:
            return hashing
