"""How machines start on QEMU, and how a start fails."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.engines.base import MachineEventKind, MachineState
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.engines.qemu.process import Process, find_machines
from app.enums import ErrorCode
from app.errors import EngineError, StartupError
from tests.engines.lab import QemuLab


@pytest.fixture
async def broken_qemu(tmp_path: Path) -> AsyncIterator[QemuLab]:
    """An engine whose QEMU complains and ends."""
    program = tmp_path / "broken-qemu"
    program.write_text('#!/bin/sh\necho "$PWD/console.log: nothing works today" >&2\nexit 3\n')
    program.chmod(0o755)
    lab = QemuLab(tmp_path, qemu=str(program))
    await lab.open()
    yield lab
    await lab.clear()


async def test_a_failed_launch_says_why_without_our_paths_and_leaves_nothing(broken_qemu: QemuLab) -> None:
    disk_id, machine_id = await broken_qemu.disk(await broken_qemu.hello()), uuid4()

    with pytest.raises(EngineError) as refusal:
        await broken_qemu.engine.machines.launch(machine_id, broken_qemu.spec(disk_id))

    assert refusal.value.code == ErrorCode.ENGINE_FAILED
    assert "ended with status 3: …/machines" in refusal.value.message
    assert "nothing works today" in refusal.value.message
    assert str(broken_qemu.folder) not in refusal.value.message
    assert (await broken_qemu.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert broken_qemu.leavings() == []


async def test_a_machine_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "silent-qemu"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    lab = QemuLab(tmp_path, qemu=str(program), start_timeout_s=0.3)
    await lab.open()
    disk_id = await lab.disk(await lab.hello())

    with pytest.raises(EngineError) as refusal:
        await lab.engine.machines.launch(uuid4(), lab.spec(disk_id))

    assert refusal.value.code == ErrorCode.TIMED_OUT
    assert lab.leavings() == []
    await lab.clear()


async def test_a_missing_tool_is_named_at_the_opening(tmp_path: Path) -> None:
    engine = QemuEngine(QemuSettings(root=tmp_path, qemu="qemu-system-none"))

    with pytest.raises(StartupError, match="qemu-system-none is not installed"):
        await engine.open()


async def test_only_so_many_machines_start_at_once(tmp_path: Path) -> None:
    lab = QemuLab(tmp_path, max_starting=1)
    await lab.open()
    disks = [await lab.disk(await lab.hello()) for _ in range(3)]
    machines = [lab.machine() for _ in disks]
    unanswered = 0

    async def watch_processes() -> None:
        nonlocal unanswered
        while True:
            found = find_machines(lab.root.resolve() / "machines")
            answering = [m for m in found if (await lab.engine.machines.describe(m)).state is MachineState.RUNNING]
            unanswered = max(unanswered, len(found) - len(answering))
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch_processes())
    launches = zip(machines, disks, strict=True)
    await asyncio.gather(*(lab.engine.machines.launch(machine, lab.spec(disk)) for machine, disk in launches))
    watching.cancel()
    await lab.clear()

    assert unanswered <= 1


async def test_a_process_that_took_a_machines_number_is_left_alone(qemu: QemuLab) -> None:
    machine_id, _ = await qemu.launch()
    await qemu.engine.machines.stop(machine_id, deadline_s=5, force=True)
    await qemu.engine.close()
    bystander = await asyncio.create_subprocess_exec("sleep", "600")
    record = {"pid": bystander.pid, "start_ticks": 1, "boot_id": "another"}
    (qemu.machine_folder(machine_id) / "process.json").write_text(json.dumps(record))

    report = await qemu.open()

    assert report.off == [machine_id]
    assert report.host_rebooted
    event = await qemu.event_of(qemu.engine.machines.watch(), machine_id)
    assert event.kind is MachineEventKind.DIED
    assert "the host was started anew" in event.detail
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_a_machine_that_stands_still_is_replaced_by_the_next_start(tmp_path: Path) -> None:
    lab = QemuLab(tmp_path, start_timeout_s=0.5)
    await lab.open()
    machine_id, _ = await lab.launch()
    await lab.engine.close()
    os.kill(lab.pid(machine_id), signal.SIGSTOP)

    report = await lab.open()
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)
    await lab.clear()

    assert report.off == [machine_id]


async def test_the_end_of_a_process_that_is_not_our_child_is_seen() -> None:
    parent = await asyncio.create_subprocess_exec(
        "sh", "-c", "sleep 600 >/dev/null & echo $!", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await parent.communicate()
    process = Process(int(said))

    process.kill()

    assert await process.wait(5)
    assert not process.is_running


async def test_a_machine_takes_as_many_disks_as_the_engine_says(qemu: QemuLab) -> None:
    disks = [await qemu.disk() for _ in range(qemu.engine.capabilities.max_data_disks)]

    machine_id, _ = await qemu.launch(*disks[:14])
    await qemu.engine.machines.delete(machine_id)
    qemu.machines.discard(machine_id)

    successor = qemu.machine()
    facts = await qemu.engine.machines.launch(successor, qemu.spec(await qemu.disk(), *disks))
    assert facts.state is MachineState.RUNNING


async def test_folders_and_seeds_are_for_the_owner_only(qemu: QemuLab) -> None:
    machine_id, _ = await qemu.launch()

    folder = qemu.machine_folder(machine_id)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "seed.iso").stat().st_mode & 0o777 == 0o600
    assert (folder / "spec.json").stat().st_mode & 0o777 == 0o600


async def test_a_long_console_loses_its_oldest_output_and_keeps_its_offsets(tmp_path: Path) -> None:
    lab = QemuLab(tmp_path, console_max_bytes=32 << 10)
    await lab.open()
    machine_id, _ = await lab.launch()
    log = lab.machine_folder(machine_id) / "console.log"
    with log.open("ab") as file:
        file.write(b"\nlong ago" * 8000)

    async with asyncio.timeout(10):
        while log.stat().st_blocks * 512 > 32 << 10:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)
    said = await lab.type_line(machine_id, "w0 200 new")
    begin, oldest = await lab.engine.consoles.tail(machine_id, max_bytes=100, from_offset=0)
    end, _ = await lab.engine.consoles.tail(machine_id, max_bytes=0)
    await lab.clear()

    assert b" ok" in said
    assert begin > 30_000
    assert oldest.count(b"long ago") >= 9
    assert end > 72_000
