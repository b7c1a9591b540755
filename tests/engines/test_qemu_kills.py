"""The service is killed in the middle of its work; the next one finds nothing lost and leaves nothing behind."""

import asyncio
from uuid import uuid4

import pytest

from app.engines.base import MachineState
from app.engines.qemu.process import find_machines
from app.errors import StartupError
from tests.engines.lab import MIB, QemuLab, digest
from tests.engines.victim import Attach, Copy, CreateDisk, Delete, Extend, Launch, Point, Seal, kill_at

BEFORE_THE_JOURNAL = Point("os.rename", "seal.json")
BEFORE_THE_FIRST_LAYER = Point("subprocess.Popen", "qemu-img")
BETWEEN_THE_LAYERS = Point("subprocess.Popen", "qemu-img", 2)
WHILE_THE_LAYERS_ARE_MADE_DURABLE = Point("open", "store/layers'", 2)
BEFORE_THE_CONTENTS = Point("os.rename", "store/contents/")
BETWEEN_THE_CONTENTS = Point("os.rename", "store/contents/", 2)
BEFORE_THE_DISKS = Point("os.rename", "store/disks/")
BETWEEN_THE_DISKS = Point("os.rename", "store/disks/", 2)
BEFORE_THE_JOURNAL_GOES = Point("os.remove", "seal.json")
DURING_A_SEAL = [
    BEFORE_THE_JOURNAL,
    BEFORE_THE_FIRST_LAYER,
    BETWEEN_THE_LAYERS,
    WHILE_THE_LAYERS_ARE_MADE_DURABLE,
    BEFORE_THE_CONTENTS,
    BETWEEN_THE_CONTENTS,
    BEFORE_THE_DISKS,
    BETWEEN_THE_DISKS,
    BEFORE_THE_JOURNAL_GOES,
]
DURING_A_LAUNCH = [
    Point("os.mkdir", "machines/"),
    Point("os.rename", "spec.json"),
    Point("os.posix_spawn", "qemu-system"),
    Point("os.rename", "process.json"),
    Point("socket.connect", "qmp.sock"),
]


async def machine_with_two_disks(lab: QemuLab) -> tuple[Seal, bytes]:
    data_disk = await lab.disk()
    machine_id, system_disk = await lab.launch(data_disk)
    for disk in range(2):
        await lab.type_line(machine_id, f"w{disk} 200 before")
    return Seal({system_disk: lab.content(), data_disk: lab.content()}, machine_id), b"before"


@pytest.mark.parametrize("point", DURING_A_SEAL, ids=str)
async def test_a_kill_during_the_seal_of_a_running_machine_loses_nothing(qemu: QemuLab, point: Point) -> None:
    seal, text = await machine_with_two_disks(qemu)
    assert seal.machine_id
    await qemu.engine.close()

    await kill_at(qemu.root, seal, point)
    await qemu.type_line_without_engine(seal.machine_id, "w1 201 meanwhile")
    report = await qemu.open()

    assert seal.machine_id in report.running
    there = [path.stem for path in (qemu.root / "contents").glob("*.json")]
    assert sum(str(content_id) in there for content_id in seal.contents.values()) in {0, 2}
    await qemu.engine.contents.seal(seal.contents, machine_id=seal.machine_id)
    for content_id in seal.contents.values():
        assert (await qemu.read(content_id))[0x200 * 512 :].startswith(text)
    assert b"meanwhile" in await qemu.type_line(seal.machine_id, "r1 201")
    assert qemu.leavings() == []


@pytest.mark.parametrize("point", [BETWEEN_THE_LAYERS, BEFORE_THE_CONTENTS, BETWEEN_THE_DISKS], ids=str)
async def test_a_kill_of_both_service_and_machine_during_a_seal_loses_nothing(qemu: QemuLab, point: Point) -> None:
    seal, text = await machine_with_two_disks(qemu)
    assert seal.machine_id
    await qemu.engine.close()

    await kill_at(qemu.root, seal, point)
    qemu.kill(seal.machine_id)
    report = await qemu.open()
    await qemu.engine.machines.start(seal.machine_id)
    await qemu.until_ready(seal.machine_id, boots=2)

    assert report.off == [seal.machine_id]
    await qemu.engine.contents.seal(seal.contents, machine_id=seal.machine_id)
    for content_id in seal.contents.values():
        assert (await qemu.read(content_id))[0x200 * 512 :].startswith(text)
    assert qemu.leavings() == []


@pytest.mark.parametrize("point", [BEFORE_THE_FIRST_LAYER, BEFORE_THE_CONTENTS, BEFORE_THE_DISKS], ids=str)
async def test_a_kill_during_the_seal_of_disks_without_a_machine_loses_nothing(qemu: QemuLab, point: Point) -> None:
    hello = await qemu.hello()
    seal = Seal({await qemu.disk(hello, size_bytes=MIB): qemu.content() for _ in range(2)}, None)
    await qemu.engine.close()

    await kill_at(qemu.root, seal, point)
    await qemu.open()
    await qemu.engine.contents.seal(seal.contents, machine_id=None)

    for content_id in seal.contents.values():
        assert await qemu.read(content_id) == await qemu.read(hello)
    assert qemu.leavings() == []


@pytest.mark.parametrize(
    "point",
    [
        Point("progress", "none"),
        Point("subprocess.Popen", "convert"),
        Point("progress", "some"),
        Point("os.rename", "contents/"),
    ],
    ids=str,
)
async def test_a_kill_during_a_copy_leaves_nothing_and_the_next_copy_is_whole(qemu: QemuLab, point: Point) -> None:
    content_id, new_id = await qemu.hello(), uuid4()
    await qemu.engine.close()

    await kill_at(qemu.root, Copy(content_id, new_id), point)
    await qemu.open()
    assert qemu.leavings() == []
    qemu.contents.add(new_id)
    await qemu.engine.contents.copy(content_id, new_id, lambda done, total: asyncio.sleep(0))

    assert digest(await qemu.read(new_id)) == digest(await qemu.read(content_id))


@pytest.mark.parametrize("point", [Point("subprocess.Popen", "create"), Point("os.rename", "disks/")], ids=str)
async def test_a_kill_while_a_disk_is_made_leaves_nothing(qemu: QemuLab, point: Point) -> None:
    content_id, disk_id = await qemu.hello(), uuid4()
    await qemu.engine.close()

    await kill_at(qemu.root, CreateDisk(disk_id, content_id), point)
    await qemu.open()

    assert qemu.leavings() == []


@pytest.mark.parametrize("point", DURING_A_LAUNCH, ids=str)
async def test_a_kill_during_a_launch_leaves_one_machine_or_none(qemu: QemuLab, point: Point) -> None:
    disk_id, machine_id = await qemu.disk(await qemu.hello()), qemu.machine()
    spec = qemu.spec(disk_id, expose_ports=[22])
    await qemu.engine.close()

    await kill_at(qemu.root, Launch(machine_id, spec), point)
    await qemu.open()
    facts = await qemu.engine.machines.launch(machine_id, spec)

    assert [endpoint.guest_port for endpoint in facts.endpoints] == [22]
    await qemu.until(machine_id, b"READY")
    assert qemu.pid(machine_id)


@pytest.mark.parametrize("point", DURING_A_LAUNCH, ids=str)
async def test_what_a_kill_during_a_launch_left_is_removed_when_nobody_knows_it(qemu: QemuLab, point: Point) -> None:
    disk_id, machine_id = await qemu.disk(await qemu.hello()), uuid4()
    await qemu.engine.close()

    await kill_at(qemu.root, Launch(machine_id, qemu.spec(disk_id)), point)
    await qemu.open()

    assert (await qemu.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert find_machines(qemu.root.resolve() / "machines") == {}
    assert qemu.leavings() == []


@pytest.mark.parametrize("point", [Point("os.rename", "removed-"), Point("shutil.rmtree", "removed-")], ids=str)
async def test_a_kill_during_a_deletion_leaves_nothing(qemu: QemuLab, point: Point) -> None:
    machine_id, _ = await qemu.launch()
    await qemu.engine.close()

    await kill_at(qemu.root, Delete(machine_id), point)
    qemu.machines.discard(machine_id)
    await qemu.open()

    assert (await qemu.engine.machines.describe(machine_id)).state is MachineState.GONE
    assert qemu.leavings() == []


@pytest.mark.parametrize(
    "point",
    [Point("os.rename", "spec.json"), Point("monitor", "blockdev-add"), Point("monitor", "device_add")],
    ids=str,
)
async def test_a_kill_during_an_attach_leaves_the_machine_as_its_spec_says(qemu: QemuLab, point: Point) -> None:
    data_disk = await qemu.disk(size_bytes=2 * MIB)
    machine_id, _ = await qemu.launch()
    await qemu.engine.close()

    await kill_at(qemu.root, Attach(machine_id, data_disk), point)
    await qemu.open()
    await qemu.engine.machines.attach(machine_id, data_disk)
    await qemu.engine.machines.reboot(machine_id, force=True, deadline_s=1)

    await qemu.until_ready(machine_id, boots=2)
    assert b"00001000 ok" in await qemu.type_line(machine_id, "s1")
    assert qemu.leavings() == []


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "off"])
async def test_a_kill_while_a_disk_grows_loses_nothing(qemu: QemuLab, *, is_running: bool) -> None:
    machine_id, disk_id = await qemu.launch()
    if not is_running:
        await qemu.engine.machines.stop(machine_id, deadline_s=1, force=True)
    await qemu.engine.close()

    point = Point("monitor", "block_resize") if is_running else Point("subprocess.Popen", "resize")
    await kill_at(qemu.root, Extend(disk_id), point)
    await qemu.open()
    await qemu.engine.contents.extend(disk_id, 8 * MIB)

    if is_running:
        await qemu.engine.machines.reboot(machine_id, force=True, deadline_s=1)
    else:
        await qemu.engine.machines.start(machine_id)
    await qemu.until_ready(machine_id, boots=2)
    assert b"00004000 ok" in await qemu.type_line(machine_id, "s0")


async def test_a_store_has_one_owner(qemu: QemuLab) -> None:
    with pytest.raises(StartupError, match="Another process owns the store"):
        await qemu.new_engine().open()
