"""Taking in a disk file: one that the installation itself brought, or a stranger's, which nobody trusts until it was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from app import db, states
from app.enums import Consistency, DiskFormat, ErrorCode, ImageKind, ImageStatus
from app.errors import Refused, ServiceError
from app.images import charging
from app.images.models import Image, ImageDisk
from app.jobs.work import Work
from app.runtime import Runtime
from app.sources import fetched
from app.sources.inspection import ENGINE_NAMES, Inspected, blaming_file, inspect
from app.sources.jobs import MakesImage, activate, progress_of
from app.sources.os_detection import missing_columns
from app.uploads import service as uploads

TO_BLAME = (ErrorCode.UNSAFE_FILE, ErrorCode.DISK_TOO_LARGE)
"""Failures of a file that no other try would make good."""
CONVERTING, LOOK_S = 2, 1.0
"""More at a time only make the disk seek. Who waits looks now and then whether he is still wanted."""


class ImportImage(MakesImage):
    """An image of a disk file: one that the installation itself brought, or an upload, which nobody trusts until it was looked at."""

    def __init__(self) -> None:
        self._converting = asyncio.Semaphore(CONVERTING)

    def content_ids(self, work: Work) -> Sequence[UUID]:
        """The only one."""
        return [UUID(str(work.input["content_id"]))]

    async def run(self, runtime: Runtime, work: Work) -> None:
        """The file is copied into the store, and removed."""
        (content_id,) = self.content_ids(work)
        await states.IMAGE.move(str(work.image_id), ImageStatus.IMPORTING)
        if "path" not in work.input:
            path = await _file_of(runtime, work)
            async with self._turn(work):
                await self._import(runtime, work, content_id, path)
            return
        path, format_ = Path(str(work.input["path"])), str(work.input["format"])
        progress = progress_of(work, "reading the file")
        facts = await runtime.engine.contents.ingest(path, format=format_, content_id=content_id, progress=progress)
        async with db.transaction():
            await activate(work, {content_id: facts}, consistency=Consistency.STOPPED, stored_bytes=facts.own_bytes)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    @asynccontextmanager
    async def _turn(self, work: Work) -> AsyncIterator[None]:
        """Few convert at a time, and those that fetch keep nobody from it."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._converting.acquire()
                break
            except TimeoutError:
                await work.progress(0.0, phase="waiting for others")
        try:
            yield
        finally:
            self._converting.release()

    async def _import(self, runtime: Runtime, work: Work, content_id: UUID, path: Path) -> None:
        declared, kind = work.input["format"], ImageKind(str(work.input["kind"]))
        await work.progress(0.0, phase="looking at the file")
        format_ = DiskFormat(str(declared)) if declared else None
        file = await inspect(runtime.engine.contents, path, declared=format_, kind=kind)
        image = await Image.get(id=work.image_id)
        _check_size(file, image.min_disk_gib)
        async with db.transaction():
            await charging.charge(image.id, file.virtual_bytes)
        await runtime.require_room(file.needed_bytes)
        begin = fetched.SHARE if "url" in work.input else 0.01
        progress, name = progress_of(work, "converting the file", begin=begin), ENGINE_NAMES[file.format]
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
                source_format=file.format,
                **columns,
            )
            await ImageDisk.filter(content_id=content_id).update(size_gib=file.size_gib)
            if "upload_id" in work.input:
                await uploads.use_up(UUID(str(work.input["upload_id"])))
            await work.forget("url")
            await activate(work, {content_id: facts}, consistency=Consistency.STOPPED, stored_bytes=facts.own_bytes)
        await _discard(runtime, work)

    async def let_go(self, work: Work, error: ServiceError) -> None:
        """An upload that is not to blame can be tried again; one that is, cannot."""
        if "upload_id" in work.input:
            upload_id = UUID(str(work.input["upload_id"]))
            await (uploads.reject(upload_id, error) if error.code in TO_BLAME else uploads.put_back(upload_id))

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """As for every image; and a file that cannot be used is removed."""
        await super().abandon(runtime, work, error)
        await work.forget("url")
        if "upload_id" not in work.input or error.code in TO_BLAME:
            await _discard(runtime, work)


async def _file_of(runtime: Runtime, work: Work) -> Path:
    """The file that was uploaded, or is fetched now."""
    if "url" in work.input:
        return await fetched.fetch_file(runtime, work)
    return uploads.path_of(runtime.settings.data_dir, UUID(str(work.input["upload_id"])))


async def _discard(runtime: Runtime, work: Work) -> None:
    if "upload_id" in work.input:
        await uploads.discard(UUID(str(work.input["upload_id"])))
    elif "path" in work.input:
        await asyncio.to_thread(Path(str(work.input["path"])).unlink, missing_ok=True)
    else:
        await fetched.discard(runtime.settings.data_dir, work.image_id)


def _check_size(file: Inspected, min_disk_gib: int) -> None:
    if 0 < min_disk_gib < file.size_gib:
        message = f"The disk in the file needs {file.size_gib} GiB; minDiskGib {min_disk_gib} is too little."
        raise Refused(ErrorCode.DISK_TOO_SMALL, message, otc="IMG.0055")
