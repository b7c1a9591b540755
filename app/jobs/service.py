"""What is done to jobs on request."""

from __future__ import annotations

from uuid import UUID

from app import db, states
from app.enums import JobStatus
from app.errors import InvalidState, NotFound
from app.jobs import queue
from app.jobs.models import Job


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
