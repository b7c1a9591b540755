"""What jobs do to make images. Contents have their ids before there are any bytes, so every step can be done again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from app import db, faults, states
from app.contents import service as contents
from app.contents.models import Content
from app.disks import holding as disks
from app.ecs import holding
from app.engines.base import ContentFacts
from app.enums import Consistency, ContentState, DiskFormat, ImageStatus
from app.errors import ServiceError
from app.images import charging
from app.images.models import ImageDisk
from app.jobs.work import Work
from app.projects import quotas
from app.runtime import Runtime


class MakesImage(ABC):
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
                await charging.correct(UUID(str(work.image_id)), 0)
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


async def activate(
    work: Work,
    made: Mapping[UUID, ContentFacts],
    *,
    consistency: Consistency | None,
    stored_bytes: int,
    virtual_bytes: int = 0,
    disk_format: DiskFormat | None = DiskFormat.QCOW2,
) -> None:
    """In a transaction: the contents are sealed, the image is ACTIVE, the job has ended.

    `virtual_bytes`: of contents that were before. `disk_format`: of the file that the engine lends; None where there is none.
    """
    for content_id, facts in made.items():
        sizes: dict[str, Any] = {"virtual_bytes": facts.virtual_bytes, "own_bytes": facts.own_bytes}
        await states.CONTENT.move(content_id, ContentState.SEALED, consistency=consistency, **sizes)
        await ImageDisk.filter(content_id=content_id).update(content_bytes=facts.own_bytes)
    virtual_bytes += sum(facts.virtual_bytes for facts in made.values())
    moved = await states.IMAGE.move(
        str(work.image_id),
        ImageStatus.ACTIVE,
        active_at=db.now(),
        stored_bytes=stored_bytes,
        virtual_size_bytes=virtual_bytes,
        disk_format=disk_format,
    )
    if moved:
        await quotas.give_back(work.project_id, image_jobs=1)
        await charging.correct(UUID(str(work.image_id)), virtual_bytes)
    await _let_go_of_source(work)
    await work.finish()


def progress_of(work: Work, phase: str, *, begin: float = 0.01) -> Any:
    """Progress of copying as progress of the job from `begin` on; the first and last per cent are for the rest."""

    async def progress(done: int, total: int) -> None:
        fraction = begin + (0.99 - begin) * done / max(total, 1)
        await work.progress(fraction, phase=phase, bytes_done=done, bytes_total=total)

    return progress


class CreateImage(MakesImage):
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
        facts = await engine.copy(sealed_id, copy_id, progress_of(work, "copying the disk"))
        await engine.release(sealed_id)
        async with db.transaction():
            await states.CONTENT.move(sealed_id, ContentState.RELEASED)
            await contents.forget([sealed_id])
            await activate(work, {copy_id: facts}, consistency=consistency, stored_bytes=facts.own_bytes)

    async def _seal(self, runtime: Runtime, work: Work, sealed_id: UUID) -> Consistency | None:
        """Seal the disk, unless that was done before a crash: then the disk may be elsewhere by now, or gone."""
        content = await Content.get(id=sealed_id)
        if content.state is ContentState.SEALED:
            return content.consistency
        await runtime.require_room()
        await work.progress(0.0, phase="sealing the disk")
        ecs_id, disk_id = (work.input.get(name) and UUID(str(work.input[name])) for name in ("ecs_id", "disk_id"))
        assert isinstance(disk_id, UUID)
        machine_id = ecs_id if isinstance(ecs_id, UUID) else None
        sealed = await runtime.engine.contents.seal({disk_id: sealed_id}, machine_id=machine_id)
        async with db.transaction():
            await states.CONTENT.move(sealed_id, ContentState.SEALED, consistency=sealed.consistency)
            await _let_go_of_source(work)
        return sealed.consistency


class CopyImage(MakesImage):
    """A copy of another image's only disk. Until it is there, the new image's disk holds what is copied."""

    def content_ids(self, work: Work) -> Sequence[UUID]:
        """The copy."""
        return [UUID(str(work.input["copy_id"]))]

    async def run(self, runtime: Runtime, work: Work) -> None:
        """What the other image's owner does meanwhile does not matter."""
        (copy_id,) = self.content_ids(work)
        original_id = UUID(str(work.input["original_id"]))
        await states.IMAGE.move(str(work.image_id), ImageStatus.SAVING)
        facts = await runtime.engine.contents.copy(original_id, copy_id, progress_of(work, "copying the disk"))
        consistency = (await Content.get(id=original_id)).consistency
        async with db.transaction():
            await ImageDisk.filter(image_id=work.image_id).update(content_id=copy_id)
            # Quotas come before contents, as they do in a request: two that lock the same rows cannot wait for each other.
            await activate(work, {copy_id: facts}, consistency=consistency, stored_bytes=facts.own_bytes)
            await contents.let_go([original_id], project_id=work.project_id)

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """As for every image; and what was to be copied is not held any more."""
        await super().abandon(runtime, work, error)
        async with db.transaction():
            await contents.let_go([UUID(str(work.input["original_id"]))], project_id=work.project_id)


class CreateFullEcsImage(MakesImage):
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
                await activate(
                    work, {}, consistency=None, stored_bytes=0, virtual_bytes=virtual_bytes, disk_format=None
                )
            return
        await runtime.require_room()
        await work.progress(0.0, phase="sealing the disks")
        ecs_id = UUID(str(work.input["ecs_id"]))
        sealed = await runtime.engine.contents.seal(self.seals(work), machine_id=ecs_id, freeze=True)
        async with db.transaction():
            await activate(work, sealed.contents, consistency=sealed.consistency, stored_bytes=0, disk_format=None)


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
