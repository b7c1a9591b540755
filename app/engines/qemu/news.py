"""What machines did by themselves, handed to whoever watches, and kept for the first who will."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from uuid import UUID

import structlog

from app.engines.base import MachineEvent, MachineEventKind

KEPT_UNWATCHED = 10_000
"""Events that wait for a first watcher; older ones go, for reconciling tells the states anyway."""

log = structlog.get_logger(__name__)


class News:
    """Events of one engine's machines."""

    def __init__(self) -> None:
        self._unheard: deque[MachineEvent] = deque(maxlen=KEPT_UNWATCHED)
        self._watchers: set[asyncio.Queue[MachineEvent]] = set()

    def tell(self, machine_id: UUID, kind: MachineEventKind, detail: str = "") -> None:
        """Hand an event to all who watch."""
        log.info("machine event", machine_id=str(machine_id), kind=kind, detail=detail)
        event = MachineEvent(machine_id=machine_id, kind=kind, detail=detail)
        for watcher in self._watchers:
            watcher.put_nowait(event)
        if not self._watchers:
            self._unheard.append(event)

    def watch(self) -> AsyncIterator[MachineEvent]:
        """Events from now on, after those that nobody has heard."""
        queue: asyncio.Queue[MachineEvent] = asyncio.Queue()
        while self._unheard:
            queue.put_nowait(self._unheard.popleft())
        self._watchers.add(queue)
        return self._read(queue)

    async def _read(self, queue: asyncio.Queue[MachineEvent]) -> AsyncIterator[MachineEvent]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)
            if not self._watchers:
                while not queue.empty():
                    self._unheard.append(queue.get_nowait())
