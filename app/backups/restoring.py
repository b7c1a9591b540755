"""Restoring backups: onto the stopped ECS that it is a backup of, or into a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from app import db, policy, states
from app.backups import holding
from app.backups.models import BackupDisk
from app.backups.reads import BackupRow
from app.contents import service as contents
from app.disks.models import EvsDisk
from app.ecs import holding as ecs_holding
from app.ecs import host
from app.ecs.attaching import about
from app.ecs.launch import hash_password, insert_machines
from app.ecs.planning import DiskOverride, LaunchRequest, Origin, Plan, plan_machines
from app.enums import (
    Architecture,
    BackupAction,
    BackupStatus,
    DiskStatus,
    EcsAction,
    Firmware,
    JobType,
    OsType,
    TokenScope,
)
from app.errors import InvalidState, ServiceError
from app.jobs import queue
from app.policy import Caller
from app.projects import idempotency, quotas

TARGET = ("input", "target", "ecs_id")
NEW_ECS = ("input", "target", "new_ecs")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEcs:
    """An ECS to be made from a backup."""

    name: str
    flavor_id: UUID
    key_pair_name: str | None = None
    password: str | None = field(default=None, repr=False)
    expose_ports: Sequence[int] = (22,)
    disk_overrides: Sequence[DiskOverride] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """What was begun; nothing in a dry run."""

    ecs_id: str | None = None
    job_id: str | None = None


async def restore_backup(
    caller: Caller, backup_id: UUID, target: UUID | NewEcs, *, idempotency_key: str | None, dry_run: bool
) -> Begun:
    """Overwrite the disks of the ECS that the backup is of, which is SHUTOFF; or launch a new ECS. By a job.

    Disks that the ECS was given later stay as they are, and disks that have been extended keep their size.

    Raises: Forbidden, NotFound, Busy, InvalidState; Refused: BACKUP_UNAVAILABLE (Ecs.0048); for a new ECS also what a launch is refused
    with from the flavor on, QuotaExceeded; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.STORAGE)
    asked = ("restoreBackup", str(backup_id), repr(target))
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return Begun() if dry_run else _begun(known)
    begin = _onto(caller, backup_id, target) if isinstance(target, UUID) else await _into(caller, backup_id, target)

    async def work() -> dict[str, object]:
        ecs_id, job_id = await begin(dry_run)
        return {"ecs_id": str(ecs_id), "job_id": str(job_id)}

    if dry_run:
        async with db.transaction():
            await work()
        return Begun()
    return _begun(await idempotency.once(caller, idempotency_key, asked, work))


def _begun(answer: Mapping[str, Any]) -> Begun:
    return Begun(answer["ecs_id"], answer["job_id"])


Begin = Callable[[bool], Awaitable[tuple[UUID, UUID]]]
"""In a transaction: check, and unless it is a dry run write what the job needs; the ECS and the job."""


def _onto(caller: Caller, backup_id: UUID, ecs_id: UUID) -> Begin:
    async def begin(dry_run: bool) -> tuple[UUID, UUID]:
        job_id = uuid4()
        with about("backup_id"):
            backup = await holding.lock(caller, BackupAction.RESTORE, backup_id)
        ecs = await ecs_holding.get_ecs(caller, ecs_id)
        if backup.ecs_id != ecs.id:
            raise InvalidState("The backup is of another ECS; restore it into a new one.", otc="Ecs.0100")
        if dry_run:
            policy.authorize(policy.ecs_refusal(caller, EcsAction.RESTORE, ecs))
        else:
            await ecs_holding.hold(caller, EcsAction.RESTORE, ecs_id, job_id)
        disks = await _disks_of(backup, ecs_id)
        if dry_run:
            return ecs_id, job_id
        for disk in disks:
            await states.DISK.must_move(disk.id, DiskStatus.RESTORING, job_id=job_id)
        await states.BACKUP.must_move(backup.id, BackupStatus.RESTORING, job_id=job_id)
        kept = await contents.expect(host.current().engine, len(disks))
        before = {str(disk.id): str(content_id) for disk, content_id in zip(disks, kept, strict=True)}
        await _enqueue(
            caller, backup_id, ecs_id, job_id, disk_ids=[disk.id for disk in disks], input={"before": before}
        )
        return ecs_id, job_id

    return _about_target(begin)


def _about_target(begin: Begin) -> Begin:
    """What names no argument is about the ECS."""

    async def begin_there(dry_run: bool) -> tuple[UUID, UUID]:
        try:
            return await begin(dry_run)
        except ServiceError as error:
            raise error if error.field else error.at(*TARGET) from None

    return begin_there


async def _disks_of(backup: BackupRow, ecs_id: UUID) -> list[EvsDisk]:
    """The disks to overwrite: those that the backup has, all of which the ECS must still have."""
    wanted = await BackupDisk.filter(backup_id=backup.id).order_by("boot_index", "id")
    disks = {disk.id: disk for disk in await EvsDisk.filter(ecs_id=ecs_id)}
    if missing := [disk for disk in wanted if disk.disk_id not in disks]:
        message = (
            f"{len(missing)} of the backup's disks do not belong to the ECS any more; attach them again (attachEvsDisk), or restore "
            "into a new ECS."
        )
        raise InvalidState(message, otc="Ecs.0100")
    return [disks[disk.disk_id] for disk in wanted]


async def _enqueue(
    caller: Caller,
    backup_id: UUID,
    ecs_id: UUID,
    job_id: UUID,
    *,
    disk_ids: Sequence[UUID] = (),
    input: Mapping[str, object],
) -> None:
    await queue.enqueue(
        JobType.RESTORE_BACKUP,
        project_id=caller.project,
        backup_id=backup_id,
        ecs_ids=[ecs_id],
        disk_ids=disk_ids,
        input=input,
        job_id=job_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is known of a machine from the image that its ECS was launched from; see app.ecs.rules.Needs."""

    min_disk_gib: int
    min_ram_mib: int
    max_ram_mib: int | None
    architecture: Architecture | None
    firmware: Firmware | None
    os_type: OsType | None
    os_platform: str | None
    os_version: str | None
    os_bits: int | None
    supports_user_data: bool

    @classmethod
    def of(cls, kept: Mapping[str, Any], *, min_disk_gib: int) -> Traits:
        """From what a backup remembers."""
        words = {"architecture": Architecture, "firmware": Firmware, "os_type": OsType}
        known: dict[str, Any] = {name: word(kept[name]) if kept[name] else None for name, word in words.items()}
        same = ("min_ram_mib", "max_ram_mib", "os_platform", "os_version", "os_bits", "supports_user_data")
        return cls(min_disk_gib=min_disk_gib, **known, **{name: kept[name] for name in same})


async def _into(caller: Caller, backup_id: UUID, new: NewEcs) -> Begin:
    with _about_new_ecs():
        policy.require(caller, TokenScope.ECS)
    with about("backup_id"):
        backup = await holding.check(caller, BackupAction.RESTORE, backup_id)
    with _about_new_ecs():
        plan = await _plan(caller, backup, new)
    password_hash = await hash_password(new.password)

    async def begin(dry_run: bool) -> tuple[UUID, UUID]:
        job_id = uuid4()
        with about("backup_id"):
            await holding.lock(caller, BackupAction.RESTORE, backup_id)
        if dry_run:
            await quotas.fits(caller.project, **plan.amounts)
            return job_id, job_id
        (ecs_id,) = await insert_machines(caller, plan, password_hash=password_hash, job_id=job_id)
        await _enqueue(caller, backup_id, ecs_id, job_id, input={"min_count": 1})
        return ecs_id, job_id

    return begin


async def _plan(caller: Caller, backup: BackupRow, new: NewEcs) -> Plan:
    disks = await BackupDisk.filter(backup_id=backup.id).order_by("boot_index", "id")
    system = next(disk for disk in disks if disk.is_system)
    image_id = UUID(str(backup.traits["image_id"]))
    origin = Origin(
        needs=Traits.of(backup.traits, min_disk_gib=system.size_gib),
        disks=disks,
        image_id=image_id,
        image_name=str(backup.traits["image_name"]),
        is_image=False,
        is_whole=True,
    )
    request = LaunchRequest(
        name=new.name,
        image_id=image_id,
        flavor_id=new.flavor_id,
        key_pair_name=new.key_pair_name,
        password=new.password,
        expose_ports=new.expose_ports,
        disk_overrides=new.disk_overrides,
    )
    return await plan_machines(caller, request, origin)


@contextmanager
def _about_new_ecs() -> Iterator[None]:
    """A launch's refusals name its arguments; here these are elsewhere, and it is the flavor that allows too few disks."""
    try:
        yield
    except ServiceError as error:
        _, *rest = error.field or ("input",)
        raise error.at(*NEW_ECS, *(["flavor_id"] if rest == ["data_disks"] else rest)) from None
