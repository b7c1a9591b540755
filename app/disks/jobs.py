"""What jobs do to EVS disks that belong to no ECS. All is worked out from rows, so that every step can be done again after a crash."""

from __future__ import annotations

from app import db, faults, states
from app.contents import service as contents
from app.disks.models import EvsDisk
from app.enums import DiskStatus
from app.errors import ServiceError
from app.jobs.work import Work
from app.projects import quotas
from app.runtime import Runtime

GIB = 2**30


class CreateDisks:
    """Make disks, all or none."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Each is made at once, with nothing copied; they become AVAILABLE together."""
        await runtime.require_room()
        disks = await EvsDisk.filter(id__in=list(work.disk_ids), job_id=work.id).order_by("name", "id")
        for done, disk in enumerate(disks):
            await work.progress(done / len(disks), phase=f"{done} of {len(disks)} disks made")
            size_bytes = disk.size_gib * GIB
            await runtime.engine.contents.create_disk(disk.id, size_bytes=size_bytes, content_id=disk.content_id)
        async with db.transaction():
            for disk in disks:
                await states.DISK.move(disk.id, DiskStatus.AVAILABLE, job_id=None, content_id=None)
            await contents.let_go([d.content_id for d in disks if d.content_id], project_id=work.project_id)
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """Nothing is left of any of them but a row that says why."""
        disks = await EvsDisk.filter(id__in=list(work.disk_ids), job_id=work.id)
        for disk in disks:
            await runtime.engine.contents.delete_disk(disk.id)
        async with db.transaction():
            for disk in disks:
                columns = faults.columns(error)
                if await states.DISK.move(disk.id, DiskStatus.ERROR, job_id=None, content_id=None, **columns):
                    await quotas.give_back(disk.project_id, disks=1, disk_gib=disk.size_gib)
            await contents.let_go([d.content_id for d in disks if d.content_id], project_id=work.project_id)


class DeleteDisk:
    """Delete one disk."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """First the bytes, then the row."""
        await runtime.engine.contents.delete_disk(work.disk_ids[0])
        async with db.transaction():
            await self._forget(work)
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """There is no way back: its bytes may be gone. What nobody can use has to go, so it is tried again until it does."""
        await runtime.engine.contents.delete_disk(work.disk_ids[0])
        async with db.transaction():
            await self._forget(work)

    async def _forget(self, work: Work) -> None:
        """In a transaction; one that could not be made had given back its quota already."""
        disk = await EvsDisk.get_or_none(id=work.disk_ids[0], job_id=work.id)
        if disk and await EvsDisk.filter(id=disk.id, job_id=work.id).delete() and not work.input["failed"]:
            await quotas.give_back(disk.project_id, disks=1, disk_gib=disk.size_gib)
