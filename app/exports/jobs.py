"""What jobs do to export images. The file has its id before there are any bytes, so every step can be done again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from app import db, object_storage
from app.enums import ExportFormat
from app.errors import ServiceError
from app.exports import folder, janitor, removing
from app.exports.models import Export
from app.jobs.work import Work
from app.object_storage import ObjectStorage
from app.runtime import Runtime

ENGINE_FORMATS: Mapping[ExportFormat, str] = {
    ExportFormat.QCOW2: "qcow2",
    ExportFormat.RAW: "raw",
    ExportFormat.VMDK: "vmdk",
    ExportFormat.VHD: "vpc",
    ExportFormat.VHDX: "vhdx",
}
"""What the engine calls them."""
WRITING, HASHING = 0.7, 0.99
"""How much of the work is done when the file is written, and when it was read again."""
BEFORE_UPLOAD = 0.6
"""How much of all this is, where the file is brought to a bucket after that."""


class ExportImage:
    """A file of an image's only disk: written, hashed, and brought to the bucket if there is one."""

    cancellable = True

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Nobody sees the export before its end, which is that of the job."""
        storage = object_storage.current()
        share = BEFORE_UPLOAD if storage else 1.0
        format_ = ExportFormat(str(work.input["format"]))
        path = _path(runtime, work)
        await asyncio.to_thread(path.parent.mkdir, mode=0o700, exist_ok=True)
        await janitor.tidy(runtime.settings.data_dir)  # what has expired makes room now, not within the hour

        async def progress(done: int, total: int) -> None:
            fraction = share * WRITING * done / max(total, 1)
            await work.progress(fraction, phase="writing the file", bytes_done=done, bytes_total=total)

        await runtime.engine.contents.export(
            UUID(str(work.input["content_id"])), path, format=ENGINE_FORMATS[format_], progress=progress
        )
        hashing = await _hashed(path, work, share)
        if storage is not None:
            await _move_to_bucket(storage, work, path)
        expires_at = db.now() + timedelta(hours=runtime.settings.export_kept_h)
        async with db.transaction():
            await Export.filter(job_id=work.id).update(
                size_bytes=hashing.total,
                sha256=hashing.hexdigest(),
                in_bucket=storage is not None,
                expires_at=expires_at,
            )
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """There is neither a file nor an export."""
        if row := await Export.get_or_none(job_id=work.id):
            await removing.remove(runtime.settings.data_dir, row)


def _path(runtime: Runtime, work: Work) -> Path:
    format_ = ExportFormat(str(work.input["format"]))
    return folder.path_of(runtime.settings.data_dir, str(work.input["export_id"]), format_)


async def _move_to_bucket(storage: ObjectStorage, work: Work, path: Path) -> None:
    """What an earlier attempt left there goes first; and the row says where to look before there is anything."""
    await Export.filter(job_id=work.id).update(in_bucket=True)
    await storage.remove(path.name)

    async def progress(done: int, total: int) -> None:
        fraction = BEFORE_UPLOAD + (HASHING - BEFORE_UPLOAD) * done / max(total, 1)
        await work.progress(fraction, phase="uploading the file", bytes_done=done, bytes_total=total)

    await storage.upload(path.name, path, file_name=f"{work.image_id}{path.suffix}", progress=progress)
    await asyncio.to_thread(path.unlink, missing_ok=True)


async def _hashed(path: Path, work: Work, share: float) -> folder.Hashing:
    hashing = await asyncio.to_thread(folder.Hashing, path)
    while True:
        done = await asyncio.to_thread(hashing.hash_on)
        fraction = share * (WRITING + (HASHING - WRITING) * hashing.done / max(hashing.total, 1))
        await work.progress(fraction, phase="working out the checksum")
        if done:
            return hashing
