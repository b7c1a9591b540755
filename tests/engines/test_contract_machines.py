"""What every engine promises of machines."""

import asyncio
import time
from uuid import uuid4

import pytest

from app.engines.base import MachineEventKind, MachineState, StopHow
from app.enums import ErrorCode
from app.errors import EngineError, NotFound
from tests.engines.lab import Lab


async def test_a_launched_machine_boots_with_its_name_and_its_user_data(lab: Lab) -> None:
    machine_id, _ = await lab.launch(user_data="note kept\n")

    said = await lab.until_ready(machine_id)
    facts = await lab.engine.machines.describe(machine_id)

    assert b"HELLO boots=1 hostname=lab" in said
    assert b"USERDATA note kept" in said
    assert facts.state is MachineState.RUNNING
    assert facts.accelerator in {"kvm", "tcg"}


async def test_a_second_launch_under_the_same_id_answers_the_first(lab: Lab) -> None:
    disk_id, machine_id = await lab.disk(await lab.hello()), lab.machine()
    spec = lab.spec(disk_id, expose_ports=[22])

    first, second = await asyncio.gather(*(lab.engine.machines.launch(machine_id, spec) for _ in range(2)))

    assert first == second
    await lab.until_ready(machine_id)


async def test_exposed_ports_are_reachable_and_stay_over_a_reboot(lab: Lab) -> None:
    disk_id, machine_id = await lab.disk(await lab.hello()), lab.machine()

    facts = await lab.engine.machines.launch(machine_id, lab.spec(disk_id, expose_ports=[80, 22]))
    await lab.until_ready(machine_id)
    soft = await lab.engine.machines.reboot(machine_id, force=False, deadline_s=10)
    await lab.until_ready(machine_id, boots=2)
    hard = await lab.engine.machines.reboot(machine_id, force=True, deadline_s=10)
    await lab.until_ready(machine_id, boots=3)

    assert [endpoint.guest_port for endpoint in facts.endpoints] == [22, 80]
    assert soft.endpoints == hard.endpoints == facts.endpoints
    for endpoint in facts.endpoints:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.close()


async def test_a_guest_obeys_the_power_button_and_starts_again_on_the_same_disk(lab: Lab) -> None:
    machine_id, _ = await lab.launch()

    how = await lab.engine.machines.stop(machine_id, deadline_s=10, force=False)
    off = await lab.engine.machines.describe(machine_id)
    again = await lab.engine.machines.stop(machine_id, deadline_s=10, force=False)
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)

    assert (how, again) == (StopHow.GUEST, StopHow.WAS_OFF)
    assert off.state is MachineState.OFF


async def test_a_start_of_a_running_machine_answers_it(lab: Lab) -> None:
    machine_id, _ = await lab.launch()

    assert await lab.engine.machines.start(machine_id) == await lab.engine.machines.describe(machine_id)


async def test_a_deaf_guest_is_cut_off_at_the_deadline(lab: Lab) -> None:
    machine_id, _ = await lab.launch(user_data="deaf\n")

    how = await lab.engine.machines.stop(machine_id, deadline_s=0.2, force=False)

    assert how is StopHow.FORCED
    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.OFF


async def test_a_deaf_guest_is_reset_at_the_deadline_of_a_reboot(lab: Lab) -> None:
    machine_id, _ = await lab.launch(user_data="deaf\n")

    await lab.engine.machines.reboot(machine_id, force=False, deadline_s=0.2)

    await lab.until_ready(machine_id, boots=2)


async def test_a_forced_stop_waits_for_nobody_and_is_no_news(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    other_id, _ = await lab.launch()
    watching = lab.engine.machines.watch()

    how = await lab.engine.machines.stop(machine_id, deadline_s=60, force=True)
    lab.kill(other_id)

    assert how is StopHow.FORCED
    async with asyncio.timeout(5):
        assert (await anext(aiter(watching))).machine_id == other_id


async def test_a_guest_that_switches_itself_off_is_news(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    watching = lab.engine.machines.watch()

    await lab.type_line(machine_id, "off")

    assert (await lab.event_of(watching, machine_id)).kind is MachineEventKind.GUEST_OFF
    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.OFF
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)


async def test_a_killed_machine_is_news_within_a_second_and_starts_again(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    watching = lab.engine.machines.watch()

    began = time.monotonic()
    lab.kill(machine_id)
    event = await lab.event_of(watching, machine_id)

    assert time.monotonic() - began < 1
    assert event.kind is MachineEventKind.DIED
    assert event.detail
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)


async def test_what_happens_while_nobody_watches_is_told_first(lab: Lab) -> None:
    machine_id, _ = await lab.launch()

    lab.kill(machine_id)
    await lab.until_off(machine_id)

    assert (await lab.event_of(lab.engine.machines.watch(), machine_id)).kind is MachineEventKind.DIED


async def test_a_deleted_machine_is_gone_and_its_disk_stays(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()

    await lab.engine.machines.delete(machine_id)
    await lab.engine.machines.delete(machine_id)

    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.GONE
    with pytest.raises(NotFound):
        await lab.engine.machines.start(machine_id)
    successor = lab.machine()
    await lab.engine.machines.launch(successor, lab.spec(disk_id))
    await lab.until_ready(successor, boots=2)
    lab.machines.discard(machine_id)
    assert lab.leavings() == []


async def test_a_machine_that_nobody_launched_is_not_found(lab: Lab) -> None:
    machines, nobody = lab.engine.machines, uuid4()

    assert (await machines.describe(nobody)).state is MachineState.GONE
    for verb in (
        machines.start(nobody),
        machines.stop(nobody, deadline_s=1, force=True),
        machines.reboot(nobody, force=True, deadline_s=1),
    ):
        with pytest.raises(NotFound):
            await verb


async def test_a_machine_that_is_off_cannot_reboot(lab: Lab) -> None:
    machine_id, _ = await lab.launch()
    await lab.engine.machines.stop(machine_id, deadline_s=1, force=True)

    with pytest.raises(EngineError) as refusal:
        await lab.engine.machines.reboot(machine_id, force=False, deadline_s=1)

    assert refusal.value.code == ErrorCode.ENGINE_FAILED
    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.OFF


async def test_a_launch_on_a_disk_that_is_not_there_leaves_nothing(lab: Lab) -> None:
    machine_id = uuid4()

    with pytest.raises(EngineError):
        await lab.engine.machines.launch(machine_id, lab.spec(uuid4()))

    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert lab.leavings() == []


async def test_a_launch_without_the_memory_for_it_is_refused_and_leaves_nothing(lab: Lab) -> None:
    disk_id, machine_id = await lab.disk(await lab.hello()), uuid4()
    spec = lab.spec(disk_id)
    huge = type(spec)(hostname="huge", vcpus=1, ram_mib=1 << 30, disk_ids=[disk_id])

    with pytest.raises(EngineError) as refusal:
        await lab.engine.machines.launch(machine_id, huge)

    assert refusal.value.code == ErrorCode.NO_CAPACITY
    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert lab.leavings() == []


async def test_a_launch_that_is_given_up_leaves_nothing(lab: Lab) -> None:
    disk_id, machine_id = await lab.disk(await lab.hello()), uuid4()
    launch = asyncio.create_task(lab.engine.machines.launch(machine_id, lab.spec(disk_id)))

    done, _ = await asyncio.wait({launch}, timeout=0.03)
    launch.cancel()
    await asyncio.gather(launch, return_exceptions=True)

    assert not done
    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert lab.leavings() == []


async def test_machines_outlive_their_engine_and_are_found_again(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    off_id, _ = await lab.launch()
    await lab.engine.machines.stop(off_id, deadline_s=5, force=True)
    before = await lab.engine.machines.describe(machine_id)

    report = await lab.reopen()

    assert report.running == {machine_id: before}
    assert report.off == [off_id]
    assert not report.host_rebooted
    await lab.type_line(machine_id, "note still there")
    content_id = lab.content()
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)
    assert await lab.engine.machines.stop(machine_id, deadline_s=10, force=False) is StopHow.GUEST


async def test_ends_that_no_engine_saw_are_told_after_the_next_opening(lab: Lab) -> None:
    killed_id, _ = await lab.launch()
    left_id, _ = await lab.launch(user_data="deaf\n")
    await lab.engine.close()
    lab.kill(killed_id)
    await lab.type_line(left_id, "off")

    await lab.open()
    watching = lab.engine.machines.watch()
    async with asyncio.timeout(10):
        first, second = await anext(aiter(watching)), await anext(aiter(watching))

    told = {event.machine_id: event.kind for event in (first, second)}
    assert told == {killed_id: MachineEventKind.DIED, left_id: MachineEventKind.GUEST_OFF}


async def test_reconciling_removes_machines_that_nobody_knows(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    kept_id, _ = await lab.launch()
    lab.machines.discard(machine_id)
    lab.disks.discard(disk_id)

    report = await lab.reopen()

    assert set(report.running) == {kept_id}
    assert {f"machine {machine_id}", f"disk {disk_id}"} <= set(report.removed)
    assert (await lab.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert lab.leavings() == []
