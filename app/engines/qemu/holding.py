"""Who works on a disk, works on it alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary


class DiskLocks:
    """A lock for each disk. Who needs a machine's lock, too, takes that one first."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def held(self, *disk_ids: UUID) -> AsyncIterator[None]:
        """Hold some disks, taken in an order that is always the same, so that nobody waits for ever."""
        async with AsyncExitStack() as stack:
            for disk_id in sorted(set(disk_ids)):
                await stack.enter_async_context(self._locks.setdefault(disk_id, asyncio.Lock()))
            yield
