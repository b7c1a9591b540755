"""What jobs do to EVS disks that belong to an ECS. They hold both, so the engine is asked for one thing at a time.

A job that is given up asks the engine for the opposite, so that rows say what is: a guest may keep what it was asked to let go.
"""

from __future__ import annotations

from uuid import UUID

from app import db, faults, states
from app.disks import holding as disks
from app.disks.jobs import GIB
from app.disks.models import EvsDisk
from app.ecs import holding
from app.ecs.jobs import endpoints_of, settle
from app.ecs.models import EcsInstance
from app.enums import EcsStatus, ErrorCode
from app.errors import EngineError, NotFound, ServiceError
from app.jobs.work import Work
from app.projects import quotas
from app.runtime import Runtime


async def _belongs(ecs_id: UUID, disk_id: UUID, job_id: UUID, **columns: object) -> None:
    """In a transaction: the disk belongs to the ECS, as its last one if it did not before, and the job holds neither any more."""
    disk = await EvsDisk.get(id=disk_id)
    if disk.ecs_id is None:
        last = await EvsDisk.filter(ecs_id=ecs_id).order_by("-boot_index").first()
        columns["boot_index"] = (last.boot_index or 0) + 1 if last else 0
    await disks.let_go(disk_id, job_id, ecs_id=ecs_id, **columns)
    await holding.let_go(ecs_id, job_id)


async def _is_free(ecs_id: UUID, disk_id: UUID, job_id: UUID, **columns: object) -> None:
    """In a transaction: the disk belongs to no ECS, and the job holds neither any more."""
    await disks.let_go(disk_id, job_id, ecs_id=None, boot_index=None, **columns)
    await holding.let_go(ecs_id, job_id)


class AttachDisk:
    """Give a disk to a machine."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """At once if it runs, else with its next start."""
        (ecs_id,), (disk_id,) = work.ecs_ids, work.disk_ids
        await runtime.engine.machines.attach(ecs_id, disk_id)
        async with db.transaction():
            await _belongs(ecs_id, disk_id, work.id, **faults.CLEARED)
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """Take it away again, unless the guest has it for good by now."""
        (ecs_id,), (disk_id,) = work.ecs_ids, work.disk_ids
        after = _is_free
        try:
            await runtime.engine.machines.detach(ecs_id, disk_id, deadline_s=runtime.settings.stop_timeout_s)
        except EngineError:
            after = _belongs
        async with db.transaction():
            await after(ecs_id, disk_id, work.id, **faults.columns(error))


class DetachDisk:
    """Take a disk away from a machine."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Ask the guest; with force, cut the power of a machine whose guest does not let go, and start it without the disk."""
        (ecs_id,), (disk_id,) = work.ecs_ids, work.disk_ids
        machines, deadline_s = runtime.engine.machines, runtime.settings.stop_timeout_s
        status = (await EcsInstance.get(id=ecs_id)).status
        facts = None
        if status is not EcsStatus.HARD_REBOOT:
            await work.progress(0.1, phase="waiting for the guest to let go of the disk")
            try:
                await machines.detach(ecs_id, disk_id, deadline_s=deadline_s)
            except EngineError as error:
                if error.code is not ErrorCode.TIMED_OUT or not work.input["force"]:
                    raise
                await states.ECS.move(ecs_id, EcsStatus.HARD_REBOOT)
                status = EcsStatus.HARD_REBOOT
        if status is EcsStatus.HARD_REBOOT:
            await work.progress(0.6, phase="restarting the machine without the disk")
            await machines.stop(ecs_id, deadline_s=deadline_s, force=True)
            await machines.detach(ecs_id, disk_id, deadline_s=deadline_s)
            facts = await machines.start(ecs_id)
        async with db.transaction():
            if facts:
                await states.ECS.move(ecs_id, EcsStatus.ACTIVE, endpoints=endpoints_of(facts))
            await _is_free(ecs_id, disk_id, work.id, **faults.CLEARED)
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """Give it back, if it was taken away already."""
        (ecs_id,), (disk_id,) = work.ecs_ids, work.disk_ids
        after = _belongs
        try:
            await runtime.engine.machines.attach(ecs_id, disk_id)
        except (EngineError, NotFound):
            after = _is_free
        await settle(runtime, ecs_id)
        async with db.transaction():
            await after(ecs_id, disk_id, work.id, **faults.columns(error))


class ExtendDisk:
    """Make a disk larger."""

    cancellable = False

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Whether a machine runs on it or not."""
        size_gib = int(str(work.input["size_gib"]))
        await runtime.engine.contents.extend(work.disk_ids[0], size_gib * GIB)
        async with db.transaction():
            await self._let_go(work, size_gib=size_gib, **faults.CLEARED)
            await work.finish()

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """A disk cannot be made smaller: if it can be made larger by now, it is."""
        (disk_id,), size_gib = work.disk_ids, int(str(work.input["size_gib"]))
        disk = await EvsDisk.get(id=disk_id)
        columns = faults.columns(error)
        try:
            await runtime.engine.contents.extend(disk_id, size_gib * GIB)
        except (EngineError, NotFound):
            size_gib, unused = disk.size_gib, size_gib - disk.size_gib
        else:
            unused = 0
        async with db.transaction():
            if await self._let_go(work, size_gib=size_gib, **columns):
                await quotas.give_back(work.project_id, disk_gib=unused)

    async def _let_go(self, work: Work, **columns: object) -> bool:
        held = await disks.let_go(work.disk_ids[0], work.id, **columns)
        for ecs_id in work.ecs_ids:
            await holding.let_go(ecs_id, work.id)
        return held
