"""Jobs in the database: put in, claimed, kept alive, given back and ended.

    INIT ──claim──> RUNNING ──succeed──> SUCCESS
      ^                │ └──condemn, (abandon), end──> FAIL | CANCELLED
      └──give_back─────┘

Whoever claims a job gets the next `attempt`, and everything done to a running job compares it: a worker that stalled until
its lease ran out can change nothing any more. `attempt` is one more than the number of workers that died on the job: giving it back
in good order (RetryLater, the end of the process) takes its attempt off again, so that only deaths are counted. A worker that
lost the job had a lower attempt than any later one, so none of them is taken for another.

A verdict (why a job is to end without success) is in the row before anything is undone: a fault code, a wish to cancel, or too many
deaths. A job with a verdict is never run again, only abandoned, by whichever worker has it, until that has worked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from app import db, events, states
from app.enums import ErrorCode, EventType, JobStatus, JobType
from app.errors import Refused, ServiceError
from app.jobs.models import Job, JobDisk, JobEcs

CANCELLABLE: Final = frozenset(
    {
        JobType.CREATE_IMAGE,
        JobType.CREATE_FULL_ECS_IMAGE,
        JobType.IMPORT_IMAGE,
        JobType.COPY_IMAGE,
        JobType.EXPORT_IMAGE,
        JobType.LAUNCH_ECS,
    }
)
"""Types of jobs that can be cancelled until they have ended; the others leave nothing sensible to go back to."""

MESSAGE_CHARACTERS = 1024


class LeaseLost(Exception):
    """Another worker has the job, or it has ended: stop, and undo nothing."""


class Cancelled(ServiceError):
    """Somebody asked for the job to be cancelled."""

    code = ErrorCode.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job as one worker took it."""

    id: UUID
    project_id: UUID
    type: JobType
    image_id: UUID | None
    backup_id: UUID | None
    input: Mapping[str, object]
    ecs_ids: Sequence[UUID]
    disk_ids: Sequence[UUID]
    attempt: int
    progress: float
    verdict: ServiceError | None
    """Why it is only to be abandoned."""


async def enqueue(
    type_: JobType,
    *,
    project_id: UUID,
    input: Mapping[str, object],
    image_id: UUID | None = None,
    backup_id: UUID | None = None,
    ecs_ids: Sequence[UUID] = (),
    disk_ids: Sequence[UUID] = (),
    job_id: UUID | None = None,
) -> UUID:
    """Put a job in, as part of the caller's transaction, whose commit wakes the runner; its id.

    `input` is kept as JSON: UUIDs come back as text.
    """
    id_ = job_id or uuid4()
    async with db.transaction():
        await Job.create(
            id=id_,
            project_id=project_id,
            type=type_,
            status=JobStatus.INIT,
            image_id=image_id,
            backup_id=backup_id,
            input=dict(input),
            run_at=db.now(),
        )
        await JobEcs.bulk_create([JobEcs(job_id=id_, ecs_id=ecs_id) for ecs_id in dict.fromkeys(ecs_ids)])
        await JobDisk.bulk_create([JobDisk(job_id=id_, disk_id=disk_id) for disk_id in dict.fromkeys(disk_ids)])
        await events.announce("Job", id_, EventType.CREATED, [project_id])
    return id_


async def find_due(
    types: Collection[JobType], *, moment: datetime, doomed: bool, max_attempts: int, skip: Collection[UUID], limit: int
) -> list[Job]:
    """Jobs that nobody works on at a moment, the longest due first: those with a verdict, or those without."""
    free = Q(status=JobStatus.INIT, run_at__lte=moment) | Q(status=JobStatus.RUNNING, lease_until__lte=moment)
    died_often = Q(status=JobStatus.RUNNING, attempt__gte=max_attempts)
    if doomed:
        wanted = Q(cancel_requested=True) | Q(fault_code__isnull=False) | died_often
    else:
        may_run = Q(status=JobStatus.INIT) | Q(attempt__lt=max_attempts)
        wanted = Q(cancel_requested=False, fault_code__isnull=True) & may_run
    query = Job.filter(free, wanted, type__in=list(types))
    if skip:
        query = query.filter(id__not_in=list(skip))
    return await query.order_by("run_at", "id").limit(limit)


async def next_due(types: Collection[JobType], *, moment: datetime, skip: Collection[UUID]) -> datetime | None:
    """When, after a moment, the next job is due or the next lease runs out."""
    query = Job.filter(type__in=list(types))
    if skip:
        query = query.filter(id__not_in=list(skip))
    waiting = await query.filter(status=JobStatus.INIT, run_at__gt=moment).order_by("run_at").first()
    leased = await query.filter(status=JobStatus.RUNNING, lease_until__gt=moment).order_by("lease_until").first()
    times = [waiting.run_at if waiting else None, leased.lease_until if leased else None]
    return min((time for time in times if time), default=None)


async def claim(job: Job, *, lease_s: float, max_attempts: int) -> Claim | None:
    """Take a job that was found due; None if it is not any more."""
    moment = db.now()
    waits = job.status is JobStatus.INIT
    free = {"run_at__lte": moment} if waits else {"lease_until__lte": moment}
    async with db.transaction():
        moved = await states.JOB.move(
            job.id,
            JobStatus.RUNNING,
            where={"status": job.status, "attempt": job.attempt, **free},
            attempt=job.attempt + 1,
            lease_until=moment + timedelta(seconds=lease_s),
            started_at=job.started_at or (None if job.cancel_requested else moment),
        )
        if not moved:
            return None
        # Read again: a wish to cancel may have come between finding and claiming.
        taken = await Job.get(id=job.id)
        machines = await JobEcs.filter(job_id=job.id).order_by("id")
        disks = await JobDisk.filter(job_id=job.id).order_by("id")
    return Claim(
        id=taken.id,
        project_id=taken.project_id,
        type=taken.type,
        image_id=taken.image_id,
        backup_id=taken.backup_id,
        input=taken.input,
        ecs_ids=tuple(link.ecs_id for link in machines),
        disk_ids=tuple(link.disk_id for link in disks),
        attempt=taken.attempt,
        progress=taken.progress,
        verdict=_verdict(taken, died_often=not waits and job.attempt >= max_attempts),
    )


def _verdict(job: Job, *, died_often: bool) -> ServiceError | None:
    if job.fault_code is ErrorCode.CANCELLED or (job.fault_code is None and job.cancel_requested):
        return Cancelled(job.fault_message or "The job was cancelled.")
    if job.fault_code is not None:
        return Refused(job.fault_code, job.fault_message or "The job failed.")
    if died_often:
        deaths = job.attempt - 1
        return Refused(ErrorCode.INTERNAL, f"The service ended unexpectedly {deaths} times while it worked on this.")
    return None


async def reclaim(types: Collection[JobType]) -> int:
    """Let go of all running jobs, whose workers are known to be dead; how many there are."""
    return await Job.filter(status=JobStatus.RUNNING, type__in=list(types)).update(lease_until=db.now())


async def extend_lease(taken: Claim, *, lease_s: float) -> bool:
    """Hold a job for a while from now, working or until its undoing is due again; False when it was lost."""
    return bool(await _held(taken).update(lease_until=db.now() + timedelta(seconds=lease_s)))


async def is_cancel_requested(taken: Claim) -> bool:
    """Whether somebody wants it cancelled.

    Raises: LeaseLost.
    """
    wishes = await _held(taken).values_list("cancel_requested", flat=True)
    if not wishes:
        raise LeaseLost
    return bool(wishes[0])


async def report(taken: Claim, columns: Mapping[str, object]) -> None:
    """Write something about a running job and announce it.

    Raises: LeaseLost.
    """
    async with db.transaction():
        if not await _held(taken).update(**columns):
            raise LeaseLost
        await states.tell("Job", taken.id)


async def give_back(taken: Claim, *, run_at: datetime) -> None:
    """Put a job back in good order, to be run anew.

    Raises: LeaseLost.
    """
    await _move(taken, JobStatus.INIT, attempt=taken.attempt - 1, run_at=run_at, lease_until=None)


async def forget(claim: Claim, name: str) -> None:
    """Blank what the job's input has under this name."""
    await Job.filter(id=claim.id).update(input={**claim.input, name: None})


async def succeed(taken: Claim, *, unless_cancelled: bool = False) -> None:
    """End a job; in a transaction with what it brought about, if that is to be all or nothing.

    Raises: LeaseLost. Cancelled: unless_cancelled, and somebody asked for that in time.
    """
    async with db.transaction():
        # The update comes first: it locks the row, so no wish to cancel can slip in behind the question.
        await _move(taken, JobStatus.SUCCESS, progress=1.0, lease_until=None, finished_at=db.now())
        if unless_cancelled and await Job.filter(id=taken.id, cancel_requested=True).exists():
            raise Cancelled("The job was cancelled.")


async def condemn(taken: Claim, error: ServiceError) -> None:
    """Write down why a job is going to fail, before anything is undone.

    Raises: LeaseLost.
    """
    fault = {"fault_code": ErrorCode(error.code), "fault_message": error.message[:MESSAGE_CHARACTERS]}
    await report(taken, {**fault, "fault_at": db.now()})


async def end(taken: Claim, error: ServiceError) -> None:
    """End a job that was condemned and has been undone.

    Raises: LeaseLost.
    """
    status = JobStatus.CANCELLED if error.code == ErrorCode.CANCELLED else JobStatus.FAIL
    await _move(taken, status, lease_until=None, finished_at=db.now())


def _held(taken: Claim) -> QuerySet[Job]:
    return Job.filter(id=taken.id, status=JobStatus.RUNNING, attempt=taken.attempt)


async def _move(taken: Claim, to: JobStatus, **columns: object) -> None:
    where = {"status": JobStatus.RUNNING, "attempt": taken.attempt}
    if not await states.JOB.move(taken.id, to, where=where, **columns):
        raise LeaseLost
