"""Giving EVS disks to machines, taking them away, and making them larger: what concerns a disk and, if it has one, its ECS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from app import db, policy
from app.disks import holding as disks
from app.disks import rules as disk_rules
from app.disks.models import EvsDisk
from app.disks.reads import EvsDiskRow
from app.ecs import holding, host, rules
from app.ecs.flavors import FOR_RULES, find_flavors
from app.enums import DiskAction, DiskStatus, EcsAction, ErrorCode, JobType, TokenScope
from app.errors import Conflict, Refused, ServiceError
from app.jobs import queue
from app.policy import Caller
from app.projects import quotas
from app.reading import Wanted


async def attach_evs_disk(caller: Caller, disk_id: UUID, ecs_id: UUID) -> UUID:
    """Give a disk to an ECS that is ACTIVE or SHUTOFF, by a job; its id.

    Raises: NotFound, Forbidden, Busy, InvalidState. Refused: TOO_MANY_DISKS (Ecs.0104).
    """
    policy.require(caller, TokenScope.STORAGE)
    job_id = uuid4()
    async with db.transaction():
        with about("ecs_id"):
            await holding.hold(caller, EcsAction.CHANGE_DISKS, ecs_id, job_id)
        with about("disk_id"):
            await disks.hold(caller, DiskAction.ATTACH, disk_id, job_id, DiskStatus.ATTACHING)
        await _check_place(caller, ecs_id)
        return await queue.enqueue(
            JobType.ATTACH_DISK,
            project_id=caller.project,
            ecs_ids=[ecs_id],
            disk_ids=[disk_id],
            input={},
            job_id=job_id,
        )


async def _check_place(caller: Caller, ecs_id: UUID) -> None:
    ecs = await holding.get_ecs(caller, ecs_id, Wanted.naming("flavor_id"))
    flavor = (await find_flavors(caller, [ecs.flavor_id], FOR_RULES))[ecs.flavor_id]
    most = rules.max_data_disks(flavor, host.current().capabilities)
    if await EvsDisk.filter(ecs_id=ecs_id, is_system=False).count() >= most:
        message = f"At most {most} data disks go with flavor {flavor.name}, and the ECS has them."
        raise Refused(ErrorCode.TOO_MANY_DISKS, message, field=("input", "ecs_id"), otc="Ecs.0104")


async def detach_evs_disk(caller: Caller, disk_id: UUID, *, force: bool) -> UUID:
    """Take a data disk away from its ECS, which is ACTIVE or SHUTOFF, by a job; its id.

    Raises: NotFound, Forbidden, Unsupported, Busy, InvalidState.
    """
    policy.require(caller, TokenScope.STORAGE)
    job_id = uuid4()
    async with db.transaction():
        with about("disk_id"):
            row = await hold_with_ecs(caller, DiskAction.DETACH, disk_id, job_id, DiskStatus.DETACHING)
        ecs_id = UUID(str(row.ecs_id))
        return await queue.enqueue(
            JobType.DETACH_DISK,
            project_id=caller.project,
            ecs_ids=[ecs_id],
            disk_ids=[disk_id],
            input={"force": force},
            job_id=job_id,
        )


async def extend_evs_disk(caller: Caller, disk_id: UUID, size_gib: int) -> UUID:
    """Make a disk larger, and let its ECS, if it has one, run on; by a job, its id.

    Raises: NotFound, Forbidden, Busy, InvalidState, QuotaExceeded. Refused: DISK_TOO_SMALL, DISK_TOO_LARGE (IMG.0111).
    """
    policy.require(caller, TokenScope.STORAGE)
    job_id = uuid4()
    async with db.transaction():
        with about("disk_id"):
            row = await hold_with_ecs(caller, DiskAction.EXTEND, disk_id, job_id, DiskStatus.EXTENDING)
        _check_size(row.size_gib, size_gib, is_system=row.is_system)
        await quotas.take(caller.project, disk_gib=size_gib - row.size_gib)
        return await queue.enqueue(
            JobType.EXTEND_DISK,
            project_id=caller.project,
            ecs_ids=[UUID(row.ecs_id)] if row.ecs_id else [],
            disk_ids=[disk_id],
            input={"size_gib": size_gib},
            job_id=job_id,
        )


def _check_size(before: int, size_gib: int, *, is_system: bool) -> None:
    where = ("input", "size_gib")
    if size_gib <= before:
        message = f"The disk has {before} GiB, and can only be made larger."
        raise Refused(ErrorCode.DISK_TOO_SMALL, message, field=where, otc="Ecs.0007")
    if is_system and size_gib > disk_rules.MAX_SYSTEM_DISK_GIB:
        message = f"A system disk has at most {disk_rules.MAX_SYSTEM_DISK_GIB} GiB."
        raise Refused(ErrorCode.DISK_TOO_LARGE, message, field=where, otc="IMG.0111")
    if not is_system:
        disk_rules.check_data_disk_size(size_gib, *where)


async def hold_with_ecs(
    caller: Caller, action: DiskAction, disk_id: UUID, job_id: UUID, status: DiskStatus
) -> EvsDiskRow:
    """Take a disk for a job, and its ECS, if it has one: that one first, as everywhere, so that nobody waits for ever.

    Raises: NotFound, Forbidden, Unsupported, Busy, InvalidState. Conflict: it has just been attached or detached.
    """
    seen = await disks.get_disk(caller, disk_id)
    policy.authorize(policy.disk_refusal(caller, action, seen))
    if seen.ecs_id:
        imaging = action is DiskAction.CREATE_IMAGE
        ecs_action = EcsAction.CREATE_IMAGE if imaging else EcsAction.CHANGE_DISKS
        await holding.hold(caller, ecs_action, UUID(seen.ecs_id), job_id)
    row = await disks.hold(caller, action, disk_id, job_id, status)
    if row.ecs_id != seen.ecs_id:
        raise Conflict("The disk has just been attached or detached; look again.", otc="Ecs.0103")
    return row


@contextmanager
def about(argument: str) -> Iterator[None]:
    """What is refused here is refused for this argument."""
    try:
        yield
    except ServiceError as error:
        raise error.at("input", argument) from None
