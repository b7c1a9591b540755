"""What happened, told to whoever listens: after commit, by id only, so that every value is read and authorised anew.

An event is addressed to one project and is kept for a while, so that a listener that lost its connection can go on where it was.
In one process that is all; between processes PostgreSQL's NOTIFY, issued inside the transaction, carries the same events.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg
import orjson
import structlog

from app import db
from app.enums import EventType

log = structlog.get_logger(__name__)

KEPT = 2000
"""Events that a listener can go back."""
QUEUED = 256
"""Events that a listener may be behind before it is told to read its list again."""
CHANNEL = "image_service_events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one object, addressed to one project that may want to know."""

    noun: str
    id: str
    type: EventType
    project_id: str
    about_id: str | None = None
    """The project that a share is with."""
    at: datetime
    cursor: str = ""


class Listener:
    """A place at the bus. Iterating gives events; one of type RESYNC stands for any number of lost ones."""

    def __init__(self, wants: Callable[[Event], bool]) -> None:
        self.wants = wants
        self.queue: asyncio.Queue[Event] = asyncio.Queue(QUEUED)
        self.lost = False

    def offer(self, event: Event) -> None:
        """Take an event, or remember that one was lost: a slow reader delays nobody."""
        if self.lost or (event.type is not EventType.RESYNC and not self.wants(event)):
            return
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            event, self.lost = replace(event, type=EventType.RESYNC), True
        self.queue.put_nowait(event)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = await self.queue.get()
            if event.type is EventType.RESYNC:
                self.lost = False
            yield event


class Bus:
    """All listeners of this process, and the events of the last while."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.number = 0
        self.kept: deque[Event] = deque(maxlen=KEPT)
        self.listeners: set[Listener] = set()

    def publish(self, event: Event) -> None:
        """Number an event and give it to those who want it."""
        self.number += 1
        event = replace(event, cursor=f"{self.epoch}.{self.number}")
        self.kept.append(event)
        for listener in list(self.listeners):
            listener.offer(event)

    def resync(self) -> None:
        """Tell every listener to read again: events may have been lost."""
        self.epoch, self.number = secrets.token_hex(4), 0
        self.kept.clear()
        for listener in list(self.listeners):
            listener.offer(self.start())

    def start(self) -> Event:
        """A RESYNC that stands for now."""
        return Event(
            noun="", id="", type=EventType.RESYNC, project_id="", at=db.now(), cursor=f"{self.epoch}.{self.number}"
        )

    def since(self, cursor: str | None) -> list[Event] | None:
        """The events after a cursor, or None where they cannot all be told any more."""
        epoch, _, number = (cursor or "").rpartition(".")
        oldest = self.number - len(self.kept)
        if epoch != self.epoch or not (number.isdecimal() and len(number) < 20):  # int() refuses thousands of digits
            return None
        if not oldest <= int(number) <= self.number:
            return None
        return list(self.kept)[int(number) - oldest :]


bus = Bus()


async def announce(
    noun: str,
    id_: UUID | str,
    type_: EventType,
    projects: Iterable[UUID | str],
    *,
    about: UUID | str | None = None,
) -> None:
    """Tell projects that something happened to an object; inside a transaction, with its commit."""
    at = db.now()
    events = [
        Event(noun=noun, id=str(id_), type=type_, project_id=str(p), about_id=str(about) if about else None, at=at)
        for p in dict.fromkeys(map(str, projects))
    ]
    if not events:
        return
    if db.dialect() == "postgres":
        payloads = [orjson.dumps(asdict(event)).decode() for event in events]
        await db.execute(f"SELECT pg_notify('{CHANNEL}', p) FROM unnest($1::text[]) p", [payloads])
    else:
        db.after_commit(lambda: publish(events))


def publish(events: Iterable[Event]) -> None:
    """Give events to this process's listeners."""
    for event in events:
        bus.publish(event)


@asynccontextmanager
async def listen(wants: Callable[[Event], bool]) -> AsyncIterator[Listener]:
    """Events from now on. Listen first and read afterwards, so that nothing falls between."""
    listener = Listener(wants)
    bus.listeners.add(listener)
    try:
        yield listener
    finally:
        bus.listeners.discard(listener)


@asynccontextmanager
async def relay(database_url: str | None) -> AsyncIterator[None]:
    """While open, PostgreSQL's notifications reach this process's listeners; on SQLite there is nothing to relay."""
    if database_url is None:
        yield
        return
    ready = asyncio.Event()
    task = asyncio.create_task(_relay(database_url, ready))
    try:
        await ready.wait()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _relay(database_url: str, ready: asyncio.Event) -> None:
    """Listen on a connection of its own, and again whenever it is lost; what was missed meanwhile is a RESYNC."""
    first = True
    while True:
        try:
            connection = await asyncpg.connect(database_url.replace("asyncpg://", "postgres://", 1))
            try:
                closed = asyncio.Event()
                connection.add_termination_listener(lambda _, closed=closed: closed.set())
                await connection.add_listener(CHANNEL, _received)
                if not first:
                    bus.resync()
                first = False
                ready.set()
                await closed.wait()
                log.warning("events_connection_lost")
            finally:
                with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await connection.close(timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("events_connection_failed", error=str(error))
            await asyncio.sleep(1)


def _received(_connection: object, _pid: int, _channel: str, payload: object) -> None:
    values = orjson.loads(str(payload))
    values |= {"type": EventType(values["type"]), "at": datetime.fromisoformat(values["at"])}
    bus.publish(Event(**values))
