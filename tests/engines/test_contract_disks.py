"""What every engine promises of disks that come, go and grow, whether their machine runs or not."""

import asyncio
from uuid import uuid4

import pytest

from app.engines.base import MachineState
from app.enums import ErrorCode
from app.errors import EngineError, NotFound
from tests.engines.lab import MIB, Lab

SECTOR = 512


async def test_an_attached_disk_is_there_at_once_is_sealed_with_the_others_and_stays_over_a_start(lab: Lab) -> None:
    machine_id, system_disk = await lab.launch()
    data_disk = await lab.disk()

    for _ in range(2):
        await lab.engine.machines.attach(machine_id, data_disk)
    # Hello's firmware looks for disks at a reset only.
    await lab.engine.machines.reboot(machine_id, force=True, deadline_s=1)
    await lab.until_ready(machine_id, boots=2)
    await lab.type_line(machine_id, "w1 200 attached")

    wanted = {system_disk: lab.content(), data_disk: lab.content()}
    await lab.engine.contents.seal(wanted, machine_id=machine_id)
    assert (await lab.read(wanted[data_disk]))[0x200 * SECTOR :].startswith(b"attached")
    await lab.engine.machines.stop(machine_id, deadline_s=1, force=True)
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=3)
    assert b"attached" in await lab.type_line(machine_id, "r1 200")
    assert lab.leavings() == []


async def test_a_machine_that_is_off_has_an_attached_disk_at_its_next_start_and_a_detached_one_no_longer(
    lab: Lab,
) -> None:
    first, second = await lab.disk(size_bytes=MIB), await lab.disk(size_bytes=2 * MIB)
    machine_id, _ = await lab.launch(first)
    await lab.engine.machines.stop(machine_id, deadline_s=1, force=True)

    for _ in range(2):
        await lab.engine.machines.attach(machine_id, second)
        await lab.engine.machines.detach(machine_id, first, deadline_s=1)
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)

    assert b"00001000 ok" in await lab.type_line(machine_id, "s1")
    # The seed is the last disk, and number 2.
    await lab.type_line(machine_id, "s3", end=b" error\r\n")
    other_id, _ = await lab.launch(first)
    assert (await lab.engine.machines.describe(other_id)).state is MachineState.RUNNING


async def test_a_guest_that_does_not_let_go_keeps_its_disk_also_over_a_reboot(lab: Lab) -> None:
    data_disk = await lab.disk()
    machine_id, _ = await lab.launch(data_disk)
    await lab.type_line(machine_id, "w1 200 kept")

    with pytest.raises(EngineError) as refusal:
        await lab.engine.machines.detach(machine_id, data_disk, deadline_s=0.1)
    await lab.engine.machines.reboot(machine_id, force=True, deadline_s=1)
    await lab.until_ready(machine_id, boots=2)

    assert refusal.value.code == ErrorCode.TIMED_OUT
    assert "stop the machine" in refusal.value.message
    assert b"kept" in await lab.type_line(machine_id, "r1 200")
    content_id = lab.content()
    await lab.engine.contents.seal({data_disk: content_id}, machine_id=machine_id)
    await lab.engine.machines.stop(machine_id, deadline_s=1, force=True)
    await lab.engine.machines.detach(machine_id, data_disk, deadline_s=1)
    other_id, _ = await lab.launch(data_disk)
    assert b"kept" in await lab.type_line(other_id, "r1 200")


async def test_a_guest_lets_a_disk_go_when_it_boots_anew_before_the_deadline(lab: Lab) -> None:
    """What a guest without an operating system can do; one with one does it at once."""
    data_disk, content_id = await lab.disk(), lab.content()
    machine_id, _ = await lab.launch(data_disk)
    await lab.type_line(machine_id, "w1 200 taken along")
    await lab.engine.contents.seal({data_disk: content_id}, machine_id=machine_id)

    detaching = asyncio.create_task(lab.engine.machines.detach(machine_id, data_disk, deadline_s=10))
    await lab.reset(machine_id, until=detaching)
    await lab.engine.machines.attach(machine_id, data_disk)
    offset, _ = await lab.engine.consoles.tail(machine_id, max_bytes=0)
    await lab.engine.machines.reboot(machine_id, force=True, deadline_s=1)

    await lab.until(machine_id, b"READY", from_offset=offset)
    assert b"taken along" in await lab.type_line(machine_id, "r1 200")


async def test_attaching_is_refused_where_it_makes_no_sense(lab: Lab) -> None:
    machine_id, system_disk = await lab.launch()
    off_id, off_disk = await lab.launch()
    await lab.engine.machines.stop(off_id, deadline_s=1, force=True)
    machines, free_disk = lab.engine.machines, await lab.disk()

    for refused in (
        machines.attach(off_id, system_disk),
        machines.attach(machine_id, off_disk),
        machines.detach(machine_id, system_disk, deadline_s=1),
    ):
        with pytest.raises(EngineError) as refusal:
            await refused
        assert refusal.value.code == ErrorCode.ENGINE_FAILED
    for not_found in (
        machines.attach(machine_id, uuid4()),
        machines.attach(uuid4(), free_disk),
        machines.detach(uuid4(), free_disk, deadline_s=1),
    ):
        with pytest.raises(NotFound):
            await not_found
    await machines.detach(machine_id, free_disk, deadline_s=1)


async def test_a_disk_is_attached_to_one_machine_however_many_ask(lab: Lab) -> None:
    machines = [(await lab.launch())[0] for _ in range(2)]
    data_disk = await lab.disk()

    attaching = [lab.engine.machines.attach(machine_id, data_disk) for machine_id in machines]
    results = await asyncio.gather(*attaching, return_exceptions=True)

    assert sorted(type(result) for result in results if result) == [EngineError]
    assert len([result for result in results if result is None]) == 1


async def test_a_disk_is_attached_while_it_is_sealed_and_both_are_whole(lab: Lab) -> None:
    data_disk, content_id = await lab.disk(await lab.hello()), lab.content()
    machine_id, _ = await lab.launch()

    await asyncio.gather(
        lab.engine.contents.seal({data_disk: content_id}, machine_id=None),
        lab.engine.machines.attach(machine_id, data_disk),
    )
    await lab.engine.machines.reboot(machine_id, force=True, deadline_s=1)
    await lab.until_ready(machine_id, boots=2)
    await lab.type_line(machine_id, "w1 200 later")

    assert (await lab.read(content_id))[:MIB] == await lab.read(await lab.hello())


async def test_a_machine_takes_its_last_disk_while_it_runs_and_no_more(lab: Lab) -> None:
    most = lab.engine.capabilities.max_data_disks
    machine_id, _ = await lab.launch()

    for _ in range(most):
        await lab.engine.machines.attach(machine_id, await lab.disk(size_bytes=MIB))
    with pytest.raises(EngineError) as refusal:
        await lab.engine.machines.attach(machine_id, await lab.disk(size_bytes=MIB))

    assert refusal.value.code == ErrorCode.ENGINE_FAILED
    await lab.reopen()
    await lab.type_line(machine_id, "w0 200 still alive")


async def test_a_disk_grows_under_its_machine_and_without_one(lab: Lab) -> None:
    data_disk, content_id = await lab.disk(await lab.hello(), size_bytes=MIB), lab.content()
    await lab.engine.contents.seal({data_disk: content_id}, machine_id=None)
    for _ in range(2):
        await lab.engine.contents.extend(data_disk, 4 * MIB)
    machine_id, system_disk = await lab.launch(data_disk)

    for _ in range(2):
        await lab.engine.contents.extend(data_disk, 16 * MIB)
    await lab.engine.contents.extend(data_disk, 8 * MIB)
    await lab.engine.machines.reboot(machine_id, force=True, deadline_s=1)
    await lab.until_ready(machine_id, boots=2)

    assert b"00008000 ok" in await lab.type_line(machine_id, "s1")
    await lab.type_line(machine_id, "w1 7fff the end")
    later = lab.content()
    sealed = await lab.engine.contents.seal({system_disk: lab.content(), data_disk: later}, machine_id=machine_id)
    data, before = await lab.read(later), await lab.read(content_id)
    assert sealed.contents[later].virtual_bytes == len(data) == 16 * MIB
    assert data[:MIB] == before
    assert data[-SECTOR:].startswith(b"the end")
    assert not any(data[MIB:-SECTOR])


async def test_extending_a_disk_that_nobody_knows_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound):
        await lab.engine.contents.extend(uuid4(), MIB)


async def test_a_disk_grows_while_it_is_sealed(lab: Lab) -> None:
    machine_id, system_disk = await lab.launch()
    contents = [lab.content() for _ in range(3)]

    async def seal() -> None:
        for content_id in contents:
            await lab.engine.contents.seal({system_disk: content_id}, machine_id=machine_id)

    async def extend() -> None:
        for size in range(5, 9):
            await lab.engine.contents.extend(system_disk, size * MIB)

    await asyncio.gather(seal(), extend())

    await lab.engine.machines.reboot(machine_id, force=True, deadline_s=1)
    await lab.until_ready(machine_id, boots=2)
    assert b"00004000 ok" in await lab.type_line(machine_id, "s0")
