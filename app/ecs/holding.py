"""A job's hold on an ECS: one at a time, taken with the job and given back with its end."""

from __future__ import annotations

from uuid import UUID

from app import db, policy, states
from app.ecs.models import EcsInstance
from app.ecs.reads import ECS, EcsRow
from app.enums import EcsAction
from app.errors import Busy, NotFound
from app.policy import Caller
from app.reading import Wanted, find

FOR_RULES = Wanted.naming("project_id", "status", "job_id", "name", "image_id", "image_name", "traits", "firmware")


async def get_ecs(caller: Caller, ecs_id: UUID | str, wanted: Wanted = FOR_RULES) -> EcsRow:
    """One of the caller's machines.

    Raises: NotFound.
    """
    row = (await find(caller, ECS, [str(ecs_id)], wanted)).get(str(ecs_id))
    if row is None:
        raise NotFound("There is no such ECS.", otc="IMG.0005")
    return row


async def hold(caller: Caller, action: EcsAction, ecs_id: UUID, job_id: UUID) -> EcsRow:
    """Take an ECS for a job, in the transaction that enqueues it.

    Raises: NotFound, and what app.policy refuses with: Forbidden, Busy, InvalidState.
    """
    async with db.transaction():
        await EcsInstance.filter(id=ecs_id).select_for_update().get_or_none()
        row = await get_ecs(caller, ecs_id)
        policy.authorize(policy.ecs_refusal(caller, action, row))
        if not await EcsInstance.filter(id=ecs_id, job_id__isnull=True).update(job_id=job_id, updated_at=db.now()):
            raise Busy("Another job holds the ECS; wait for it (currentJob).", otc="Ecs.0100")
        await states.tell("EcsInstance", ecs_id)
    return row


async def let_go(ecs_id: UUID, job_id: UUID, **columns: object) -> None:
    """Give an ECS back, and write columns with it; nothing if the job does not hold it."""
    async with db.transaction():
        if await EcsInstance.filter(id=ecs_id, job_id=job_id).update(job_id=None, updated_at=db.now(), **columns):
            await states.tell("EcsInstance", ecs_id)
