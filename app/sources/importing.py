"""Taking in a disk file: one that the installation itself brought, or a stranger's, which nobody trusts until it was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from app import db, states
from app.enums import Consistency, DiskFormat, ErrorCode, ImageKind, ImageStatus
from app.errors import Refused, ServiceError
from app.files import free_bytes
from app.images import charging
from app.images.models import Image, ImageDisk
from app.jobs.work import Work
from app.runtime import Runtime
from app.sources.inspection import ENGINE_NAMES, Inspected, blaming_file, inspect
from app.sources.jobs import MakesImage, activate, progress_of
from app.sources.os_detection import missing_columns
from app.uploads import service as uploads

TO_BLAME = (ErrorCode.UNSAFE_FILE, ErrorCode.DISK_TOO_LARGE)
"""Failures of a file that no other try would make good."""


class ImportImage(MakesImage):
    """An image of a disk file: one that the installation itself brought, or an upload, which nobody trusts until it was looked at."""

    def content_ids(self, work: Work) -> Sequence[UUID]:
        """The only one."""
        return [UUID(str(work.input["content_id"]))]

    async def run(self, runtime: Runtime, work: Work) -> None:
        """The file is copied into the store, and removed."""
        (content_id,) = self.content_ids(work)
        await states.IMAGE.move(str(work.image_id), ImageStatus.IMPORTING)
        if "upload_id" in work.input:
            await self._import(runtime, work, content_id)
            return
        path, format_ = Path(str(work.input["path"])), str(work.input["format"])
        progress = progress_of(work, "reading the file")
        facts = await runtime.engine.contents.ingest(path, format=format_, content_id=content_id, progress=progress)
        async with db.transaction():
            await activate(work, {content_id: facts}, consistency=Consistency.STOPPED, stored_bytes=facts.own_bytes)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _import(self, runtime: Runtime, work: Work, content_id: UUID) -> None:
        upload_id = UUID(str(work.input["upload_id"]))
        path = uploads.path_of(runtime.settings.data_dir, upload_id)
        declared, kind = work.input["format"], ImageKind(str(work.input["kind"]))
        await work.progress(0.0, phase="looking at the file")
        format_ = DiskFormat(str(declared)) if declared else None
        file = await inspect(runtime.engine.contents, path, declared=format_, kind=kind)
        image = await Image.get(id=work.image_id)
        _check_size(file, image.min_disk_gib)
        async with db.transaction():
            await charging.charge(image.id, file.virtual_bytes)
        room = await asyncio.to_thread(free_bytes, runtime.settings.data_dir)
        if file.needed_bytes + (runtime.settings.reserve_disk_mib << 20) > room:
            message = f"The service has no room for {file.needed_bytes >> 20} MiB more."
            raise Refused(ErrorCode.INSUFFICIENT_STORAGE, message)
        progress, name = progress_of(work, "converting the file"), ENGINE_NAMES[file.format]
        with blaming_file():
            facts = await runtime.engine.contents.ingest(
                path, format=name, content_id=content_id, progress=progress, needed_bytes=file.needed_bytes
            )
        columns: dict[str, object] = {}
        if kind is ImageKind.SYSTEM_DISK:
            await work.progress(0.99, phase="looking for the system")
            columns = await missing_columns(
                runtime.engine.contents, content_id, image, virtual_bytes=facts.virtual_bytes
            )
        async with db.transaction():
            await Image.filter(id=image.id).update(
                min_disk_gib=max(image.min_disk_gib, file.size_gib),
                disk_format=DiskFormat.QCOW2,
                source_format=file.format,
                **columns,
            )
            await ImageDisk.filter(content_id=content_id).update(size_gib=file.size_gib)
            await uploads.use_up(upload_id)
            await activate(work, {content_id: facts}, consistency=Consistency.STOPPED, stored_bytes=facts.own_bytes)
        await uploads.discard(upload_id)

    async def let_go(self, work: Work, error: ServiceError) -> None:
        """An upload that is not to blame can be tried again; one that is, cannot."""
        if "upload_id" in work.input:
            upload_id = UUID(str(work.input["upload_id"]))
            await (uploads.reject(upload_id, error) if error.code in TO_BLAME else uploads.put_back(upload_id))

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """As for every image; and a file that cannot be used is removed."""
        await super().abandon(runtime, work, error)
        if "upload_id" in work.input and error.code in TO_BLAME:
            await uploads.discard(UUID(str(work.input["upload_id"])))


def _check_size(file: Inspected, min_disk_gib: int) -> None:
    if 0 < min_disk_gib < file.size_gib:
        message = f"The disk in the file needs {file.size_gib} GiB; minDiskGib {min_disk_gib} is too little."
        raise Refused(ErrorCode.DISK_TOO_SMALL, message, otc="IMG.0055")
