"""Cancelling jobs."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.jobs import service as jobs
from schema.context import caller
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import plain, uuid_of
from schema.jobs.types import Job
from schema.payloads import about, errors_field, reread_one, shown
from schema.selection import wanted


@strawberry.input(description="The job to cancel.")
class CancelJobInput:
    job_id: strawberry.ID = strawberry.field(description="The job's id, opaque or plain.")


@strawberry.type(
    description="The job as it is now; it ends a little later, as CANCELLED unless its work was done before."
)
class CancelJobPayload:
    job: Job | None = strawberry.field(default=None, description="Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class JobMutations:
    @changing(
        "Ask for a job to be cancelled; asking again changes nothing. Needs the scope that the job was begun with."
    )
    async def cancel_job(self, info: Info, input: Input[CancelJobInput]) -> CancelJobPayload | None:
        return await refusable(CancelJobPayload, _cancel(info, input))


async def _cancel(info: Info, input: CancelJobInput) -> CancelJobPayload:
    who = caller(info)
    with about("job_id"):
        await jobs.cancel(who, uuid_of(input.job_id, "Job"))
    row = await reread_one(jobs.find_jobs, who, plain(input.job_id, "Job"), wanted(info).of("job"))
    return shown(CancelJobPayload, job=row)
