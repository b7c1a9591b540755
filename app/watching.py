"""What subscriptions see. Every value is read anew when it is told of, so that it is authorised and nothing leaks.

    watch_job, watch_ecs                     one thing, at once and after each change, until it has ended
    image_events, ecs_events, job_events     the log of a project, to be continued where it was left
    follow_console                           the output of a machine

Each listens before it reads, so that nothing falls between. When the caller's token expires, each ends with Unauthenticated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from app import db, events, policy
from app.ecs import consoles
from app.ecs import service as ecs
from app.ecs.consoles import ConsoleChunk
from app.ecs.reads import EcsRow
from app.enums import EcsStatus, EventType, JobStatus
from app.errors import NotFound, Unauthenticated
from app.events import Event
from app.images import service as images
from app.jobs import service as jobs
from app.jobs.reads import JobRow
from app.paging import Page
from app.policy import Caller
from app.projects import service as projects
from app.projects.reads import ProjectRow
from app.reading import Row, Wanted, list_page
from app.sharing.reads import MEMBERS, MemberRow

T = TypeVar("T")
ENDED = (JobStatus.SUCCESS, JobStatus.FAIL, JobStatus.CANCELLED)
OF_A_SHARE = (EventType.SHARED, EventType.ACCEPTED, EventType.REJECTED)
"""Events after which the share is there; after REVOKED it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """That something happened to a row of a list, or, without an id, that events are missing here."""

    cursor: str
    type: EventType
    at: datetime
    id: str | None
    row: Row | None = None
    """None once it is gone, or no longer visible."""
    member: MemberRow | None = None
    member_project: ProjectRow | None = None


async def watch_job(caller: Caller, id_: str, wanted: Wanted) -> AsyncGenerator[JobRow, None]:
    """A job now and after each change; the last value has a final status.

    Raises: NotFound, Unauthenticated.
    """
    wanted = _with_status(wanted)
    async with aclosing(_occasions(caller, "Job", id_)) as occasions:
        async for _ in occasions:
            row = (await jobs.find_jobs(caller, [id_], wanted)).get(id_)
            if row is None:
                raise NotFound("There is no such job.")
            yield row
            if row.status in ENDED:
                return


async def watch_ecs(caller: Caller, id_: str, wanted: Wanted) -> AsyncGenerator[EcsRow, None]:
    """An ECS now and after each change; the last value has status DELETED.

    Raises: NotFound, Unauthenticated.
    """
    wanted = _with_status(wanted)
    async with aclosing(_occasions(caller, "EcsInstance", id_)) as occasions:
        async for _ in occasions:
            row = await ecs.last_seen_ecs(caller, id_, wanted)
            if row is None:
                raise NotFound("There is no such ECS.", otc="Ecs.0031")
            yield row
            if row.status is EcsStatus.DELETED:
                return


async def follow_console(caller: Caller, id_: str, from_offset: int | None) -> AsyncGenerator[ConsoleChunk, None]:
    """A machine's output as it comes, from an offset or from now.

    Raises: NotFound, InvalidInput, Unauthenticated.
    """
    async with aclosing(_while_valid(caller, consoles.follow_console(caller, id_, from_offset))) as chunks:
        async for chunk in chunks:
            yield chunk


async def image_events(caller: Caller, after: str | None, wanted: Wanted) -> AsyncGenerator[Change, None]:
    """What happens to the caller's images and to those shared with it; wanted are image, member, member_project.

    Raises: Unauthenticated.
    """
    async with aclosing(_log(caller, "Image", after)) as log:
        async for event in log:
            change = await _change(caller, event, images.find_images, wanted.of("image"))
            member = await _member(caller, event, wanted.of("member"))
            about = [event.about_id] if event.about_id and change.id else []
            found = await _find(projects.find_projects, caller, about, wanted.of("member_project"))
            yield replace(change, member=member, member_project=next(iter(found.values()), None))


async def ecs_events(caller: Caller, after: str | None, wanted: Wanted) -> AsyncGenerator[Change, None]:
    """What happens to the caller's machines; wanted is ecs_instance.

    Raises: Unauthenticated.
    """
    async with aclosing(_log(caller, "EcsInstance", after)) as log:
        async for event in log:
            yield await _change(caller, event, ecs.find_ecs, wanted.of("ecs_instance"))


async def job_events(caller: Caller, after: str | None, wanted: Wanted) -> AsyncGenerator[Change, None]:
    """What happens to the caller's jobs; wanted is job.

    Raises: Unauthenticated.
    """
    async with aclosing(_log(caller, "Job", after)) as log:
        async for event in log:
            yield await _change(caller, event, jobs.find_jobs, wanted.of("job"))


# ---------------------------------------------------------------- reading


R = TypeVar("R", bound=Row)
Find = Callable[[Caller, Iterable[str], Wanted], Awaitable[Mapping[str, R]]]


async def _find(find: Find[R], caller: Caller, ids: list[str], wanted: Wanted) -> Mapping[str, R]:
    return await find(caller, ids, wanted) if ids and wanted.parts else {}


async def _change(caller: Caller, event: Event, find: Find[Any], wanted: Wanted) -> Change:
    if event.type is EventType.RESYNC:  # it may stand for the last of those lost, which is nobody's business
        return Change(cursor=event.cursor, type=event.type, at=event.at, id=None)
    row = (await _find(find, caller, [event.id], wanted)).get(event.id)
    return Change(cursor=event.cursor, type=event.type, at=event.at, id=event.id, row=row)


async def _member(caller: Caller, event: Event, wanted: Wanted) -> MemberRow | None:
    if event.type not in OF_A_SHARE or not wanted.parts:
        return None
    share = policy.visible_members(caller).filter(image_id=event.id, project_id=event.about_id)
    return next(iter((await list_page(caller, MEMBERS, share, wanted, Page(first=1))).nodes), None)


def _with_status(wanted: Wanted) -> Wanted:
    return replace(wanted, parts=(*wanted.parts, Wanted("status")))


# ---------------------------------------------------------------- listening


async def _occasions(caller: Caller, noun: str, id_: str) -> AsyncGenerator[None, None]:
    """One to read now, and one after each event of a row."""

    def wants(event: Event) -> bool:
        return event.id == id_ and event.noun == noun and event.project_id == caller.project_id

    async with events.listen(wants) as listener, aclosing(_while_valid(caller, aiter(listener))) as told:
        yield
        async for _ in told:
            yield


async def _log(caller: Caller, noun: str, after: str | None) -> AsyncGenerator[Event, None]:
    """What the caller's project was told of a noun since a cursor, else RESYNC; then what it is told from now on."""

    def wants(event: Event) -> bool:
        return event.noun == noun and event.project_id == caller.project_id

    async with events.listen(wants) as listener, aclosing(_while_valid(caller, aiter(listener))) as told:
        missed = events.bus.since(after)
        for event in [events.bus.start()] if missed is None else filter(wants, missed):
            yield event
        async for event in told:
            yield event


async def _while_valid(caller: Caller, stream: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """What a stream gives until the caller's token expires.

    Raises: Unauthenticated: it has expired.
    """
    while True:
        left_s = None if caller.expires_at is None else (caller.expires_at - db.now()).total_seconds()
        if left_s is not None and left_s <= 0:
            raise Unauthenticated("The token has expired.")
        try:
            async with asyncio.timeout(left_s) as limit:
                value = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if limit.expired():
                continue
            raise
        yield value
