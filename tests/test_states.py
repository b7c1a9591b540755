"""Life cycles: what the table allows goes, nothing else does, and of two that contradict each other one wins."""

import asyncio
from enum import StrEnum
from uuid import UUID, uuid4

import pytest

from app import db, events, states
from app.enums import ContentState, EventType, ImageKind, ImageSourceKind, ImageStatus, JobStatus, JobType, ShareStatus
from app.errors import InvalidState
from app.images.models import Image
from app.jobs.models import Job
from app.projects.models import Project
from app.sharing.models import ImageMember
from app.states import Machine

MACHINES: dict[str, Machine[StrEnum]] = {
    "image": states.IMAGE,  # type: ignore[dict-item]  # a machine is invariant in its words
    "member": states.MEMBER,  # type: ignore[dict-item]
    "ecs": states.ECS,  # type: ignore[dict-item]
    "disk": states.DISK,  # type: ignore[dict-item]
    "content": states.CONTENT,  # type: ignore[dict-item]
    "job": states.JOB,  # type: ignore[dict-item]
}


async def make_job(status: JobStatus = JobStatus.INIT) -> Job:
    project = await Project.create(id=uuid4(), name=uuid4().hex)
    return await Job.create(
        id=uuid4(), project_id=project.id, type=JobType.START_ECS, status=status, input={}, run_at=db.now()
    )


async def status_of(id_: UUID) -> JobStatus:
    return (await Job.get(id=id_)).status


@pytest.mark.parametrize("name", MACHINES)
def test_a_table_speaks_of_every_status_and_of_no_other(name: str) -> None:
    machine = MACHINES[name]
    words = type(next(iter(machine.table)))

    assert set(machine.table) == set(words)
    assert {target for targets in machine.table.values() for target in targets} <= set(words)


@pytest.mark.parametrize("name", MACHINES)
def test_every_status_but_the_first_can_be_reached(name: str) -> None:
    machine = MACHINES[name]
    reached = [next(iter(machine.table))]

    for status in reached:
        reached += [target for target in machine.table[status] if target not in reached]

    assert set(reached) == set(machine.table)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("start", JobStatus)
@pytest.mark.parametrize("to", JobStatus)
async def test_a_move_goes_exactly_where_the_table_allows_it(start: JobStatus, to: JobStatus) -> None:
    job = await make_job(start)
    allowed = to in states.JOB.table[start]

    moved = await states.JOB.move(job.id, to, attempt=7)

    after = await Job.get(id=job.id)
    assert moved is allowed
    assert (after.status, after.attempt) == ((to, 7) if allowed else (start, 0))


@pytest.mark.usefixtures("database")
async def test_a_move_that_must_go_and_does_not_is_an_invalid_state() -> None:
    job = await make_job(JobStatus.SUCCESS)

    with pytest.raises(InvalidState, match="RUNNING"):
        await states.JOB.must_move(job.id, JobStatus.RUNNING)

    assert await status_of(job.id) is JobStatus.SUCCESS


@pytest.mark.usefixtures("database")
async def test_a_condition_that_does_not_hold_stops_a_move() -> None:
    job = await make_job()

    assert not await states.JOB.move(job.id, JobStatus.RUNNING, where={"attempt": 3})
    assert not await states.JOB.move(uuid4(), JobStatus.RUNNING)

    assert await status_of(job.id) is JobStatus.INIT


@pytest.mark.usefixtures("database")
async def test_of_many_that_move_a_row_at_once_one_wins() -> None:
    job = await make_job(JobStatus.RUNNING)
    ends = [JobStatus.SUCCESS, JobStatus.FAIL, JobStatus.CANCELLED]

    moved = await asyncio.gather(*(states.JOB.move(job.id, end, attempt=n) for n, end in enumerate(ends * 4, start=1)))

    assert sum(moved) == 1
    after = await Job.get(id=job.id)
    assert (after.status, after.attempt) == ((ends * 4)[moved.index(True)], moved.index(True) + 1)


@pytest.mark.usefixtures("database")
async def test_a_move_announces_its_row_and_a_refused_one_does_not() -> None:
    job = await make_job()

    async with events.listen(lambda event: event.id == str(job.id)) as listener, asyncio.timeout(20):
        await states.JOB.move(job.id, JobStatus.SUCCESS)
        await states.JOB.move(job.id, JobStatus.RUNNING)
        event = await anext(aiter(listener))

    assert (event.noun, event.type, event.project_id) == ("Job", EventType.UPDATED, str(job.project_id))
    assert listener.queue.empty()


@pytest.mark.usefixtures("database")
async def test_a_move_that_is_rolled_back_changes_and_announces_nothing() -> None:
    job = await make_job()

    async def move_and_fail() -> None:
        async with db.transaction():
            await states.JOB.move(job.id, JobStatus.RUNNING)
            raise ZeroDivisionError

    async with events.listen(lambda event: event.id == str(job.id)) as listener, asyncio.timeout(20):
        with pytest.raises(ZeroDivisionError):
            await move_and_fail()
        await states.JOB.move(job.id, JobStatus.CANCELLED)
        await anext(aiter(listener))

    assert listener.queue.empty()
    assert await status_of(job.id) is JobStatus.CANCELLED


@pytest.mark.usefixtures("database")
async def test_an_image_is_announced_to_its_owner_and_to_who_accepted_it() -> None:
    owner, accepted, pending = [await Project.create(id=uuid4(), name=name) for name in ("o", "a", "p")]
    image = await Image.create(
        id=uuid4(),
        project_id=owner.id,
        name="i",
        kind=ImageKind.SYSTEM_DISK,
        status=ImageStatus.QUEUED,
        source_kind=ImageSourceKind.ECS,
    )
    for project, status in [(accepted, ShareStatus.ACCEPTED), (pending, ShareStatus.PENDING)]:
        await ImageMember.create(id=uuid4(), image_id=image.id, project_id=project.id, status=status)

    async with events.listen(lambda event: event.id == str(image.id)) as listener, asyncio.timeout(20):
        await states.IMAGE.must_move(image.id, ImageStatus.SAVING)
        told = [(await anext(aiter(listener))).project_id for _ in range(2)]

    assert set(told) == {str(owner.id), str(accepted.id)}
    assert listener.queue.empty()


def test_a_released_content_stays_released() -> None:
    assert states.CONTENT.sources(ContentState.PENDING) == []
    assert not states.CONTENT.table[ContentState.RELEASED]
