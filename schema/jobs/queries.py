"""Jobs, one and many."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from app.enums import JobStatus, JobType
from app.jobs import service as jobs
from app.jobs.reads import JobRow
from app.paging import Page, Slice
from schema.context import caller
from schema.fields import showing
from schema.filters import DateTimeFilter, values_of
from schema.ids import plain
from schema.jobs.types import Job
from schema.paging import After, Before, Connection, First, Last
from schema.selection import wanted


@strawberry.input(
    description="Which jobs. Fields are combined with AND, the values of one list, at most 100, with OR. An empty list "
    "matches nothing."
)
class JobFilter:
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these, opaque or plain.")
    type: list[JobType] | None = strawberry.field(default=None, description="What it does.")
    status: list[JobStatus] | None = strawberry.field(default=None, description="Where it is in its life.")
    image_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="About one of these images.")
    ecs_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="About one of these ECSs.")
    created_at: DateTimeFilter | None = strawberry.field(default=None, description="When it was asked for.")

    def plain(self) -> jobs.JobFilter:
        """The filter as app has it."""
        return jobs.JobFilter(**values_of(self, ids="Job", image_ids="Image", ecs_ids="EcsInstance"))


JobId = Annotated[strawberry.ID, strawberry.argument(description="The job's id, opaque or plain.")]
Where = Annotated[JobFilter | None, strawberry.argument(description="Which jobs. Null: all.")]


@strawberry.type
class JobQueries:
    @showing(Job | None, description="One job of the viewer's project. Null when it is not there.")
    async def job(self, info: Info, id: JobId) -> JobRow | None:
        job_id = plain(id, "Job")
        return (await jobs.find_jobs(caller(info), [job_id], wanted(info))).get(job_id)

    @showing(Connection[Job], description="Jobs of the viewer's project, newest first.")
    async def jobs(
        self,
        info: Info,
        *,
        filter: Where = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Slice[JobRow]:
        who, page = caller(info), Page(first, after, last, before)
        where = filter.plain() if filter else jobs.JobFilter()
        return await jobs.list_jobs(who, where, page=page, wanted=wanted(info))
