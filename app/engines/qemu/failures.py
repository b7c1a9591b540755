"""What goes wrong below the engine, turned into what its callers are promised."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from app.engines.qemu.qmp import MonitorFailed
from app.engines.qemu.store import Store
from app.enums import ErrorCode
from app.errors import EngineError

T = TypeVar("T")

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def engine_errors(store: Store) -> Iterator[None]:
    """Have the system's and the monitors' errors raised as EngineError, without our paths in them."""
    try:
        yield
    except EngineError as error:
        error.message = store.conceal(error.message)
        error.args = (error.message,)
        raise
    except MonitorFailed as error:
        raise EngineError(ErrorCode.ENGINE_FAILED, store.conceal(str(error))) from error
    except OSError as error:
        if error.errno in FULL:
            raise EngineError(ErrorCode.INSUFFICIENT_STORAGE, "the engine's store is full") from error
        raise EngineError(ErrorCode.ENGINE_FAILED, f"the engine's store failed: {error.strerror}") from error


async def gather_all(works: Iterable[Awaitable[None]]) -> None:
    """Do several things at once; when one fails the others are brought to their end first, and the first failure is raised bare."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def to_the_end(work: Coroutine[object, object, T]) -> T:
    """Do something whole, also when whoever waits for it gives up: a thread that writes a file would not notice."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
