"""What a handler holds in its hands: how far a job is, and whether it should stop."""

import asyncio
from uuid import UUID, uuid4

import pytest

from app import db, events
from app.enums import JobType
from app.jobs import queue, service
from app.jobs.models import Job
from app.jobs.runner import Cancelled, LeaseLost, Work
from app.projects.models import Project

pytestmark = pytest.mark.usefixtures("database")


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


async def claim_job(*, lease_s: float = 30.0, ecs_ids: tuple[UUID, ...] = ()) -> queue.Claim:
    project = await Project.create(id=uuid4(), name=uuid4().hex)
    id_ = await queue.enqueue(JobType.CREATE_IMAGE, project_id=project.id, input={}, ecs_ids=ecs_ids)
    claim = await queue.claim(await Job.get(id=id_), lease_s=lease_s, max_attempts=3)
    assert claim
    return claim


async def test_progress_is_written_at_once_then_once_a_second() -> None:
    clock = Clock()
    claim = await claim_job()
    work = Work(claim, cancellable=True, clock=clock)
    written = []

    for time, fraction in [(100.0, 0.1), (100.5, 0.2), (100.999, 0.3), (101.0, 0.4), (101.5, 0.5), (102.1, 0.6)]:
        clock.time = time
        await work.progress(fraction)
        written.append((await Job.get(id=claim.id)).progress)

    assert written == [0.1, 0.1, 0.1, 0.4, 0.4, 0.6]


async def test_a_new_phase_is_written_at_once_with_its_bytes() -> None:
    claim = await claim_job()
    work = Work(claim, cancellable=True, clock=Clock())

    await work.progress(0.1, phase="SEALING")
    await work.progress(0.2, phase="SEALING", bytes_done=1)
    await work.progress(0.3, phase="COPYING", bytes_done=5, bytes_total=9)

    job = await Job.get(id=claim.id)
    assert (job.progress, job.phase, job.bytes_done, job.bytes_total) == (0.3, "COPYING", 5, 9)


async def test_progress_never_goes_back_not_even_when_it_runs_again() -> None:
    clock = Clock()
    claim = await claim_job()
    await Work(claim, cancellable=True).progress(0.8)
    await queue.give_back(claim, run_at=db.now())
    again = await queue.claim(await Job.get(id=claim.id), lease_s=30.0, max_attempts=3)
    assert again

    await Work(again, cancellable=True, clock=clock).progress(0.1)

    assert (await Job.get(id=claim.id)).progress == 0.8


async def test_every_written_progress_is_announced() -> None:
    clock = Clock()
    claim = await claim_job()
    work = Work(claim, cancellable=True, clock=clock)

    async with events.listen(lambda event: event.id == str(claim.id)) as listener:
        await work.progress(0.1)
        await work.progress(0.2)
        clock.time += 1
        await work.progress(0.3)
        async with asyncio.timeout(20):
            seen = [await anext(aiter(listener)) for _ in range(2)]

    assert listener.queue.empty()
    assert {event.project_id for event in seen} == {str(claim.project_id)}


async def test_cancelling_is_noticed_between_two_writes_once_it_was_announced() -> None:
    claim = await claim_job()
    work = Work(claim, cancellable=True, clock=Clock())
    await work.progress(0.1)

    await service.cancel_job(claim.id)
    work.look_again()

    with pytest.raises(Cancelled):
        await work.progress(0.2)


async def test_work_that_cannot_be_cancelled_goes_on() -> None:
    claim = await claim_job()
    await Job.filter(id=claim.id).update(cancel_requested=True)

    await Work(claim, cancellable=False).checkpoint()


async def test_a_worker_that_lost_its_lease_can_change_nothing() -> None:
    stalled = await claim_job(lease_s=0.0)
    taken = await queue.claim(await Job.get(id=stalled.id), lease_s=30.0, max_attempts=3)
    assert taken
    assert taken.attempt == stalled.attempt + 1
    before = await Job.filter(id=stalled.id).values()
    work = Work(stalled, cancellable=True)

    assert not await queue.extend_lease(stalled, lease_s=1000.0)
    for attempt in (
        work.progress(0.9),
        work.checkpoint(),
        work.finish(),
        queue.succeed(stalled),
        queue.give_back(stalled, run_at=db.now()),
        queue.condemn(stalled, Cancelled("no")),
        queue.end(stalled, Cancelled("no")),
    ):
        with pytest.raises(LeaseLost):
            await attempt

    assert await Job.filter(id=stalled.id).values() == before
    assert not work.ended


async def test_rows_written_with_a_lost_finish_are_rolled_back() -> None:
    stalled = await claim_job(lease_s=0.0)
    assert await queue.claim(await Job.get(id=stalled.id), lease_s=30.0, max_attempts=3)

    async def finish() -> None:
        async with db.transaction():
            await Project.filter(id=stalled.project_id).update(name="stalled")
            await Work(stalled, cancellable=True).finish()

    with pytest.raises(LeaseLost):
        await finish()

    assert not await Project.filter(name="stalled").exists()


async def test_a_job_found_by_many_is_claimed_by_one() -> None:
    project = await Project.create(id=uuid4(), name="p")
    id_ = await queue.enqueue(JobType.CREATE_IMAGE, project_id=project.id, input={})
    found = await Job.get(id=id_)

    claims = await asyncio.gather(*(queue.claim(found, lease_s=30.0, max_attempts=3) for _ in range(10)))

    assert [claim.attempt for claim in claims if claim] == [1]


async def test_a_claim_knows_the_servers_it_is_about_in_order() -> None:
    ids = (uuid4(), uuid4(), uuid4())

    claim = await claim_job(ecs_ids=(*ids, ids[0]))

    assert claim.ecs_ids == ids
