"""The loop: what becomes of a job, whatever its handler does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from app import db, events
from app.enums import ErrorCode, EventType, JobStatus, JobType
from app.errors import EngineError, InvalidState, ServiceError
from app.jobs import queue, service
from app.jobs.models import Job
from app.jobs.runner import RetryLater, Runner, Work
from app.projects.models import Project
from app.runtime import Runtime

ENDED = (JobStatus.SUCCESS, JobStatus.FAIL, JobStatus.CANCELLED)
IN_TIME_S = 20

pytestmark = pytest.mark.usefixtures("database")


async def _nothing(_: Work) -> None:
    """Done already."""


class Scripted:
    """A handler that does what its test says, and keeps count."""

    def __init__(
        self,
        run: Callable[[Work], Awaitable[None]] = _nothing,
        abandon: Callable[[Work], Awaitable[None]] = _nothing,
        *,
        cancellable: bool = True,
    ) -> None:
        self._run, self._abandon, self.cancellable = run, abandon, cancellable
        self.runs: list[Work] = []
        self.errors: list[ServiceError] = []

    async def run(self, runtime: Runtime, work: Work) -> None:
        self.runs.append(work)
        await self._run(work)

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        self.errors.append(error)
        await self._abandon(work)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(None, None)  # type: ignore[arg-type]  # the loop hands it on and looks at none of it


Running = Callable[..., AbstractAsyncContextManager[Runner]]


@pytest.fixture
def running(runtime: Runtime) -> Running:
    @asynccontextmanager
    async def runner(handler: Scripted, *, reclaim_all: bool = False, **options: object) -> AsyncIterator[Runner]:
        type_ = JobType.CREATE_IMAGE if handler.cancellable else JobType.START_ECS
        it = Runner(runtime, {type_: handler}, **{"backoff_s": 0.001, **options})  # type: ignore[arg-type]
        await it.start(reclaim_all=reclaim_all)
        try:
            yield it
        finally:
            await it.stop()

    return runner


async def make_job(type_: JobType = JobType.CREATE_IMAGE, **columns: object) -> UUID:
    project = await Project.create(id=uuid4(), name=uuid4().hex)
    id_ = await queue.enqueue(type_, project_id=project.id, input={"answer": 42})
    if columns:
        await Job.filter(id=id_).update(**columns)
    return id_


async def until(id_: UUID, is_so: Callable[[Job], bool]) -> Job:
    """The job as soon as something is so; every change of a job is announced."""
    async with asyncio.timeout(IN_TIME_S), events.listen(lambda event: event.id == str(id_)) as listener:
        changes = aiter(listener)
        while not is_so(job := await Job.get(id=id_)):
            await anext(changes)
    return job


async def ended(id_: UUID) -> Job:
    return await until(id_, lambda job: job.status in ENDED)


async def wait(event: asyncio.Event) -> None:
    async with asyncio.timeout(IN_TIME_S):
        await event.wait()


async def test_a_job_that_was_put_in_is_run_at_once_and_succeeds(running: Running) -> None:
    handler = Scripted()

    async with running(handler, poll_s=1000.0):
        job = await ended(await make_job())

    assert (job.status, job.attempt, job.progress, job.lease_until) == (JobStatus.SUCCESS, 1, 1.0, None)
    assert job.started_at
    assert job.finished_at
    assert job.started_at <= job.finished_at
    assert [work.input for work in handler.runs] == [{"answer": 42}]
    assert handler.errors == []


async def test_its_events_are_created_then_updated(running: Running) -> None:
    seen: list[tuple[EventType, JobStatus]] = []

    async with running(Scripted()), events.listen(lambda event: event.noun == "Job") as listener:
        id_ = await make_job()
        async with asyncio.timeout(IN_TIME_S):
            async for event in listener:
                job = await Job.get(id=id_)
                assert event.project_id == str(job.project_id)
                seen.append((event.type, job.status))
                if job.status in ENDED:
                    break

    assert seen[0][0] is EventType.CREATED
    assert {type_ for type_, _ in seen[1:]} <= {EventType.UPDATED}
    assert seen[-1][1] is JobStatus.SUCCESS


async def test_a_job_is_not_seen_before_its_transaction_is_committed(running: Running) -> None:
    async def put_in_and_fail() -> None:
        async with db.transaction():
            await make_job()
            raise ZeroDivisionError

    handler = Scripted()

    async with running(handler, poll_s=1000.0):
        with pytest.raises(ZeroDivisionError):
            await put_in_and_fail()
        await ended(await make_job())

    assert len(handler.runs) == 1
    assert await Job.all().count() == 1


async def test_a_job_that_cannot_go_on_yet_is_run_again_later(running: Running) -> None:
    async def run(_: Work) -> None:
        if len(handler.runs) < 5:
            raise RetryLater(0.01)

    handler = Scripted(run)

    async with running(handler, poll_s=1000.0):
        job = await ended(await make_job())

    assert (job.status, job.attempt, len(handler.runs)) == (JobStatus.SUCCESS, 1, 5)
    assert handler.errors == []


async def test_a_refusal_is_undone_and_told(running: Running) -> None:
    async def run(_: Work) -> None:
        raise EngineError(ErrorCode.NO_CAPACITY, "The host has 12 MiB left.")

    handler = Scripted(run)

    async with running(handler):
        job = await ended(await make_job())

    assert (job.status, job.fault_code, job.fault_message) == (
        JobStatus.FAIL,
        ErrorCode.NO_CAPACITY,
        "The host has 12 MiB left.",
    )
    assert job.fault_at
    assert job.finished_at
    assert [error.code for error in handler.errors] == [ErrorCode.NO_CAPACITY]


async def _crash(_: Work) -> None:
    raise LookupError("password=hunter2")


async def _cancel_itself(_: Work) -> None:
    raise asyncio.CancelledError


async def _refuse_in_other_words(_: Work) -> None:
    error = ServiceError("password=hunter2")
    error.code = "UNAUTHENTICATED"
    raise error


@pytest.mark.parametrize("crash", [_crash, _cancel_itself, _refuse_in_other_words])
async def test_a_fault_of_the_service_is_logged_and_not_told(
    running: Running, crash: Callable[[Work], Awaitable[None]]
) -> None:
    handler = Scripted(crash)

    with capture_logs() as logs:
        async with running(handler):
            job = await ended(await make_job())

    assert (job.status, job.fault_code) == (JobStatus.FAIL, ErrorCode.INTERNAL)
    assert str(job.id) in str(job.fault_message)
    assert "hunter2" not in str(job.fault_message)
    assert [entry["exc_info"] for entry in logs if entry["event"] == "job_crashed"] == [True]
    assert len(handler.errors) == 1


async def test_undoing_is_tried_until_it_works(running: Running) -> None:
    async def abandon(_: Work) -> None:
        job = await Job.get(id=handler.runs[0].id)
        assert (job.status, job.fault_code) == (JobStatus.RUNNING, ErrorCode.INTERNAL)
        if len(handler.errors) < 3:
            raise OSError("not now")

    handler = Scripted(_crash, abandon)

    with capture_logs() as logs:
        async with running(handler):
            job = await ended(await make_job())

    waits = [entry["again_after_s"] for entry in logs if entry["event"] == "job_not_abandoned"]
    assert waits == sorted(set(waits))
    assert (len(waits), len(handler.runs), len(handler.errors)) == (2, 1, 3)
    assert (job.status, job.fault_code) == (JobStatus.FAIL, ErrorCode.INTERNAL)
    assert len({error.message for error in handler.errors}) == 1


async def test_undoing_is_not_forgotten_by_a_restart(running: Running) -> None:
    async def refuse(_: Work) -> None:
        raise OSError("not now")

    handler = Scripted(_crash, refuse)
    async with running(handler, backoff_s=1000.0):
        id_ = await make_job()
        await until(id_, lambda job: job.fault_code is not None)
    after = Scripted()

    async with running(after, reclaim_all=True):
        job = await ended(id_)

    assert (job.status, job.fault_code) == (JobStatus.FAIL, ErrorCode.INTERNAL)
    assert (after.runs, len(after.errors)) == ([], 1)


async def test_a_type_runs_only_so_often_at_a_time_and_others_pass_it(runtime: Runtime) -> None:
    both, go = asyncio.Event(), asyncio.Event()
    at_a_time: list[int] = []
    inside: set[UUID] = set()

    async def copy(work: Work) -> None:
        inside.add(work.id)
        at_a_time.append(len(inside))
        if len(inside) == 2:
            both.set()
        await go.wait()
        inside.remove(work.id)

    handlers = {JobType.CREATE_IMAGE: Scripted(copy), JobType.START_ECS: Scripted(cancellable=False)}
    runner = Runner(runtime, handlers, concurrency=4, limits={JobType.CREATE_IMAGE: 2}, poll_s=1000.0)
    copies = [await make_job() for _ in range(6)]
    start = await make_job(JobType.START_ECS)

    await runner.start()
    await wait(both)
    assert (await ended(start)).status is JobStatus.SUCCESS
    go.set()
    for id_ in copies:
        await ended(id_)
    await runner.stop()

    assert (len(at_a_time), max(at_a_time)) == (6, 2)


async def test_two_runners_never_run_the_same_job(running: Running) -> None:
    one, other = Scripted(), Scripted()

    async with running(one), running(other):
        jobs = [await ended(id_) for id_ in [await make_job() for _ in range(20)]]

    assert {job.status for job in jobs} == {JobStatus.SUCCESS}
    assert sorted(work.id for work in one.runs + other.runs) == sorted(job.id for job in jobs)


async def test_a_handler_that_contradicts_what_can_be_cancelled_is_refused(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match="LAUNCH_ECS"):
        Runner(runtime, {JobType.LAUNCH_ECS: Scripted(cancellable=False)})


async def test_a_waiting_job_that_is_cancelled_is_undone_without_being_run(running: Running) -> None:
    id_ = await make_job(run_at=db.now().replace(year=2999))
    handler = Scripted()

    async with running(handler, poll_s=1000.0):
        await service.cancel_job(id_)
        job = await ended(id_)

    assert (job.status, job.fault_code, job.started_at) == (JobStatus.CANCELLED, ErrorCode.CANCELLED, None)
    assert (handler.runs, [error.code for error in handler.errors]) == ([], [ErrorCode.CANCELLED])


async def test_cancelling_does_not_wait_for_a_place(running: Running) -> None:
    go, started = asyncio.Event(), asyncio.Event()

    async def run(_: Work) -> None:
        started.set()
        await go.wait()

    async with running(Scripted(run), concurrency=1):
        first = await make_job()
        await wait(started)
        second = await make_job()
        await service.cancel_job(second)
        assert (await ended(second)).status is JobStatus.CANCELLED
        go.set()
        assert (await ended(first)).status is JobStatus.SUCCESS


async def test_a_running_job_is_cancelled_at_its_next_step_and_asking_twice_is_no_error(running: Running) -> None:
    started, asked = asyncio.Event(), asyncio.Event()

    async def run(work: Work) -> None:
        await work.progress(0.5)
        started.set()
        await asked.wait()
        await work.checkpoint()

    handler = Scripted(run)

    async with running(handler):
        id_ = await make_job()
        await wait(started)
        await service.cancel_job(id_)
        await service.cancel_job(id_)
        asked.set()
        job = await ended(id_)

    assert (job.status, job.fault_code, job.progress) == (JobStatus.CANCELLED, ErrorCode.CANCELLED, 0.5)
    assert (len(handler.runs), [error.code for error in handler.errors]) == (1, [ErrorCode.CANCELLED])
    with pytest.raises(InvalidState, match="already ended, as CANCELLED"):
        await service.cancel_job(id_)


async def test_finishing_and_cancelling_are_one_decision(running: Running) -> None:
    started, asked = asyncio.Event(), asyncio.Event()

    async def run(work: Work) -> None:
        started.set()
        await asked.wait()
        async with db.transaction():
            await Project.filter(id=work.project_id).update(name="done")
            await work.finish()

    async with running(Scripted(run)):
        id_ = await make_job()
        await wait(started)
        await service.cancel_job(id_)
        asked.set()
        job = await ended(id_)
        other = await ended(await make_job())

    assert (job.status, other.status) == (JobStatus.CANCELLED, JobStatus.SUCCESS)
    assert await Project.filter(name="done").values_list("id", flat=True) == [other.project_id]


async def test_a_job_that_succeeded_before_it_noticed_stays_a_success(running: Running) -> None:
    started, asked = asyncio.Event(), asyncio.Event()

    async def run(_: Work) -> None:
        started.set()
        await asked.wait()

    async with running(Scripted(run)):
        id_ = await make_job()
        await wait(started)
        await service.cancel_job(id_)
        asked.set()
        job = await ended(id_)

    assert job.status is JobStatus.SUCCESS
    assert job.fault_code is None
