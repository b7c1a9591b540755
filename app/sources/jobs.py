"""What jobs do to make images. Contents have their ids before there are any bytes, so every step can be done again."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from app import db, faults, states
from app.contents import service as contents
from app.contents.models import Content
from app.disks import holding as disks
from app.ecs import holding
from app.engines.base import ContentFacts
from app.enums import Consistency, ContentState, DiskFormat, ErrorCode, ImageKind, ImageStatus
from app.errors import Refused, ServiceError
from app.files import free_bytes
from app.images.models import Image, ImageDisk
from app.jobs.work import Work
from app.projects import quotas
from app.runtime import Runtime
from app.sources.inspection import ENGINE_NAMES, Inspected, inspect
from app.uploads import service as uploads

TO_BLAME = (ErrorCode.UNSAFE_FILE, ErrorCode.DISK_TOO_LARGE)
"""Failures of a file that no other try would make good."""


class _MakesImage(ABC):
    """A job that makes one image."""

    cancellable = True

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """No bytes are left of it, and the image says why it was killed."""
        for content_id in self.content_ids(work):
            await runtime.engine.contents.release(content_id)
        async with db.transaction():
            await ImageDisk.filter(image_id=work.image_id).delete()
            await Content.filter(id__in=self.content_ids(work)).delete()
            if await states.IMAGE.move(str(work.image_id), ImageStatus.KILLED, **faults.columns(error)):
                await quotas.give_back(work.project_id, image_jobs=1)
                await self.let_go(work, error)
            await _let_go_of_source(work)

    async def let_go(self, work: Work, error: ServiceError) -> None:  # noqa: B027 - most have nothing more
        """Once, in the transaction that kills the image: let others have what was made into it."""

    @abstractmethod
    def content_ids(self, work: Work) -> Sequence[UUID]:
        """The contents that the job may have made."""


async def _let_go_of_source(work: Work) -> None:
    async with db.transaction():
        for disk_id in work.disk_ids:
            await disks.let_go(disk_id, work.id)
        for ecs_id in work.ecs_ids:
            await holding.let_go(ecs_id, work.id)


async def _activate(
    work: Work,
    made: Mapping[UUID, ContentFacts],
    *,
    consistency: Consistency | None,
    stored_bytes: int,
    virtual_bytes: int = 0,
) -> None:
    """In a transaction: the contents are sealed, the image is ACTIVE, the job has ended. `virtual_bytes`: of contents that were before."""
    for content_id, facts in made.items():
        sizes: dict[str, Any] = {"virtual_bytes": facts.virtual_bytes, "own_bytes": facts.own_bytes}
        await states.CONTENT.move(content_id, ContentState.SEALED, consistency=consistency, **sizes)
        await ImageDisk.filter(content_id=content_id).update(content_bytes=facts.own_bytes)
    moved = await states.IMAGE.move(
        str(work.image_id),
        ImageStatus.ACTIVE,
        active_at=db.now(),
        stored_bytes=stored_bytes,
        virtual_size_bytes=virtual_bytes + sum(facts.virtual_bytes for facts in made.values()),
    )
    if moved:
        await quotas.give_back(work.project_id, image_jobs=1)
    await _let_go_of_source(work)
    await work.finish()


def _bytes(work: Work, phase: str) -> Any:
    """Progress of copying as progress of the job; the first and last per cent are for the rest."""

    async def progress(done: int, total: int) -> None:
        fraction = 0.01 + 0.98 * done / max(total, 1)
        await work.progress(fraction, phase=phase, bytes_done=done, bytes_total=total)

    return progress


class CreateImage(_MakesImage):
    """An image of one disk: seal, copy, let the sealed content go."""

    def content_ids(self, work: Work) -> Sequence[UUID]:
        """The sealed content and its copy."""
        return [UUID(str(work.input[name])) for name in ("sealed_id", "copy_id")]

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Disk and ECS are held only until the disk is sealed: what is written later does not belong to the image."""
        sealed_id, copy_id = self.content_ids(work)
        engine = runtime.engine.contents
        await states.IMAGE.move(str(work.image_id), ImageStatus.SAVING)
        consistency = await self._seal(runtime, work, sealed_id)
        facts = await engine.copy(sealed_id, copy_id, _bytes(work, "copying the disk"))
        await engine.release(sealed_id)
        async with db.transaction():
            await states.CONTENT.move(sealed_id, ContentState.RELEASED)
            await contents.forget([sealed_id])
            await _activate(work, {copy_id: facts}, consistency=consistency, stored_bytes=facts.own_bytes)

    async def _seal(self, runtime: Runtime, work: Work, sealed_id: UUID) -> Consistency | None:
        """Seal the disk, unless that was done before a crash: then the disk may be elsewhere by now, or gone."""
        content = await Content.get(id=sealed_id)
        if content.state is ContentState.SEALED:
            return content.consistency
        await work.progress(0.0, phase="sealing the disk")
        ecs_id, disk_id = (work.input.get(name) and UUID(str(work.input[name])) for name in ("ecs_id", "disk_id"))
        assert isinstance(disk_id, UUID)
        machine_id = ecs_id if isinstance(ecs_id, UUID) else None
        sealed = await runtime.engine.contents.seal({disk_id: sealed_id}, machine_id=machine_id)
        async with db.transaction():
            await states.CONTENT.move(sealed_id, ContentState.SEALED, consistency=sealed.consistency)
            await _let_go_of_source(work)
        return sealed.consistency


class CopyImage(_MakesImage):
    """A copy of another image's only disk. Until it is there, the new image's disk holds what is copied."""

    def content_ids(self, work: Work) -> Sequence[UUID]:
        """The copy."""
        return [UUID(str(work.input["copy_id"]))]

    async def run(self, runtime: Runtime, work: Work) -> None:
        """What the other image's owner does meanwhile does not matter."""
        (copy_id,) = self.content_ids(work)
        original_id = UUID(str(work.input["original_id"]))
        await states.IMAGE.move(str(work.image_id), ImageStatus.SAVING)
        facts = await runtime.engine.contents.copy(original_id, copy_id, _bytes(work, "copying the disk"))
        consistency = (await Content.get(id=original_id)).consistency
        async with db.transaction():
            await ImageDisk.filter(image_id=work.image_id).update(content_id=copy_id)
            await contents.let_go([original_id], project_id=work.project_id)
            await _activate(work, {copy_id: facts}, consistency=consistency, stored_bytes=facts.own_bytes)

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """As for every image; and what was to be copied is not held any more."""
        await super().abandon(runtime, work, error)
        async with db.transaction():
            await contents.let_go([UUID(str(work.input["original_id"]))], project_id=work.project_id)


class CreateFullEcsImage(_MakesImage):
    """A full-ECS image: seal all disks, and that is it. One of a backup holds what was sealed before."""

    def content_ids(self, work: Work) -> Sequence[UUID]:
        """One for each disk."""
        return list(self.seals(work).values())

    @staticmethod
    def seals(work: Work) -> dict[UUID, UUID]:
        """Disk and content."""
        given: Any = work.input["seals"]
        return {UUID(disk): UUID(content) for disk, content in given.items()}

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Nothing is copied, so there is no progress to tell of."""
        await states.IMAGE.move(str(work.image_id), ImageStatus.SAVING)
        if "backup_id" in work.input:
            async with db.transaction():
                sealed_before = await Content.filter(image_disks__image_id=work.image_id)
                virtual_bytes = sum(content.virtual_bytes for content in sealed_before)
                await _activate(work, {}, consistency=None, stored_bytes=0, virtual_bytes=virtual_bytes)
            return
        await work.progress(0.0, phase="sealing the disks")
        ecs_id = UUID(str(work.input["ecs_id"]))
        sealed = await runtime.engine.contents.seal(self.seals(work), machine_id=ecs_id, freeze=True)
        async with db.transaction():
            await _activate(work, sealed.contents, consistency=sealed.consistency, stored_bytes=0)


class ImportImage(_MakesImage):
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
        progress = _bytes(work, "reading the file")
        facts = await runtime.engine.contents.ingest(path, format=format_, content_id=content_id, progress=progress)
        async with db.transaction():
            await _activate(work, {content_id: facts}, consistency=Consistency.STOPPED, stored_bytes=facts.own_bytes)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _import(self, runtime: Runtime, work: Work, content_id: UUID) -> None:
        upload_id = UUID(str(work.input["upload_id"]))
        path = uploads.path_of(runtime.settings.data_dir, upload_id)
        declared, kind = work.input["format"], ImageKind(str(work.input["kind"]))
        await work.progress(0.0, phase="looking at the file")
        file = await inspect(path, declared=DiskFormat(str(declared)) if declared else None, kind=kind)
        image = await Image.get(id=work.image_id)
        _check_size(file, image.min_disk_gib)
        room = await asyncio.to_thread(free_bytes, runtime.settings.data_dir)
        if file.needed_bytes + (runtime.settings.reserve_disk_mib << 20) > room:
            message = f"The service has no room for {file.needed_bytes >> 20} MiB more."
            raise Refused(ErrorCode.INSUFFICIENT_STORAGE, message)
        progress, name = _bytes(work, "converting the file"), ENGINE_NAMES[file.format]
        facts = await runtime.engine.contents.ingest(path, format=name, content_id=content_id, progress=progress)
        async with db.transaction():
            await Image.filter(id=image.id).update(
                min_disk_gib=max(image.min_disk_gib, file.size_gib),
                disk_format=DiskFormat.QCOW2,
                source_format=file.format,
            )
            await ImageDisk.filter(content_id=content_id).update(size_gib=file.size_gib)
            await uploads.use_up(upload_id)
            await _activate(work, {content_id: facts}, consistency=Consistency.STOPPED, stored_bytes=facts.own_bytes)
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


class DeleteImage:
    """Contents that nobody holds any more."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """First the bytes, then the rows."""
        given: Any = work.input["content_ids"]
        ids = [UUID(text) for text in given]
        for done, content_id in enumerate(ids):
            await runtime.engine.contents.release(content_id)
            await work.progress((done + 1) / len(ids), phase="freeing space")
        await contents.forget(ids)

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """There is no way back: what nobody holds has to go, so it is tried again until it does."""
        await self.run(runtime, work)
