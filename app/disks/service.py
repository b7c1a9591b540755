"""What one can do with EVS disks that belong to no ECS. Attaching and detaching them is in app.ecs.attaching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from tortoise.expressions import Q

from app import db, filters, policy
from app.disks import holding, rules
from app.disks.models import EvsDisk
from app.disks.reads import EVS_DISKS, EvsDiskRow
from app.disks.templates import Template, check_still_there, find_template
from app.enums import DiskAction, DiskStatus, DiskType, JobType, TokenScope
from app.errors import InvalidInput, ServiceError
from app.filters import StringFilter
from app.jobs import queue
from app.paging import Page, Slice
from app.policy import Caller
from app.projects import idempotency, quotas
from app.reading import Wanted, find, list_page


@dataclass(frozen=True, slots=True, kw_only=True)
class EvsDiskFilter:
    """Fields are combined with AND, the values of one list with OR."""

    ids: Sequence[str] | None = None
    status: Sequence[DiskStatus] | None = None
    type: Sequence[DiskType] | None = None
    name: StringFilter | None = None
    is_system: bool | None = None
    ecs_ids: Sequence[str] | None = None
    image_ids: Sequence[str] | None = None


async def list_evs_disks(caller: Caller, where: EvsDiskFilter, *, page: Page, wanted: Wanted) -> Slice[EvsDiskRow]:
    """A page of the caller's disks, newest first.

    Raises: InvalidInput, InvalidCursor.
    """
    lists = {
        "id": where.ids,
        "status": where.status,
        "type": where.type,
        "ecs_id": where.ecs_ids,
        "image_id": where.image_ids,
    }
    condition = filters.text(EvsDisk, "name", where.name)
    for column, values in lists.items():
        condition &= filters.one_of(column, values)
    if where.is_system is not None:
        condition &= Q(is_system=where.is_system)
    query = policy.visible_evs_disks(caller).filter(condition)
    return await list_page(caller, EVS_DISKS, query, wanted, page, filtered_by=where)


async def find_evs_disks(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, EvsDiskRow]:
    """Those of the disks that are the caller's, by id."""
    return await find(caller, EVS_DISKS, ids, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDisks:
    """The disks that are wanted: empty, or made from a data disk image."""

    name: str
    size_gib: int | None = None
    type: DiskType | None = None
    image_id: UUID | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Begun:
    """What was begun; nothing in a dry run."""

    disk_ids: Sequence[str] = ()
    job_id: str | None = None


async def create_evs_disks(
    caller: Caller, request: CreateDisks, *, idempotency_key: str | None, dry_run: bool
) -> Begun:
    """Make 1 to 100 disks, all or none, by a job.

    Raises: Forbidden, NotFound, InvalidInput, QuotaExceeded; Refused: NOT_ACCEPTED, NOT_ACTIVE, WRONG_IMAGE_KIND, DISK_TOO_SMALL,
    DISK_TOO_LARGE; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.STORAGE)
    asked = ("createEvsDisks", repr(request))
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return Begun() if dry_run else _begun(known)
    if not 1 <= request.count <= rules.MAX_COUNT:
        message = f"This is 1 to {rules.MAX_COUNT}, not {request.count}."
        raise InvalidInput(message, field=("input", "count"), otc="Ecs.0007")
    rules.check_name(request.name, "input", "name", count=request.count)
    template, size_gib = None, request.size_gib or 0
    if request.image_id is None:
        rules.check_data_disk_size(size_gib, "input", "size_gib")
    else:
        template = await find_template(caller, request.image_id, "input", "image_id")
        size_gib = template.size_gib(request.size_gib, "input", "size_gib")
    amounts = {"disks": request.count, "disk_gib": request.count * size_gib}
    if dry_run:
        await quotas.fits(caller.project, **amounts)
        return Begun()

    async def work() -> dict[str, object]:
        await check_still_there(caller, [template] if template else [])
        await quotas.take(caller.project, **amounts)
        return await _insert(caller, request, template, size_gib)

    return _begun(await idempotency.once(caller, idempotency_key, asked, work))


def _begun(answer: Any) -> Begun:
    return Begun(answer["disk_ids"], answer["job_id"])


async def _insert(caller: Caller, request: CreateDisks, template: Template | None, size_gib: int) -> dict[str, object]:
    job_id = uuid4()
    disks = [
        EvsDisk(
            id=uuid4(),
            project_id=caller.project,
            content_id=template and template.content_id,
            name=name,
            size_gib=size_gib,
            type=request.type or rules.DEFAULT_TYPE,
            status=DiskStatus.CREATING,
            job_id=job_id,
            is_system=False,
            image_id=template and template.image_id,
            image_name=template and template.name,
        )
        for name in rules.names(request.name, request.count)
    ]
    await EvsDisk.bulk_create(disks)
    ids = [disk.id for disk in disks]
    await queue.enqueue(JobType.CREATE_DISK, project_id=caller.project, disk_ids=ids, input={}, job_id=job_id)
    return {"disk_ids": [str(id_) for id_ in ids], "job_id": str(job_id)}


async def update_evs_disk(caller: Caller, disk_id: UUID, *, name: str) -> None:
    """Give a disk another name.

    Raises: NotFound, Forbidden, InvalidInput.
    """
    row = await holding.get_disk(caller, disk_id)
    policy.authorize(policy.disk_refusal(caller, DiskAction.UPDATE, row))
    rules.check_name(name, "input", "name")
    await EvsDisk.filter(id=disk_id).update(name=name, updated_at=db.now())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was begun for one disk, or why not."""

    job_id: str | None = None
    error: ServiceError | None = None


async def delete_evs_disks(caller: Caller, disk_ids: Sequence[UUID]) -> list[Outcome]:
    """Delete disks that belong to no ECS; what is refused for one is done for the others.

    Raises: Forbidden: the token has not scope STORAGE.
    """
    policy.require(caller, TokenScope.STORAGE)
    results: list[Outcome] = []
    for disk_id in disk_ids:
        try:
            results.append(Outcome(str(await _delete(caller, disk_id))))
        except ServiceError as error:
            results.append(Outcome(error=error))
    return results


async def _delete(caller: Caller, disk_id: UUID) -> UUID:
    job_id = uuid4()
    async with db.transaction():
        row = await holding.hold(caller, DiskAction.DELETE, disk_id, job_id, DiskStatus.DELETING)
        chosen = {"failed": row.status is DiskStatus.ERROR}
        return await queue.enqueue(
            JobType.DELETE_DISK, project_id=caller.project, disk_ids=[disk_id], input=chosen, job_id=job_id
        )
