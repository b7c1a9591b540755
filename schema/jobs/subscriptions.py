"""A job as it goes on, and the log of jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import strawberry
from strawberry import Info

from app import watching
from app.jobs.reads import JobRow
from app.watching import Change
from schema.context import caller
from schema.enums import ChangeType
from schema.fields import After, streaming
from schema.ids import opaque, plain
from schema.jobs.queries import JobId
from schema.jobs.types import Job
from schema.selection import wanted


def _id(root: strawberry.Parent[Change]) -> strawberry.ID | None:
    return opaque("Job", root.id) if root.id else None


def _row(root: strawberry.Parent[Change]) -> Any:
    return root.row


@strawberry.type(
    description="Something that happened to a job. Progress alone is reported at most once a second for each job."
)
class JobEvent:
    cursor: str = strawberry.field(description="Give the last one as `after` to go on behind it.")
    type: ChangeType = strawberry.field(description="What happened.")
    job_id: strawberry.ID | None = strawberry.field(resolver=_id, description="Null only for RESYNC.")
    job: Job | None = strawberry.field(resolver=_row, description="As it is now.")
    at: datetime = strawberry.field(description="When it happened.")


@strawberry.type
class JobSubscriptions:
    @streaming(Job, description="A job: at once, after each change, and for the last time in its final status.")
    async def job_updated(self, info: Info, id: JobId) -> AsyncGenerator[JobRow, None]:
        async for row in watching.watch_job(caller(info), plain(id, "Job"), wanted(info)):
            yield row

    @streaming(JobEvent, description="What happens to the jobs of the viewer's project.")
    async def job_events(self, info: Info, after: After = None) -> AsyncGenerator[Change, None]:
        async for change in watching.job_events(caller(info), after, wanted(info)):
            yield change
