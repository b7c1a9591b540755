"""Workers that die, stall or are stopped: the job goes on, and ends."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs
from tortoise import connections

from app import db, events
from app.enums import ErrorCode, JobStatus, JobType
from app.errors import ServiceError
from app.jobs import queue
from app.jobs.models import Job
from app.jobs.runner import Runner, Work
from app.projects.models import Project
from app.runtime import Runtime

RUNTIME = Runtime(None, None)  # type: ignore[arg-type]  # the loop hands it on and looks at none of it
IN_TIME_S = 20

CHILD = """
import asyncio, pathlib, sys
from app import db
from app.enums import JobType
from app.jobs.runner import Runner

class Handler:
    cancellable = True

    async def run(self, runtime, work):
        print("running", work.attempt, flush=True)
        await asyncio.Event().wait()

    async def abandon(self, runtime, work, error):
        raise AssertionError

async def main():
    url, folder = sys.argv[1] or None, pathlib.Path(sys.argv[2])
    await db.connect(url, folder)
    await Runner(None, {JobType.CREATE_IMAGE: Handler()}).start(reclaim_all=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Blocking:
    """A handler that waits to be let go, and keeps count."""

    cancellable = True

    def __init__(self, *, go: bool = False) -> None:
        self.started, self.go = asyncio.Event(), asyncio.Event()
        self.attempts: list[int] = []
        self.errors: list[ServiceError] = []
        self.interrupted = 0
        if go:
            self.go.set()

    async def run(self, runtime: Runtime, work: Work) -> None:
        self.attempts.append(work.attempt)
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.interrupted += 1
            raise

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        self.errors.append(error)


def make_runner(handler: Blocking, *, lease_s: float = 30.0) -> Runner:
    return Runner(RUNTIME, {JobType.CREATE_IMAGE: handler}, lease_s=lease_s)


async def make_job(**columns: object) -> UUID:
    project = await Project.create(id=uuid4(), name=uuid4().hex)
    id_ = await queue.enqueue(JobType.CREATE_IMAGE, project_id=project.id, input={})
    if columns:
        await Job.filter(id=id_).update(**columns)
    return id_


async def ended(id_: UUID) -> Job:
    async with asyncio.timeout(IN_TIME_S), events.listen(lambda event: event.id == str(id_)) as listener:
        changes = aiter(listener)
        while (job := await Job.get(id=id_)).status in (JobStatus.INIT, JobStatus.RUNNING):
            await anext(changes)
    return job


async def wait(event: asyncio.Event) -> None:
    async with asyncio.timeout(IN_TIME_S):
        await event.wait()


@pytest.mark.usefixtures("database")
async def test_stopping_puts_a_running_job_back_without_undoing_it() -> None:
    others = set(events.bus.listeners)
    handler = Blocking()
    runner = make_runner(handler)
    await runner.start()
    id_ = await make_job()
    await wait(handler.started)

    await runner.stop()

    job = await Job.get(id=id_)
    assert (job.status, job.attempt, job.lease_until) == (JobStatus.INIT, 0, None)
    assert job.fault_code is None
    assert (handler.interrupted, handler.errors) == (1, [])
    assert events.bus.listeners == others


@pytest.mark.usefixtures("database")
async def test_any_number_of_stops_lets_a_job_go_on() -> None:
    id_ = await make_job()
    for _ in range(5):
        handler = Blocking()
        runner = make_runner(handler)
        await runner.start()
        await wait(handler.started)
        await runner.stop()
    last = Blocking(go=True)
    runner = make_runner(last)

    await runner.start()
    job = await ended(id_)
    await runner.stop()

    assert (job.status, last.attempts) == (JobStatus.SUCCESS, [1])


@pytest.mark.usefixtures("database")
async def test_starting_with_the_engine_reclaims_running_jobs_at_once() -> None:
    id_ = await make_job(status=JobStatus.RUNNING, attempt=1, lease_until=db.now() + timedelta(hours=1))
    handler = Blocking(go=True)
    runner = make_runner(handler)

    await runner.start(reclaim_all=True)
    job = await ended(id_)
    await runner.stop()

    assert (job.status, handler.attempts) == (JobStatus.SUCCESS, [2])


@pytest.mark.usefixtures("database")
async def test_starting_without_it_leaves_what_is_leased() -> None:
    leased = await make_job(status=JobStatus.RUNNING, attempt=1, lease_until=db.now() + timedelta(hours=1))
    expired = await make_job(status=JobStatus.RUNNING, attempt=1, lease_until=db.now() - timedelta(seconds=1))
    handler = Blocking(go=True)
    runner = make_runner(handler)

    await runner.start()
    await ended(expired)
    await runner.stop()

    assert handler.attempts == [2]
    assert (await Job.get(id=leased)).attempt == 1


@pytest.mark.usefixtures("database")
async def test_a_job_that_killed_three_workers_is_undone_and_fails() -> None:
    id_ = await make_job(status=JobStatus.RUNNING, attempt=3, lease_until=db.now())
    handler = Blocking(go=True)
    runner = make_runner(handler)

    await runner.start()
    job = await ended(id_)
    await runner.stop()

    assert (job.status, job.fault_code) == (JobStatus.FAIL, ErrorCode.INTERNAL)
    assert "3 times" in str(job.fault_message)
    assert (handler.attempts, len(handler.errors)) == ([], 1)


@pytest.mark.usefixtures("database")
async def test_a_worker_whose_job_was_taken_is_interrupted_and_undoes_nothing() -> None:
    handler = Blocking()
    runner = make_runner(handler, lease_s=0.06)
    await runner.start()
    with capture_logs() as logs:
        id_ = await make_job()
        await wait(handler.started)
        await Job.filter(id=id_).update(attempt=7, lease_until=db.now() + timedelta(hours=1))
        async with asyncio.timeout(IN_TIME_S):
            await asyncio.gather(*(active.task for active in runner._active.values() if active.task))
    await runner.stop()

    assert (handler.interrupted, handler.errors) == (1, [])
    assert "job_lost" in [entry["event"] for entry in logs]
    assert (await Job.get(id=id_)).status is JobStatus.RUNNING


@pytest.mark.usefixtures("database")
async def test_a_lease_is_held_as_long_as_the_handler_works() -> None:
    handler, other = Blocking(), Blocking(go=True)
    runner, second = make_runner(handler, lease_s=1.0), make_runner(other)
    await runner.start()
    id_ = await make_job()
    await wait(handler.started)
    first = (await Job.get(id=id_)).lease_until
    assert first

    await second.start()
    async with asyncio.timeout(IN_TIME_S):
        while (await Job.get(id=id_)).lease_until == first:
            """A heartbeat changes nothing that is announced."""
    handler.go.set()
    job = await ended(id_)
    await runner.stop()
    await second.stop()

    assert (job.status, job.attempt, other.attempts) == (JobStatus.SUCCESS, 1, [])


async def test_a_job_whose_process_is_killed_in_the_middle_ends_after_a_restart(database: object) -> None:
    id_ = await make_job()
    client = connections.get("default")
    if db.dialect() == "sqlite":
        where = ["", os.path.dirname(client.filename)]  # noqa: PTH120  # a connection knows its file as text
    else:
        where = [f"postgres://{client.user}:{client.password or ''}@{client.host}:{client.port}/{client.database}", "."]
    for attempt in (1, 2):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, *where, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        assert child.stdout
        async with asyncio.timeout(IN_TIME_S):
            while (line := await child.stdout.readline()) and not line.startswith(b"running"):
                """The log comes before it."""
        assert line.split() == [b"running", str(attempt).encode()]
        child.send_signal(signal.SIGKILL)
        await child.wait()
        assert (await Job.get(id=id_)).status is JobStatus.RUNNING
    handler = Blocking(go=True)
    runner = make_runner(handler)

    await runner.start(reclaim_all=True)
    job = await ended(id_)
    await runner.stop()

    assert (job.status, handler.attempts, handler.errors) == (JobStatus.SUCCESS, [3], [])
