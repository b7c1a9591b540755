"""Who works on a disk or content, works on it alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary


class Locks:
    """A lock for each id. Who needs a machine's lock, too, takes that one first."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def held(self, *ids: UUID) -> AsyncIterator[None]:
        """Hold some of them, taken in an order that is always the same, so that nobody waits for ever."""
        async with AsyncExitStack() as stack:
            for id_ in sorted(set(ids)):
                await stack.enter_async_context(self._locks.setdefault(id_, asyncio.Lock()))
            yield
