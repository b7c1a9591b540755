"""What jobs do about backups. Contents have their ids before there are any bytes, so every step can be done again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app import db, faults, states
from app.backups.models import Backup, BackupDisk
from app.contents import service as contents
from app.contents.models import Content
from app.ecs import holding
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
        await work.progress(0.0, phase="sealing the disks")
        seals, (ecs_id,) = pairs_of(work.input["seals"]), work.ecs_ids
        sealed = await runtime.engine.contents.seal(seals, machine_id=ecs_id)
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
            changed_bytes=sum(facts.own_bytes for facts in sealed.contents.values()),
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
