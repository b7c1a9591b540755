"""Stepping aside: upkeep takes a share of the time, less while others copy, and what the kernel leaves of processors and disks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

WHILE_BUSY = 0.1
"""Of the share, while jobs copy."""
LONGEST_REST_S = 10.0
"""After a long copy, too: others may be waiting for what comes next."""


class Pace:
    """How fast work may go on."""

    def __init__(self, percent: int, *, is_busy: Callable[[], bool]) -> None:
        """`percent`: of the time, 1 to 100. `is_busy`: whether somebody waits for a copy."""
        self._share, self._is_busy = percent / 100, is_busy
        self._since = 0.0

    def begin(self) -> None:
        """What is done from now on counts."""
        self._since = asyncio.get_running_loop().time()

    async def rest(self) -> None:
        """Wait for as long as what was done since the last rest asks for."""
        share = self._share * (WHILE_BUSY if self._is_busy() else 1)
        worked_s = asyncio.get_running_loop().time() - self._since
        await asyncio.sleep(min(worked_s * (1 - share) / share, LONGEST_REST_S))
        self.begin()

    async def progress(self, done: int, total: int) -> None:
        """The same, for an engine that tells how far it is."""
        await self.rest()


def modest_thread() -> ThreadPoolExecutor:
    """A thread with the least priority, which the kernel takes for its disk accesses too; it cannot be raised again."""
    return ThreadPoolExecutor(1, initializer=_be_modest)


def _be_modest() -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
