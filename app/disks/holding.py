"""A job's hold on an EVS disk: one at a time, taken with the job and given back with its end."""

from __future__ import annotations

from uuid import UUID

from app import db, policy, states
from app.disks.models import EvsDisk
from app.disks.reads import EVS_DISKS, EvsDiskRow
from app.enums import DiskAction, DiskStatus
from app.errors import Busy, NotFound
from app.policy import Caller
from app.reading import Wanted, find

FOR_RULES = Wanted.naming("project_id", "status", "job_id", "is_system", "ecs_id", "name", "size_gib")


async def get_disk(caller: Caller, disk_id: UUID | str) -> EvsDiskRow:
    """One of the caller's disks.

    Raises: NotFound.
    """
    row = (await find(caller, EVS_DISKS, [str(disk_id)], FOR_RULES)).get(str(disk_id))
    if row is None:
        raise NotFound("There is no such EVS disk.", otc="IMG.0120")
    return row


async def hold(caller: Caller, action: DiskAction, disk_id: UUID, job_id: UUID, status: DiskStatus) -> EvsDiskRow:
    """Take a disk for a job, in the transaction that enqueues it, and give it the status that it has meanwhile; as it was before.

    Raises: NotFound, and what app.policy refuses with: Forbidden, Unsupported, Busy, InvalidState.
    """
    async with db.transaction():
        await EvsDisk.filter(id=disk_id).select_for_update().get_or_none()
        row = await get_disk(caller, disk_id)
        policy.authorize(policy.disk_refusal(caller, action, row))
        if not await states.DISK.move(disk_id, status, where={"job_id": None}, job_id=job_id):
            raise Busy("Another job holds the disk; wait for it.", otc="Ecs.0103")
    return row


async def let_go(disk_id: UUID, job_id: UUID, **columns: object) -> bool:
    """Give a disk back, with its status by whether it belongs to an ECS, and write columns with it; nothing if the job has it not.

    To attach it give `ecs_id`, to detach it None.
    """
    async with db.transaction():
        disk = await EvsDisk.get_or_none(id=disk_id, job_id=job_id)
        if disk is None:
            return False
        status = DiskStatus.IN_USE if columns.get("ecs_id", disk.ecs_id) else DiskStatus.AVAILABLE
        return await states.DISK.move(disk_id, status, where={"job_id": job_id}, **{"job_id": None, **columns})
