"""What every engine promises of consoles."""

import asyncio
from uuid import uuid4

import pytest

from app.errors import NotFound
from tests.engines.lab import Lab


async def test_the_last_of_a_console_and_any_part_of_it_can_be_read(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    whole = await lab.until_ready(machine_id)
    await lab.type_line(machine_id, "note more")

    offset, last = await lab.engine.consoles.tail(machine_id, max_bytes=6)
    _, part = await lab.engine.consoles.tail(machine_id, max_bytes=5, from_offset=whole.index(b"HELLO"))
    beyond, nothing = await lab.engine.consoles.tail(machine_id, max_bytes=5, from_offset=10**9)

    assert last == b"e\r\n ok\r\n"[-6:]
    assert part == b"HELLO"
    assert (beyond, nothing) == (offset + len(last), b"")


async def test_a_follower_sees_what_comes_and_the_end(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    end, _ = await lab.engine.consoles.tail(machine_id, max_bytes=0)
    following = lab.engine.consoles.follow(machine_id)

    async def collect() -> list[tuple[int, bytes]]:
        return [piece async for piece in following]

    collecting = asyncio.create_task(collect())
    await lab.type_line(machine_id, "w0 200 seen")
    await lab.engine.machines.delete(machine_id)
    pieces = await asyncio.wait_for(collecting, 5)

    said = b"".join(data for _, data in pieces)
    assert said.startswith(b"w0 200 seen")
    assert b" ok" in said
    offsets = [offset for offset, _ in pieces]
    assert offsets[0] >= end
    assert offsets == sorted(offsets)


async def test_a_console_goes_on_over_restarts(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    await lab.engine.machines.stop(machine_id, deadline_s=5, force=True)
    end, _ = await lab.engine.consoles.tail(machine_id, max_bytes=0)

    await lab.engine.machines.start(machine_id)

    said = await lab.until(machine_id, b"READY", from_offset=end)
    assert b"boots=2" in said
    assert b"boots=1" not in said


async def test_a_console_that_never_was_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound):
        await lab.engine.consoles.tail(uuid4(), max_bytes=10)
    with pytest.raises(NotFound):
        lab.engine.consoles.follow(uuid4())
