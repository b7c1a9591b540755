"""What one can do with backups. Restoring them is in app.backups.restoring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from tortoise.expressions import Q, RawSQL, Subquery

from app import db, filters, policy, states
from app.backups import holding
from app.backups.models import Backup, BackupDisk
from app.backups.reads import BACKUPS, BackupRow
from app.contents import service as contents
from app.disks.models import EvsDisk
from app.ecs import holding as ecs_holding
from app.ecs import host
from app.ecs.attaching import about
from app.ecs.reads import EcsRow
from app.ecs.rules import Notice
from app.enums import (
    BackupAction,
    BackupStatus,
    EcsAction,
    EcsStatus,
    ErrorCode,
    ImageStatus,
    JobType,
    TokenScope,
    WarningCode,
)
from app.errors import InvalidInput, Refused, ServiceError, Unsupported
from app.filters import RangeFilter, StringFilter
from app.images import service as images
from app.images.models import Image
from app.images.rules import NAME
from app.jobs import queue
from app.paging import Page, Slice
from app.policy import Caller
from app.projects import idempotency, quotas
from app.reading import Wanted, find, list_page


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFilter:
    """Fields are combined with AND, the values of one list with OR."""

    ids: Sequence[str] | None = None
    status: Sequence[BackupStatus] | None = None
    name: StringFilter | None = None
    ecs_ids: Sequence[str] | None = None
    has_image: bool | None = None
    created_at: RangeFilter[datetime] | None = None


async def list_backups(caller: Caller, where: BackupFilter, *, page: Page, wanted: Wanted) -> Slice[BackupRow]:
    """A page of the caller's backups, newest first.

    Raises: InvalidInput, InvalidCursor.
    """
    condition = filters.text(Backup, "name", where.name) & filters.within("created_at", where.created_at)
    for column, values in {"id": where.ids, "status": where.status, "ecs_id": where.ecs_ids}.items():
        condition &= filters.one_of(column, values)
    if where.has_image is not None:
        images_of_it = policy.images_of_backups(caller).filter(source_backup_id=RawSQL('"backup"."id"'))
        has_image = Q(id__in=Subquery(images_of_it.values("source_backup_id")))
        condition &= has_image if where.has_image else ~has_image
    query = policy.visible_backups(caller).filter(condition)
    return await list_page(caller, BACKUPS, query, wanted, page, filtered_by=where)


async def find_backups(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, BackupRow]:
    """Those of the backups that are the caller's, by id."""
    return await find(caller, BACKUPS, ids, wanted)


@dataclass(frozen=True, slots=True)
class Begun:
    """What was begun."""

    backup_id: str
    job_id: str
    warnings: Sequence[Notice] = ()


async def create_backup(caller: Caller, ecs_id: UUID, *, name: str, idempotency_key: str | None) -> Begun:
    """Keep what all disks of an ECS that is ACTIVE or SHUTOFF hold at one instant, by a job.

    Raises: Forbidden, NotFound, InvalidInput, Busy, InvalidState, Unsupported, QuotaExceeded; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.STORAGE)
    asked = ("createBackup", str(ecs_id), name)
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return _begun(known)
    if not NAME.fullmatch(name):
        message = (
            "A name has 1 to 128 letters, digits, spaces, dots, hyphens and underscores, and no space at its ends."
        )
        raise InvalidInput(message, field=("input", "name"))
    backup_id, job_id = uuid4(), uuid4()

    async def work() -> dict[str, object]:
        await quotas.take(caller.project, backups=1)
        with about("ecs_id"):
            ecs = await ecs_holding.hold(caller, EcsAction.CREATE_BACKUP, ecs_id, job_id)
            _check_engine(ecs)
            await _insert(caller, ecs, name, backup_id=backup_id, job_id=job_id)
        told = [notice.keep() for notice in _warnings(ecs)]
        return {"backup_id": str(backup_id), "job_id": str(job_id), "warnings": told}

    return _begun(await idempotency.once(caller, idempotency_key, asked, work))


def _begun(answer: Mapping[str, Any]) -> Begun:
    return Begun(answer["backup_id"], answer["job_id"], Notice.kept(answer))


def _check_engine(ecs: EcsRow) -> None:
    """Raises: Unsupported."""
    engine = host.current().capabilities
    if ecs.status is EcsStatus.ACTIVE and not engine.live_seal:
        raise Unsupported("This installation makes backups of stopped machines only; stop the ECS first (stopEcs).")
    if not engine.consistent_group:
        raise Unsupported("This installation cannot seal all disks of an ECS at one instant.")


def _warnings(ecs: EcsRow) -> list[Notice]:
    if ecs.status is not EcsStatus.ACTIVE:
        return []
    message = (
        "The ECS runs: unless its guest agent brings its file systems to rest (consistency says so), the backup is as its disks would "
        "be after a power cut. Stop it first if that is not good enough."
    )
    return [Notice(WarningCode.CRASH_CONSISTENT, message, ("input", "ecs_id"))]


async def _insert(caller: Caller, ecs: EcsRow, name: str, *, backup_id: UUID, job_id: UUID) -> None:
    """Name a content for each of the ECS's disks; from now on the backup's disks hold them."""
    disks = await EvsDisk.filter(ecs_id=ecs.id).order_by("boot_index", "id")
    if not any(disk.is_system for disk in disks):
        raise Refused(ErrorCode.INVALID_STATE, "The ECS has no system disk.", otc="IMG.0119")
    content_ids = await contents.expect(host.current().engine, len(disks))
    await Backup.create(
        id=backup_id,
        project_id=caller.project,
        ecs_id=UUID(ecs.id),
        ecs_name=ecs.name,
        name=name,
        status=BackupStatus.CREATING,
        job_id=job_id,
        traits={**ecs.traits, "image_id": ecs.image_id, "image_name": ecs.image_name},
    )
    rows = [
        BackupDisk(
            id=uuid4(),
            backup_id=backup_id,
            content_id=content_id,
            disk_id=disk.id,
            boot_index=disk.boot_index or 0,
            size_gib=disk.size_gib,
            is_system=disk.is_system,
        )
        for disk, content_id in zip(disks, content_ids, strict=True)
    ]
    await BackupDisk.bulk_create(rows)
    seals = {str(row.disk_id): str(row.content_id) for row in rows}
    await queue.enqueue(
        JobType.CREATE_BACKUP,
        project_id=caller.project,
        backup_id=backup_id,
        ecs_ids=[UUID(ecs.id)],
        input={"seals": seals},
        job_id=job_id,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was begun for one backup, or why not."""

    job_id: str | None = None
    error: ServiceError | None = None


async def delete_backups(caller: Caller, backup_ids: Sequence[UUID]) -> list[Outcome]:
    """Delete backups, in any order; what is refused for one is done for the others.

    Raises: Forbidden: the token has not scope STORAGE.
    """
    policy.require(caller, TokenScope.STORAGE)
    results: list[Outcome] = []
    for backup_id in backup_ids:
        try:
            results.append(Outcome(str(await _delete(caller, backup_id))))
        except ServiceError as error:
            results.append(Outcome(error=error))
    return results


async def _delete(caller: Caller, backup_id: UUID, *, image_id: UUID | None = None) -> UUID:
    """`image_id`: an image that goes with it."""
    job_id = uuid4()
    async with db.transaction():
        await holding.lock(caller, BackupAction.DELETE, backup_id, but_image=image_id)
        await states.BACKUP.must_move(backup_id, BackupStatus.DELETING, job_id=job_id)
        held = await BackupDisk.filter(backup_id=backup_id).values_list("content_id", flat=True)
        chosen = {"content_ids": [str(content_id) for content_id in held]}
        return await queue.enqueue(
            JobType.DELETE_BACKUP, project_id=caller.project, backup_id=backup_id, input=chosen, job_id=job_id
        )


async def delete_images_and_backups(
    caller: Caller, image_ids: Sequence[UUID], *, dry_run: bool
) -> list[ServiceError | None]:
    """Delete images, each with the backup that it was made from, if there is one: both or neither.

    Raises: Forbidden: the token has not scope STORAGE.
    """
    with about("delete_backups"):
        policy.require(caller, TokenScope.STORAGE)
    results: list[ServiceError | None] = []
    for image_id in image_ids:
        try:
            await _delete_image_and_backup(caller, image_id, dry_run=dry_run)
            results.append(None)
        except ServiceError as error:
            results.append(error)
    return results


async def _delete_image_and_backup(caller: Caller, image_id: UUID, *, dry_run: bool) -> None:
    async with db.transaction():
        image = await Image.get_or_none(id=image_id)
        (refusal,) = await images.delete_images(caller, [image_id], dry_run=dry_run)
        policy.authorize(refusal)
        if image is None or image.source_backup_id is None or image.status is ImageStatus.KILLED:
            return
        try:
            if dry_run:
                await holding.lock(caller, BackupAction.DELETE, image.source_backup_id, but_image=image_id)
            else:
                await _delete(caller, image.source_backup_id, image_id=image_id)
        except ServiceError as error:
            error.otc = "IMG.0176"
            raise
