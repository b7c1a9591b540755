"""A claimed job in the hands of its handler, and what a handler is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from app import db
from app.errors import ServiceError
from app.jobs import queue
from app.jobs.queue import Cancelled
from app.runtime import Runtime

REPORT_S = 1.0
"""A job's progress is written and announced at most this often."""


class RetryLater(Exception):
    """A job cannot go on yet: it is put back, and run anew after a while."""

    def __init__(self, after_s: float) -> None:
        super().__init__(f"again after {after_s} s")
        self.after_s = after_s


class Work:
    """A claimed job in the hands of its handler."""

    def __init__(self, claim: queue.Claim, *, cancellable: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.id, self.project_id, self.type = claim.id, claim.project_id, claim.type
        self.image_id, self.backup_id, self.input = claim.image_id, claim.backup_id, claim.input
        self.ecs_ids, self.disk_ids = claim.ecs_ids, claim.disk_ids
        self.attempt = claim.attempt
        """Two workers that have the job at the same time never have the same; but it may come again after RetryLater."""
        self.ended = False
        self._claim, self._cancellable, self._clock = claim, cancellable, clock
        self._fraction, self._phase = claim.progress, ""
        self._report_at = clock()
        self._asked = False

    async def progress(
        self,
        fraction: float,
        *,
        phase: str | None = None,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
    ) -> None:
        """Say how far it is, from 0 to 1; as often as one likes, as it is written once a second. It never goes back.

        Raises: Cancelled: somebody asked for that. LeaseLost.
        """
        self._fraction = max(self._fraction, min(fraction, 1.0))
        changed = phase is not None and phase != self._phase
        due = changed or self._clock() >= self._report_at
        if due or self._asked:
            await self.checkpoint()
        if not due or self.ended:
            return
        self._report_at = self._clock() + REPORT_S
        self._phase = self._phase if phase is None else phase
        told = {"phase": phase, "bytes_done": bytes_done, "bytes_total": bytes_total}
        known = {name: value for name, value in told.items() if value is not None}
        await queue.report(self._claim, {"progress": self._fraction, **known})

    async def checkpoint(self) -> None:
        """Stop here if somebody asked for that.

        Raises: Cancelled. LeaseLost.
        """
        self._asked = False
        if not self.ended and await queue.is_cancel_requested(self._claim) and self._cancellable:
            raise Cancelled("The job was cancelled.")

    async def finish(self) -> None:
        """End the job with success as part of the caller's transaction, so that its last rows and its end are all or nothing.

        A handler need not: returning from `run` ends the job too, a moment later.

        Raises: Cancelled: somebody asked for that in time. LeaseLost: another worker has the job; either must roll back.
        """
        await queue.succeed(self._claim, unless_cancelled=self._cancellable)
        db.after_commit(lambda: setattr(self, "ended", True))

    async def forget(self, name: str) -> None:
        """Keep no longer what the job's input has under this name, if it has: nobody needs it once the job has ended."""
        if self.input.get(name) is not None:
            await queue.forget(self._claim, name)

    def look_again(self) -> None:
        """Something happened to the job: the next call of `progress` looks whether it was cancelled."""
        self._asked = True


class Handler(Protocol):
    """What does one type of job. It reads everything from rows and keeps nothing between calls.

    Both verbs are idempotent: after a crash at any point, either is called again. They run outside of any transaction, and may be
    stopped at any await by asyncio's cancellation when the process ends or the job's lease was lost; they let it pass.
    """

    @property
    def cancellable(self) -> bool:
        """Whether `progress` and `checkpoint` may raise Cancelled; the same as the job type's being in queue.CANCELLABLE."""

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Do the job, or what is left of it.

        Raises: RetryLater: it cannot go on yet. ServiceError: it failed for a reason that its owner can act on. Anything else is
        a fault of the service, which its owner is not told.
        """

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """Undo what `run` did, as far as it got (perhaps nowhere, perhaps to its very end); `error` is why.

        What it raises is logged, and it is called again later, until it returns. RetryLater says when.
        """
