"""What one can do with machines that are there. Launching is in app.ecs.launch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from app import db, filters, policy, states
from app.ecs import rules
from app.ecs.holding import get_ecs, hold
from app.ecs.models import EcsInstance, EcsTag
from app.ecs.reads import ECS, LAST_SEEN_ECS, EcsRow
from app.enums import EcsAction, EcsOrderField, EcsStatus, ErrorCode, JobType, OrderDirection, TokenScope
from app.errors import Refused, ServiceError
from app.filters import RangeFilter, StringFilter, TagFilter
from app.images import rules as image_rules
from app.images.service import keyset
from app.jobs import queue
from app.paging import Page, Slice
from app.policy import Caller
from app.projects import idempotency
from app.reading import Wanted, find, list_page

ORDER = {
    EcsOrderField.CREATED_AT: "created_at",
    EcsOrderField.UPDATED_AT: "updated_at",
    EcsOrderField.NAME: "name",
    EcsOrderField.STATUS: "status",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EcsFilter:
    """Fields are combined with AND, the values of one list with OR."""

    ids: Sequence[str] | None = None
    status: Sequence[EcsStatus] | None = None
    name: StringFilter | None = None
    search: str | None = None
    flavor_ids: Sequence[str] | None = None
    image_ids: Sequence[str] | None = None
    tags: TagFilter | None = None
    created_at: RangeFilter[datetime] | None = None


async def list_ecs(
    caller: Caller,
    where: EcsFilter,
    *,
    order: Sequence[tuple[EcsOrderField, OrderDirection]] = (),
    page: Page,
    wanted: Wanted,
) -> Slice[EcsRow]:
    """A page of the caller's machines, newest first unless another order is asked for.

    Raises: InvalidInput, InvalidCursor.
    """
    lists = {"id": where.ids, "status": where.status, "flavor_id": where.flavor_ids, "image_id": where.image_ids}
    condition = filters.text(EcsInstance, "name", where.name) & filters.within("created_at", where.created_at)
    for column, values in lists.items():
        condition &= filters.one_of(column, values)
    condition &= filters.words(where.search, ("name", "description"), EcsTag, "ecs_id")
    condition &= filters.tagged(where.tags, EcsTag, "ecs_id")
    query = policy.visible_ecs(caller).filter(condition)
    return await list_page(caller, ECS, query, wanted, page, order=keyset(order, ORDER), filtered_by=where)


async def find_ecs(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, EcsRow]:
    """Those of the machines that are the caller's, by id."""
    return await find(caller, ECS, ids, wanted)


async def last_seen_ecs(caller: Caller, ecs_id: str, wanted: Wanted) -> EcsRow | None:
    """One of the caller's machines, even if it has just been deleted."""
    return (await find(caller, LAST_SEEN_ECS, [ecs_id], wanted)).get(ecs_id)


async def update_ecs(caller: Caller, ecs_id: UUID, values: Mapping[str, object]) -> None:
    """Change name, description or tags (all of them); what is absent stays.

    Raises: NotFound, Forbidden, InvalidInput, LimitExceeded.
    """
    row = await get_ecs(caller, ecs_id)
    policy.authorize(policy.ecs_refusal(caller, EcsAction.UPDATE, row))
    columns: dict[str, Any] = {}
    if "name" in values:
        columns["name"] = rules.checked_ecs_name(str(values["name"]))
    if "description" in values:
        text = str(values["description"] or "")
        columns["description"] = image_rules.checked_description(text, longest=rules.MAX_ECS_DESCRIPTION)
    tags: Any = values.get("tags")
    checked = None if tags is None else image_rules.checked_tags(tags)
    async with db.transaction():
        await EcsInstance.filter(id=ecs_id).update(**columns, updated_at=db.now())
        if checked is not None:
            await EcsTag.filter(ecs_id=ecs_id).delete()
            await EcsTag.bulk_create([EcsTag(ecs_id=ecs_id, key=k, value=v) for k, v in checked.items()])
        await states.tell("EcsInstance", ecs_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was begun for one machine, or why not."""

    job_id: str | None = None
    error: ServiceError | None = None


async def start_ecs(caller: Caller, ecs_ids: Sequence[UUID]) -> list[Outcome]:
    """Start machines that are SHUTOFF.

    Raises: Forbidden: the token has not scope ECS.
    """
    return await _each(caller, ecs_ids, partial(_begin, caller, EcsAction.START, JobType.START_ECS, {}))


async def stop_ecs(caller: Caller, ecs_ids: Sequence[UUID], *, force: bool) -> list[Outcome]:
    """Press the power button of machines that are ACTIVE, or with force cut their power.

    Raises: Forbidden: the token has not scope ECS.
    """
    return await _each(caller, ecs_ids, partial(_begin, caller, EcsAction.STOP, JobType.STOP_ECS, {"force": force}))


async def delete_ecs(caller: Caller, ecs_ids: Sequence[UUID], *, delete_data_disks: bool) -> list[Outcome]:
    """Delete machines and their system disks; data disks stay, detached, unless they are to go too.

    Raises: Forbidden: the token has not scope ECS.
    """
    chosen = {"delete_data_disks": delete_data_disks}
    return await _each(caller, ecs_ids, partial(_begin, caller, EcsAction.DELETE, JobType.DELETE_ECS, chosen))


async def reboot_ecs(
    caller: Caller, ecs_ids: Sequence[UUID], *, force: bool, idempotency_key: str | None
) -> list[Outcome]:
    """Have machines boot again: through the power button, or with force by reset.

    Raises: Forbidden: the token has not scope ECS. Of the key: as app.projects.idempotency.
    """
    done: list[Outcome] = []

    async def work() -> dict[str, object]:
        done.extend(await _each(caller, ecs_ids, partial(_reboot, caller, force)))
        return {"results": [[o.job_id, o.error and [o.error.code, o.error.message, o.error.otc]] for o in done]}

    policy.require(caller, TokenScope.ECS)
    request = ("rebootEcs", list(map(str, ecs_ids)), force)
    given: Any = await idempotency.once(caller, idempotency_key, request, work)
    return done or [
        Outcome(job_id, error and Refused(ErrorCode(error[0]), error[1], otc=error[2]))
        for job_id, error in given["results"]
    ]


async def _each(caller: Caller, ecs_ids: Sequence[UUID], work: Callable[[UUID], Awaitable[UUID]]) -> list[Outcome]:
    """Do something for each machine; what is refused for one is done for the others."""
    policy.require(caller, TokenScope.ECS)
    results: list[Outcome] = []
    for ecs_id in ecs_ids:
        try:
            results.append(Outcome(str(await work(ecs_id))))
        except ServiceError as error:
            results.append(Outcome(error=error))
    return results


async def _begin(caller: Caller, action: EcsAction, type_: JobType, chosen: Mapping[str, object], ecs_id: UUID) -> UUID:
    job_id = uuid4()
    async with db.transaction():
        await hold(caller, action, ecs_id, job_id)
        await queue.enqueue(type_, project_id=caller.project, ecs_ids=[ecs_id], input=chosen, job_id=job_id)
    return job_id


async def _reboot(caller: Caller, force: bool, ecs_id: UUID) -> UUID:
    async with db.transaction():
        job_id = await _begin(caller, EcsAction.REBOOT, JobType.REBOOT_ECS, {"force": force}, ecs_id)
        await states.ECS.must_move(ecs_id, EcsStatus.HARD_REBOOT if force else EcsStatus.REBOOT)
    return job_id
