"""Chains beyond the limit are shortened while machines run, and whatever else happens; what is shortened is the same as before."""

import asyncio
from uuid import UUID, uuid4

import pytest

from app.ecs.models import EcsInstance
from app.engines.base import Chains
from app.upkeep.shortening import next_long
from tests.engines.lab import MIB, no_progress
from tests.upkeep.conftest import World

LIMIT = 4


async def sealed_often(world: World, disk_id: UUID, machine_id: UUID | None, times: int) -> list[UUID]:
    """Contents of a disk, one upon the other; a machine that runs writes to each a sector of its own."""
    contents = []
    for number in range(times):
        if machine_id:
            await world.lab.type_line(machine_id, f"w0 {0x200 + number:x} {number}")
        contents.append(world.lab.content())
        await world.engine.contents.seal({disk_id: contents[-1]}, machine_id=machine_id)
        await world.backup(f"backup {number}", contents[-1])
    return contents


async def test_the_chain_of_a_running_machine_is_shortened_and_every_backup_stays_as_it_is(world: World) -> None:
    machine_id, disk_id = await world.lab.launch()
    contents: list[UUID] = []
    depths = []
    for _ in range(3):
        contents += await sealed_often(world, disk_id, machine_id, LIMIT)
        before = [await world.engine.contents.verify(content_id, no_progress) for content_id in contents]
        await world.keep_up(max_layers=LIMIT)
        depths.append(await world.engine.contents.depth(disk_id))
        assert [await world.engine.contents.verify(content_id, no_progress) for content_id in contents] == before

    assert depths == [2, 2, 2]
    found = [await world.engine.contents.depth(content_id) for content_id in contents]
    # The first stands on the public image; then there is one flat layer for each so many seals.
    assert found == [2, 3, 4, 1] + [2, 3, 4, 1] * 2
    assert b"3333" in await world.lab.type_line(machine_id, "r0 203")
    await world.engine.machines.stop(machine_id, deadline_s=5, force=True)
    await world.engine.machines.start(machine_id)
    await world.lab.until_ready(machine_id, boots=2)
    assert b"3333" in await world.lab.type_line(machine_id, "r0 203")
    assert world.lab.leavings() == []


async def test_a_chain_of_a_disk_that_no_machine_runs_on_is_shortened(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.hello())
    contents = await sealed_often(world, disk_id, None, 2 * LIMIT)

    await world.keep_up(max_layers=LIMIT)

    assert await world.engine.contents.depth(disk_id) == 2
    # A content that is a little too long stays as it is; no flat layer is made for it.
    assert [await world.engine.contents.depth(id_) for id_ in contents] == [*range(2, 2 * LIMIT + 1), 1]
    assert world.lab.leavings() == []


async def test_a_long_content_of_an_image_that_is_launched_often_is_shortened(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.hello())
    contents = await sealed_often(world, disk_id, None, LIMIT + 2)
    image = await world.image("launched often", contents[-2])
    for number in range(3):
        ecs = await world.ecs(f"vm-{number}", uuid4())
        await EcsInstance.filter(id=ecs.id).update(image_id=image.id)

    await world.keep_up(max_layers=LIMIT)

    assert [await world.engine.contents.depth(id_) for id_ in contents] == [2, 3, 4, 5, 1, 1]


async def test_what_cannot_be_shortened_now_is_left_for_later(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.hello())
    contents = await sealed_often(world, disk_id, None, LIMIT)
    upkeep = world.upkeep(max_layers=LIMIT)
    world.tool.unlink()

    async with asyncio.timeout(30):
        while await upkeep.do_next():
            pass

    assert await world.engine.contents.depth(disk_id) == LIMIT + 1 + 1
    assert len(contents) == LIMIT
    assert world.lab.leavings() == []


async def test_a_disk_that_is_deleted_and_contents_that_are_released_meanwhile_are_no_error(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.ingest(bytes(4 * MIB)))
    contents = await sealed_often(world, disk_id, None, LIMIT)
    upkeep = world.upkeep(max_layers=LIMIT)

    async def remove() -> None:
        await world.engine.contents.delete_disk(disk_id)
        for content_id in contents:
            await world.engine.contents.release(content_id)

    await asyncio.gather(upkeep.do_next(), remove())
    world.lab.disks.discard(disk_id)
    world.lab.contents.difference_update(contents)
    await world.keep_up(max_layers=LIMIT)

    assert world.lab.leavings() == []


@pytest.mark.parametrize(
    ("disks", "contents", "launched", "chosen"),
    [
        ([LIMIT], [2 * LIMIT], [], None),
        ([LIMIT + 1, LIMIT + 2], [9 * LIMIT], [], "disk 1"),
        ([LIMIT], [2 * LIMIT + 1], [], "content 0"),
        ([], [LIMIT, LIMIT + 1], [0, 1], "content 1"),
        ([], [LIMIT + 1, LIMIT], [1], None),
    ],
)
def test_disks_come_first_then_contents_far_beyond_the_limit_or_launched_often(
    disks: list[int], contents: list[int], launched: list[int], chosen: str | None
) -> None:
    ids = {f"disk {n}": uuid4() for n in range(len(disks))} | {f"content {n}": uuid4() for n in range(len(contents))}
    chains = Chains(
        disks={ids[f"disk {number}"]: [str(n) for n in range(depth)] for number, depth in enumerate(disks)},
        contents={ids[f"content {number}"]: [str(n) for n in range(depth)] for number, depth in enumerate(contents)},
    )
    often = {ids[f"content {number}"] for number in launched}

    assert next_long(chains, max_layers=LIMIT, launched=often) == (ids[chosen] if chosen else None)
    if chosen:
        assert next_long(chains, max_layers=LIMIT, launched=often, but=set(ids.values())) is None
