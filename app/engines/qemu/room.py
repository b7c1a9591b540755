"""Room for copies: they leave a reserve free, for machines and small records write without asking."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from app.enums import ErrorCode
from app.errors import EngineError

T = TypeVar("T")

LOOK_EVERY_S = 0.25


class Room:
    """What file systems have left for copies."""

    def __init__(self, reserve_bytes: int) -> None:
        self._reserve_bytes = reserve_bytes

    def require(self, folder: Path, size_bytes: int) -> None:
        """Raises: EngineError: INSUFFICIENT_STORAGE: so much does not fit beside the reserve."""
        if size_bytes > self._left(folder):
            raise EngineError(ErrorCode.INSUFFICIENT_STORAGE, f"there is no room for {size_bytes >> 20} MiB more")

    async def keep(self, folder: Path, copying: Coroutine[object, object, T]) -> T:
        """Do work that fits when it begins, and end it when others have written so much meanwhile that the reserve is touched.

        Raises: EngineError: INSUFFICIENT_STORAGE. What the work raises.
        """
        task = asyncio.ensure_future(copying)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_EVERY_S))[0]:
                if self._left(folder) < 0:
                    await _end(task)
                    if task.cancelled():
                        message = "others have written so much meanwhile that there is no room"
                        raise EngineError(ErrorCode.INSUFFICIENT_STORAGE, message)
        except asyncio.CancelledError:
            await _end(task)
            raise
        return task.result()

    def _left(self, folder: Path) -> int:
        return shutil.disk_usage(folder).free - self._reserve_bytes


async def _end(task: asyncio.Future[T]) -> None:
    task.cancel()
    await asyncio.wait({task})
