"""The bus: after commit, in order, to whoever may want it; and nobody waits for a slow reader."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from app import db, events
from app.enums import EventType
from app.events import KEPT, QUEUED, Bus, Event, Listener

IN_TIME_S = 20


def make_event(id_: str = "1", *, noun: str = "Image") -> Event:
    return Event(noun=noun, id=id_, type=EventType.UPDATED, project_id="p", at=db.now())


def anything(_: Event) -> bool:
    return True


@pytest.fixture
def bus() -> Bus:
    """A bus of its own."""
    return Bus()


def join(bus: Bus, wants: Callable[[Event], bool] = anything) -> Listener:
    listener = Listener(wants)
    bus.listeners.add(listener)
    return listener


async def take(listener: Listener, count: int) -> list[Event]:
    async with asyncio.timeout(IN_TIME_S):
        return [await anext(aiter(listener)) for _ in range(count)]


async def test_events_come_in_order_to_those_who_want_them(bus: Bus) -> None:
    images, jobs = join(bus, lambda event: event.noun == "Image"), join(bus, lambda event: event.noun == "Job")

    for number in range(3):
        bus.publish(make_event(str(number)))
    bus.publish(make_event("9", noun="Job"))

    assert [event.id for event in await take(images, 3)] == ["0", "1", "2"]
    assert [event.id for event in await take(jobs, 1)] == ["9"]
    assert images.queue.empty()


async def test_a_cursor_continues_after_its_event(bus: Bus) -> None:
    listener = join(bus)
    for number in range(5):
        bus.publish(make_event(str(number)))
    seen = await take(listener, 5)

    later = bus.since(seen[2].cursor)

    assert later == seen[3:]
    assert bus.since(seen[-1].cursor) == []
    assert bus.since(bus.start().cursor) == []


def test_a_listener_can_start_before_anything_happened(bus: Bus) -> None:
    start = bus.start()

    bus.publish(make_event("first"))

    assert start.type is EventType.RESYNC
    assert [event.id for event in bus.since(start.cursor) or ()] == ["first"]


def test_an_unknown_cursor_cannot_be_continued(bus: Bus) -> None:
    bus.publish(make_event())
    epoch = bus.epoch

    for cursor in (
        None,
        "",
        "1",
        "x.1",
        f"{epoch}.",
        f"{epoch}.-1",
        f"{epoch}.2",
        f"{epoch}.²",
        epoch + "." + "9" * 5000,
    ):
        assert bus.since(cursor) is None, cursor


def test_a_cursor_older_than_what_is_kept_cannot_be_continued(bus: Bus) -> None:
    start = bus.start().cursor
    for number in range(KEPT):
        bus.publish(make_event(str(number)))

    kept = bus.since(start)
    bus.publish(make_event("one more"))

    assert len(kept or ()) == KEPT
    assert bus.since(start) is None


async def test_a_slow_reader_is_told_to_read_again_and_delays_no_one(bus: Bus) -> None:
    slow, quick = join(bus), join(bus)
    got = []

    for number in range(QUEUED + 100):
        bus.publish(make_event(str(number)))
        got += await take(quick, 1)
    [resync] = await take(slow, 1)
    missed = bus.since(resync.cursor)
    bus.publish(make_event("after"))
    [after] = await take(slow, 1)

    assert [event.id for event in got] == [str(number) for number in range(QUEUED + 100)]
    assert resync.type is EventType.RESYNC
    assert missed == got[QUEUED + 1 :]
    assert (after.type, after.id) == (EventType.UPDATED, "after")


async def test_when_events_may_be_lost_everybody_is_told_to_read_again(bus: Bus) -> None:
    listener = join(bus, lambda _: False)
    bus.publish(make_event())
    before = bus.start().cursor

    bus.resync()

    [resync] = await take(listener, 1)
    assert resync.type is EventType.RESYNC
    assert bus.since(before) is None
    assert bus.since(resync.cursor) == []


async def test_who_has_left_gets_nothing() -> None:
    async with events.listen(anything) as listener:
        pass

    events.bus.publish(make_event())

    assert listener.queue.empty()


async def announce(id_: str, *projects: str, about: str | None = None) -> None:
    await events.announce("Image", id_, EventType.SHARED, projects, about=about)


@pytest.mark.usefixtures("database")
async def test_an_event_is_told_once_to_each_project() -> None:
    id_ = str(uuid4())

    async with events.listen(lambda event: event.id == id_) as listener:
        await announce(id_)
        await announce(id_, "a", "b", "a", about="b")
        told = await take(listener, 2)

    assert [(event.project_id, event.about_id) for event in told] == [("a", "b"), ("b", "b")]
    assert listener.queue.empty()


@pytest.mark.usefixtures("database")
async def test_an_event_is_told_after_the_commit_and_a_rollback_tells_nothing() -> None:
    kept, undone = str(uuid4()), str(uuid4())

    async def fail() -> None:
        async with db.transaction():
            await announce(undone, "a")
            raise ZeroDivisionError

    async with events.listen(lambda event: event.id in (kept, undone)) as listener:
        with pytest.raises(ZeroDivisionError):
            await fail()
        async with db.transaction():
            async with db.transaction():
                await announce(kept, "a")
            assert listener.queue.empty()
        told = await take(listener, 1)

    assert [event.id for event in told] == [kept]
    assert listener.queue.empty()


@pytest.mark.usefixtures("database")
async def test_a_transaction_that_is_cancelled_anywhere_leaves_the_database_usable() -> None:
    async def work() -> None:
        async with db.transaction():
            await db.execute("SELECT 1")

    async def at_once(call: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.timeout(IN_TIME_S):
            await call()

    for steps in range(30):
        task = asyncio.create_task(work())
        for _ in range(steps % 10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await at_once(work)


@pytest.mark.server
@pytest.mark.usefixtures("database")
async def test_a_lost_connection_is_made_again_and_everybody_reads_again() -> None:
    own = "query ILIKE 'listen %' AND datname = current_database()"
    relay = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}"

    async with events.listen(anything) as listener:
        await db.execute(relay)
        [resync] = await take(listener, 1)
        await announce("again", "a")
        [again] = await take(listener, 1)

    assert (resync.type, again.id) == (EventType.RESYNC, "again")
