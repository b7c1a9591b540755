"""What is done to jobs on request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tortoise.expressions import Q, RawSQL, Subquery

from app import db, filters, policy, states
from app.enums import JobStatus, JobType, TokenScope
from app.errors import InvalidState, NotFound
from app.filters import RangeFilter
from app.jobs import queue
from app.jobs.models import Job, JobEcs
from app.jobs.reads import JOBS, JobRow
from app.paging import Page, Slice
from app.policy import Caller
from app.reading import Wanted, find, list_page

SCOPES: Mapping[JobType, TokenScope] = {
    **dict.fromkeys(
        (
            JobType.CREATE_IMAGE,
            JobType.CREATE_FULL_ECS_IMAGE,
            JobType.IMPORT_IMAGE,
            JobType.COPY_IMAGE,
            JobType.EXPORT_IMAGE,
            JobType.DELETE_IMAGE,
        ),
        TokenScope.IMAGES,
    ),
    **dict.fromkeys(
        (JobType.LAUNCH_ECS, JobType.START_ECS, JobType.STOP_ECS, JobType.REBOOT_ECS, JobType.DELETE_ECS),
        TokenScope.ECS,
    ),
    **dict.fromkeys(
        (
            JobType.CREATE_BACKUP,
            JobType.RESTORE_BACKUP,
            JobType.DELETE_BACKUP,
            JobType.CREATE_DISK,
            JobType.ATTACH_DISK,
            JobType.DETACH_DISK,
            JobType.EXTEND_DISK,
            JobType.DELETE_DISK,
        ),
        TokenScope.STORAGE,
    ),
}
"""What a token needs to begin jobs of a type, and so to cancel them."""


async def cancel_job(job_id: UUID) -> None:
    """Ask for a job to be cancelled: one that waits is undone at once, one that runs at its next step. Asking again changes nothing.

    It ends as CANCELLED, unless its work was done before it noticed.

    Raises: NotFound. InvalidState: it has ended, is failing already, or its type cannot be cancelled.
    """
    going_on = [JobStatus.INIT, JobStatus.RUNNING]
    async with db.transaction():
        wanted = Job.filter(id=job_id, status__in=going_on, type__in=list(queue.CANCELLABLE))
        wanted = wanted.filter(cancel_requested=False, fault_code__isnull=True)
        if await wanted.update(cancel_requested=True, run_at=db.now()):
            await states.tell("Job", job_id)
            return
        job = await Job.get_or_none(id=job_id)
    if job is None:
        raise NotFound("There is no such job.")
    if job.status not in going_on:
        raise InvalidState(f"The job has already ended, as {job.status.value}.")
    if job.type not in queue.CANCELLABLE:
        raise InvalidState(f"A job of type {job.type.value} cannot be cancelled.")
    if job.fault_code is not None and not job.cancel_requested:
        raise InvalidState("The job has failed and is being undone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Fields are combined with AND, the values of one list with OR."""

    ids: Sequence[str] | None = None
    type: Sequence[JobType] | None = None
    status: Sequence[JobStatus] | None = None
    image_ids: Sequence[str] | None = None
    ecs_ids: Sequence[str] | None = None
    created_at: RangeFilter[datetime] | None = None


async def list_jobs(caller: Caller, where: JobFilter, *, page: Page, wanted: Wanted) -> Slice[JobRow]:
    """A page of the caller's jobs, newest first.

    Raises: InvalidInput, InvalidCursor.
    """
    lists = {"id": where.ids, "type": where.type, "status": where.status, "image_id": where.image_ids}
    condition = filters.within("created_at", where.created_at)
    for column, values in lists.items():
        condition &= filters.one_of(column, values)
    if where.ecs_ids is not None:
        links = JobEcs.filter(filters.one_of("ecs_id", where.ecs_ids), job_id=RawSQL('"job"."id"'))
        condition &= Q(id__in=Subquery(links.values("job_id")))
    return await list_page(caller, JOBS, policy.visible_jobs(caller).filter(condition), wanted, page, filtered_by=where)


async def find_jobs(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, JobRow]:
    """Those of the jobs that are the caller's, by id."""
    return await find(caller, JOBS, ids, wanted)


async def cancel(caller: Caller, job_id: UUID) -> None:
    """Ask for one of the caller's jobs to be cancelled.

    Raises: NotFound. Forbidden: the token has not the scope that the job was begun with. As cancel_job.
    """
    job = (await find_jobs(caller, [str(job_id)], Wanted.naming("type"))).get(str(job_id))
    if job is None:
        raise NotFound("There is no such job.")
    policy.require(caller, SCOPES[job.type])
    await cancel_job(job_id)
