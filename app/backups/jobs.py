"""What jobs do about backups. Contents have their ids before there are any bytes, so every step can be done again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app import db, faults, states
from app.backups.models import Backup, BackupDisk
from app.contents import service as contents
from app.contents.models import Content
from app.disks import holding as disk_holding
from app.disks.jobs import GIB
from app.disks.models import EvsDisk
from app.ecs import holding
from app.ecs.jobs import LaunchEcs
from app.engines.base import Sealed
from app.enums import BackupStatus, ContentState
from app.errors import ServiceError
from app.jobs.work import Work
from app.projects import quotas
from app.runtime import Runtime


def pairs_of(given: object) -> dict[UUID, UUID]:
    """Disk and content, as they are kept in a job's input."""
    assert isinstance(given, Mapping)
    return {UUID(disk): UUID(content) for disk, content in given.items()}


class CreateBackup:
    """Keep what all disks of an ECS hold."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Seal all disks, and that is it: nothing is copied."""
        await runtime.require_room()
        await work.progress(0.0, phase="sealing the disks")
        seals, (ecs_id,) = pairs_of(work.input["seals"]), work.ecs_ids
        sealed = await runtime.engine.contents.seal(seals, machine_id=ecs_id, freeze=True)
        async with db.transaction():
            await self._keep(work, sealed)
            await holding.let_go(ecs_id, work.id)
            await work.finish()

    async def _keep(self, work: Work, sealed: Sealed) -> None:
        for content_id, facts in sealed.contents.items():
            sizes: dict[str, Any] = {"virtual_bytes": facts.virtual_bytes, "own_bytes": facts.own_bytes}
            await states.CONTENT.move(content_id, ContentState.SEALED, consistency=sealed.consistency, **sizes)
            await BackupDisk.filter(content_id=content_id).update(content_bytes=facts.own_bytes)
        await states.BACKUP.move(
            str(work.backup_id),
            BackupStatus.AVAILABLE,
            job_id=None,
            consistency=sealed.consistency,
            changed_bytes=sum(facts.changed_bytes or 0 for facts in sealed.contents.values()),
        )

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """No bytes are left of it, and the backup says why."""
        content_ids = list(pairs_of(work.input["seals"]).values())
        for content_id in content_ids:
            await runtime.engine.contents.release(content_id)
        async with db.transaction():
            await BackupDisk.filter(backup_id=work.backup_id).delete()
            await Content.filter(id__in=content_ids).delete()
            await states.BACKUP.move(str(work.backup_id), BackupStatus.ERROR, job_id=None, **faults.columns(error))
            for ecs_id in work.ecs_ids:
                await holding.let_go(ecs_id, work.id)


class RestoreBackup:
    """Launch an ECS from a backup, or overwrite the disks of its own one."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """A new ECS is launched as from an image."""
        await (self._overwrite(runtime, work) if work.disk_ids else LaunchEcs().run(runtime, work))

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """Either there is no new ECS, or its own one has the bytes that it had before."""
        await (self._put_back(runtime, work) if work.disk_ids else LaunchEcs().abandon(runtime, work, error))

    async def _overwrite(self, runtime: Runtime, work: Work) -> None:
        """What the disks hold is kept first, so that there is a way back; then each is made anew from the backup, under its own id.

        A kill at any point leaves a job that does all of it again: a disk that was made anew already is made anew once more.
        """
        (ecs_id,) = work.ecs_ids
        await work.progress(0.1, phase="keeping what the disks hold")
        await self._keep(runtime, work, ecs_id)
        await work.progress(0.5, phase="restoring the disks")
        disks = await BackupDisk.filter(backup_id=work.backup_id, disk_id__in=list(work.disk_ids))
        await _make_anew(runtime, {disk.disk_id: disk.content_id for disk in disks})
        async with db.transaction():
            await self._let_go(work)
            await work.finish()

    async def _keep(self, runtime: Runtime, work: Work, ecs_id: UUID) -> None:
        """Once: after that the disks may hold something else."""
        before = pairs_of(work.input["before"])
        if await Content.exists(id__in=list(before.values()), state=ContentState.SEALED):
            return
        await runtime.require_room()
        sealed = await runtime.engine.contents.seal(before, machine_id=ecs_id)
        async with db.transaction():
            for content_id in sealed.contents:
                await states.CONTENT.move(content_id, ContentState.SEALED, consistency=sealed.consistency)

    async def _put_back(self, runtime: Runtime, work: Work) -> None:
        before = pairs_of(work.input["before"])
        if await Content.exists(id__in=list(before.values()), state=ContentState.SEALED):
            await _make_anew(runtime, before)
        async with db.transaction():
            await self._let_go(work)

    async def _let_go(self, work: Work) -> None:
        """In a transaction: nothing is held any more, neither backup and ECS nor what the disks held before."""
        for disk_id in work.disk_ids:
            await disk_holding.let_go(disk_id, work.id)
        for ecs_id in work.ecs_ids:
            await holding.let_go(ecs_id, work.id)
        await states.BACKUP.move(str(work.backup_id), BackupStatus.AVAILABLE, where={"job_id": work.id}, job_id=None)
        await contents.let_go(pairs_of(work.input["before"]).values(), project_id=work.project_id)


async def _make_anew(runtime: Runtime, content_ids: Mapping[UUID, UUID]) -> None:
    """Have disks of a machine that is off hold these contents; their ids and sizes stay."""
    engine = runtime.engine.contents
    for disk in await EvsDisk.filter(id__in=list(content_ids)).order_by("boot_index", "id"):
        await engine.delete_disk(disk.id)
        await engine.create_disk(disk.id, size_bytes=disk.size_gib * GIB, content_id=content_ids[disk.id])


class DeleteBackup:
    """Delete a backup, and of its contents those that nobody else holds."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """First the rows, which hold the contents, then the bytes."""
        given: Any = work.input["content_ids"]
        content_ids = [UUID(text) for text in given]
        async with db.transaction():
            if await Backup.filter(id=work.backup_id, job_id=work.id).delete():
                await quotas.give_back(work.project_id, backups=1)
            await contents.give_up(content_ids)
        released = await Content.filter(id__in=content_ids, state=ContentState.RELEASED).order_by("id")
        for content in released:
            await runtime.engine.contents.release(content.id)
        await contents.forget([content.id for content in released])

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """There is no way back: what nobody holds has to go, so it is tried again until it does."""
        await self.run(runtime, work)
