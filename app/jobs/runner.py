"""The loop that runs jobs.

One way back: a failure, a cancellation and too many dead workers all write down why (`queue.condemn`), call the handler's `abandon`
until it succeeds (each failure doubles the wait, up to five minutes, in this process or the next) and only then end the job.
So a job stays RUNNING only as long as somebody works on it or its undoing is due again. What is in the database is always enough to
go on; nothing that matters is in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from app import db, events
from app.enums import ErrorCode, EventType, JobType
from app.errors import Refused, ServiceError
from app.jobs import queue
from app.jobs.queue import Cancelled, LeaseLost
from app.jobs.work import Handler, RetryLater, Work
from app.runtime import Runtime

__all__ = ["Cancelled", "Handler", "LeaseLost", "RetryLater", "Runner", "Work"]

log = structlog.get_logger(__name__)

LONGEST_WAIT_S = 300.0
"""Between two attempts to undo a job."""


class _Stopped(Exception):
    """The process ends; the handler was interrupted."""


@dataclass(eq=False)
class _Active:
    """A job that this process works on."""

    claim: queue.Claim
    work: Work
    task: asyncio.Task[None] | None = None
    call: asyncio.Task[None] | None = None
    lost: bool = False


class Runner:
    """Runs jobs of the types that it has handlers for, several at a time, the longest due first."""

    def __init__(
        self,
        runtime: Runtime,
        handlers: Mapping[JobType, Handler],
        *,
        concurrency: int = 8,
        lease_s: float = 30.0,
        limits: Mapping[JobType, int] | None = None,
        max_attempts: int = 3,
        poll_s: float = 5.0,
        backoff_s: float = 1.0,
    ) -> None:
        """`limits`: how many jobs of a type run at a time; undoing has as many places again, so that it never waits for those.

        `max_attempts`: workers that may die on a job. `poll_s`: how often to look for jobs although nothing was announced.
        """
        wrong = [type_ for type_, handler in handlers.items() if handler.cancellable != (type_ in queue.CANCELLABLE)]
        if wrong:
            raise ValueError(f"handlers contradict queue.CANCELLABLE: {', '.join(wrong)}")
        self.runtime, self.handlers, self.concurrency, self.lease_s = runtime, dict(handlers), concurrency, lease_s
        self.limits, self.max_attempts = dict(limits or {}), max_attempts
        self.poll_s, self.backoff_s = poll_s, backoff_s
        self._active: dict[UUID, _Active] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._aside: list[asyncio.Task[None]] = []
        self._exits = AsyncExitStack()

    async def start(self, *, reclaim_all: bool = False) -> None:
        """Begin. `reclaim_all`: no other process runs these jobs (this one holds the engine), so running ones are orphans."""
        listener = await self._exits.enter_async_context(events.listen(lambda event: event.noun == "Job"))
        if reclaim_all and (orphans := await queue.reclaim(self.handlers)):
            log.info("jobs_reclaimed", count=orphans)
        self._aside = [asyncio.create_task(self._listen(listener)), asyncio.create_task(self._hold())]
        self._loop = asyncio.create_task(self._serve())

    async def stop(self, *, grace_s: float = 10.0) -> None:
        """Claim no more, interrupt what runs and put it back; nothing is abandoned."""
        self._stopping = True
        self._wake.set()
        if self._loop:
            await self._loop
        for active in self._active.values():
            if active.call:
                active.call.cancel()
        if tasks := [active.task for active in self._active.values() if active.task]:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                log.error("job_does_not_stop", task=task.get_name())
                task.cancel()
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)
        await self._exits.aclose()

    def is_running(self, types: Collection[JobType]) -> bool:
        """Whether this process works on a job of one of these types."""
        return any(active.claim.type in types for active in self._active.values())

    async def _listen(self, listener: events.Listener) -> None:
        async for event in listener:
            lost = event.type is EventType.RESYNC
            mine = (
                list(self._active.values())
                if lost
                else [a for a in self._active.values() if str(a.claim.id) == event.id]
            )
            for active in mine:
                active.work.look_again()
            if lost or not mine:
                self._wake.set()

    async def _hold(self) -> None:
        """Keep the leases of all jobs that this process works on; a job whose lease was lost is interrupted."""
        while True:
            await asyncio.sleep(self.lease_s / 3)
            for active in list(self._active.values()):
                try:
                    held = await queue.extend_lease(active.claim, lease_s=self.lease_s)
                except Exception:
                    log.exception("job_lease_not_extended", job_id=str(active.claim.id))
                    continue
                if not held and not active.work.ended and active.call:
                    active.lost = True
                    active.call.cancel()

    async def _serve(self) -> None:
        while not self._stopping:
            self._wake.clear()
            wait_s = self.poll_s
            try:
                wait_s = await self._fill()
            except Exception:
                log.exception("jobs_not_claimed")
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _fill(self) -> float:
        """Claim what there is room for; how many seconds to wait unless woken."""
        moment = db.now()
        # What is to be run comes first, for somebody waits for it; undoing has places of its own.
        for doomed in (False, True):
            while not self._stopping and await self._claim_some(doomed=doomed):
                pass
        due = await queue.next_due(self.handlers, moment=moment, skip=list(self._active))
        return self.poll_s if due is None else max(0.0, min(self.poll_s, (due - db.now()).total_seconds()))

    async def _claim_some(self, *, doomed: bool) -> bool:
        """Claim some jobs with a verdict, or without; whether there may be more that can be claimed now."""
        room = self.concurrency - sum((a.claim.verdict is not None) == doomed for a in self._active.values())
        types = [type_ for type_ in self.handlers if doomed or self._has_room(type_)]
        if room <= 0 or not types:
            return False
        moment, skip = db.now(), list(self._active)
        found = await queue.find_due(
            types, moment=moment, doomed=doomed, max_attempts=self.max_attempts, skip=skip, limit=room
        )
        claimed = False
        for job in found:
            if self._stopping or not (doomed or self._has_room(job.type)):
                continue
            claim = await queue.claim(job, lease_s=self.lease_s, max_attempts=self.max_attempts)
            if claim:
                self._begin(claim)
                claimed = True
        # Fewer than asked for are all of them; what is put in meanwhile wakes the loop by itself.
        return claimed and len(found) == room

    def _has_room(self, type_: JobType) -> bool:
        running = sum(a.claim.type is type_ and a.claim.verdict is None for a in self._active.values())
        return running < self.limits.get(type_, self.concurrency)

    def _begin(self, claim: queue.Claim) -> None:
        cancellable = self.handlers[claim.type].cancellable and claim.verdict is None
        active = self._active[claim.id] = _Active(claim, Work(claim, cancellable=cancellable))
        active.task = asyncio.create_task(self._settle(active), name=f"job {claim.id}")
        active.task.add_done_callback(lambda _: self._settled(claim.id))

    def _settled(self, id_: UUID) -> None:
        del self._active[id_]
        self._wake.set()

    async def _settle(self, active: _Active) -> None:
        """Run or abandon a job, and write down what came of it. If that fails too, the lease runs out and it is claimed again."""
        claim = active.claim
        with bound_contextvars(job_id=str(claim.id), job_type=claim.type.value, project_id=str(claim.project_id)):
            try:
                error = claim.verdict or await self._run(active)
                if error:
                    await queue.condemn(claim, error)
                    await self._abandon(active, error)
            except LeaseLost:
                log.warning("job_lost", attempt=claim.attempt)
            except Exception:
                log.exception("job_not_settled", attempt=claim.attempt)

    async def _run(self, active: _Active) -> ServiceError | None:
        """Run a job; what it failed with."""
        claim, work = active.claim, active.work
        try:
            await self._call(active, self.handlers[claim.type].run(self.runtime, work))
        except LeaseLost:
            raise
        except _Stopped:
            await queue.give_back(claim, run_at=db.now())
        except RetryLater as later:
            await queue.give_back(claim, run_at=db.now() + timedelta(seconds=later.after_s))
        except ServiceError as error:
            if error.code not in ErrorCode.__members__:
                log.exception("job_crashed", attempt=claim.attempt)
                return _masked(claim)
            log.info("job_failed", code=str(error.code), reason=error.message)
            return error
        except Exception:
            log.exception("job_crashed", attempt=claim.attempt)
            return _masked(claim)
        else:
            if not work.ended:
                await queue.succeed(claim)
        return None

    async def _abandon(self, active: _Active, error: ServiceError) -> None:
        claim = active.claim
        wait_s = min(self.backoff_s * 2 ** min(claim.attempt, 16), LONGEST_WAIT_S)
        work = active.work = Work(claim, cancellable=False)
        try:
            await self._call(active, self.handlers[claim.type].abandon(self.runtime, work, error))
        except LeaseLost:
            raise
        except _Stopped:
            await queue.extend_lease(claim, lease_s=0)
        except RetryLater as later:
            await queue.extend_lease(claim, lease_s=later.after_s)
        except Exception:
            log.exception("job_not_abandoned", attempt=claim.attempt, again_after_s=wait_s)
            await queue.extend_lease(claim, lease_s=wait_s)
        else:
            await queue.end(claim, error)

    async def _call(self, active: _Active, coroutine: Coroutine[object, object, None]) -> None:
        """Await a handler in a task of its own, which alone is interrupted.

        Raises: what it raises. _Stopped, LeaseLost: it was interrupted for that.
        """
        call = active.call = asyncio.create_task(coroutine)
        if self._stopping:
            call.cancel()
        await asyncio.wait({call})
        failed = call.cancelled() or call.exception() is not None
        if active.lost and not active.work.ended:
            raise LeaseLost
        if failed and self._stopping:
            raise _Stopped
        if call.cancelled():
            raise RuntimeError("the handler cancelled itself")
        call.result()


def _masked(claim: queue.Claim) -> ServiceError:
    message = f"Something went wrong; the operator can find the reason in the log under job {claim.id}."
    return Refused(ErrorCode.INTERNAL, message)
