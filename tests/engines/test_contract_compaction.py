"""What every engine promises of short chains: the bytes stay, whoever uses them meanwhile."""

import asyncio
from uuid import UUID, uuid4

import pytest

from app.demo.hello import fill_sector
from app.enums import ErrorCode
from app.errors import EngineError, NotFound
from tests.engines.lab import MIB, Lab, QemuLab, digest, no_progress
from tests.engines.victim import Compact, CompactDisk, Point, kill_at

SECTOR = 512


class GivenUp(Exception):
    """Whoever asked no longer wants it."""


async def sealed_often(lab: Lab, machine_id: UUID, disk_id: UUID, times: int = 4) -> list[UUID]:
    """Contents of a running machine, one upon the other, each with a sector of its own."""
    contents = []
    for number in range(times):
        await lab.type_line(machine_id, f"w0 {0x200 + number:x} {number}")
        contents.append(lab.content())
        await lab.engine.contents.seal({disk_id: contents[-1]}, machine_id=machine_id)
    return contents


async def test_a_compacted_content_stands_on_one_layer_and_nothing_else_changes(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    contents = await sealed_often(lab, machine_id, disk_id)
    branch = await lab.disk(contents[2])
    digests = [digest(await lab.read(content_id)) for content_id in contents]
    facts = await lab.engine.contents.describe(contents[2])

    for _ in range(2):
        await lab.engine.contents.compact(contents[2], no_progress)

    assert [await lab.engine.contents.depth(id_) for id_ in (*contents, disk_id)] == [2, 3, 1, 5, 6]
    assert [digest(await lab.read(content_id)) for content_id in contents] == digests
    assert (await lab.engine.contents.describe(contents[2])).virtual_bytes == facts.virtual_bytes
    assert await lab.engine.contents.depth(await lab.disk(contents[2])) == 2
    other_id = lab.machine()
    await lab.engine.machines.launch(other_id, lab.spec(branch))
    await lab.until_ready(other_id, boots=2)
    assert b"22222" in await lab.type_line(other_id, "r0 202")
    assert lab.leavings() == []
    await lab.reopen()
    assert await lab.engine.contents.depth(contents[2]) == 1


async def test_the_chain_below_a_running_machine_is_shortened_while_it_writes(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    contents = await sealed_often(lab, machine_id, disk_id)
    digests = [digest(await lab.read(content_id)) for content_id in contents]
    filling = asyncio.create_task(lab.type_line(machine_id, "fill 0 400 1000 busy"))

    for _ in range(2):
        await lab.engine.contents.compact_disk(disk_id, no_progress)
    await filling

    assert await lab.engine.contents.depth(disk_id) == 2
    await lab.type_line(machine_id, "w0 210 later")
    assert b"later" in await lab.type_line(machine_id, "r0 210")
    after = lab.content()
    await lab.engine.contents.seal({disk_id: after}, machine_id=machine_id)
    data = await lab.read(after)
    for number in range(4):
        assert data[(0x200 + number) * SECTOR :].startswith(b"%d" % number * SECTOR)
    for lba in (0x400, 0x13FF):
        assert data[lba * SECTOR : (lba + 1) * SECTOR] == fill_sector(lba, b"busy")
    assert [digest(await lab.read(content_id)) for content_id in contents] == digests
    await lab.engine.machines.stop(machine_id, deadline_s=5, force=True)
    for content_id in contents:
        await lab.engine.contents.release(content_id)
        lab.contents.discard(content_id)
    assert lab.leavings() == []
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)
    assert b"later" in await lab.type_line(machine_id, "r0 210")


async def test_what_is_sealed_while_a_chain_is_shortened_moves_onto_the_short_one(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    contents = await sealed_often(lab, machine_id, disk_id)
    branch = await lab.disk(contents[1])

    async def progress(done: int, total: int) -> None:
        if done and len(contents) < 7:
            number = len(contents)
            await lab.type_line(machine_id, f"w0 {0x200 + number // 2:x} {number}")
            contents.append(lab.content())
            await lab.engine.contents.seal({disk_id: contents[-1]}, machine_id=machine_id)
            digests.append(digest(await lab.read(contents[-1])))

    digests = [digest(await lab.read(content_id)) for content_id in contents]
    await lab.engine.contents.compact_disk(disk_id, progress)
    depths = [await lab.engine.contents.depth(id_) for id_ in (*contents, disk_id, branch)]
    later = lab.content()
    await lab.engine.contents.seal({disk_id: later}, machine_id=machine_id)

    assert depths == [2, 3, 4, 1, 2, 3, 4, 5, 4]
    assert [digest(await lab.read(content_id)) for content_id in contents] == digests
    assert digest(await lab.read(later)) == digests[-1]
    await lab.engine.machines.stop(machine_id, deadline_s=5, force=True)
    for content_id in (contents[3], contents[5]):
        await lab.engine.contents.release(content_id)
        lab.contents.discard(content_id)
    assert lab.leavings() == []
    assert digest(await lab.read(contents[6])) == digests[6]
    await lab.reopen()
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)
    assert b"6666" in await lab.type_line(machine_id, "r0 203")


async def test_the_chain_below_a_machine_that_is_off_is_shortened(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    await sealed_often(lab, machine_id, disk_id, 2)
    await lab.engine.machines.stop(machine_id, deadline_s=5, force=True)

    for _ in range(2):
        await lab.engine.contents.compact_disk(disk_id, no_progress)

    assert await lab.engine.contents.depth(disk_id) == 2
    assert lab.leavings() == []
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)
    assert b"1111" in await lab.type_line(machine_id, "r0 201")


async def test_a_detached_disk_takes_the_flat_layer_of_a_compacted_content(lab: Lab) -> None:
    disk_id, contents = await lab.disk(await lab.hello()), [lab.content() for _ in range(3)]
    for content_id in contents:
        await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)
    copied = []

    async def progress(done: int, total: int) -> None:
        copied.append(done)

    await lab.engine.contents.compact(contents[-1], no_progress)
    await lab.engine.contents.compact_disk(disk_id, progress)

    assert copied == []
    assert await lab.engine.contents.depth(disk_id) == 2
    last = lab.content()
    await lab.engine.contents.seal({disk_id: last}, machine_id=None)
    assert digest(await lab.read(last)) == digest(await lab.read(contents[0]))
    assert lab.leavings() == []


async def test_seals_and_compactions_at_the_same_time_are_all_right(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    contents = await sealed_often(lab, machine_id, disk_id, 2)

    async def compact(id_: UUID) -> None:
        await lab.engine.contents.compact(id_, no_progress)

    async def seal() -> UUID:
        later = lab.content()
        await lab.engine.contents.seal({disk_id: later}, machine_id=machine_id)
        return later

    later, *_ = await asyncio.gather(
        seal(),
        lab.engine.contents.compact_disk(disk_id, no_progress),
        lab.engine.contents.compact_disk(disk_id, no_progress),
        *(compact(content_id) for content_id in contents),
        compact(contents[0]),
    )

    assert (await lab.read(later))[0x201 * SECTOR :].startswith(b"1111")
    assert await lab.engine.contents.depth(disk_id) <= 3
    assert [await lab.engine.contents.depth(content_id) for content_id in contents] == [1, 1]
    assert lab.leavings() == []


@pytest.mark.parametrize("is_disk", [True, False], ids=["disk", "content"])
async def test_a_compaction_that_is_given_up_changes_nothing(lab: Lab, *, is_disk: bool) -> None:
    disk_id, contents = await lab.disk(await lab.hello()), [lab.content() for _ in range(2)]
    for content_id in contents:
        await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)

    async def give_up(done: int, total: int) -> None:
        if done:
            raise GivenUp

    verb, id_ = (lab.engine.contents.compact_disk, disk_id) if is_disk else (lab.engine.contents.compact, contents[-1])
    before = await lab.engine.contents.depth(id_)
    with pytest.raises(GivenUp):
        await verb(id_, give_up)
    assert await lab.engine.contents.depth(id_) == before
    assert lab.leavings() == []


async def test_a_content_that_is_released_while_it_is_compacted_stays_away(lab: Lab) -> None:
    disk_id, content_id = await lab.disk(await lab.hello()), lab.content()
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)

    async def release(done: int, total: int) -> None:
        await lab.engine.contents.release(content_id)

    with pytest.raises(NotFound):
        await lab.engine.contents.compact(content_id, release)
    with pytest.raises(NotFound):
        await lab.engine.contents.compact_disk(uuid4(), no_progress)
    lab.contents.discard(content_id)
    assert lab.leavings() == []


DURING_A_CONTENT = [Point("subprocess.Popen", "convert"), Point("progress", "some"), Point("os.rename", "contents/")]
DURING_A_DISK = [
    Point("subprocess.Popen", "convert"),
    Point("monitor", "blockdev-reopen"),
    Point("monitor", "change-backing-file"),
    Point("monitor", "blockdev-del"),
    Point("os.rename", "contents/"),
]


@pytest.mark.parametrize("point", DURING_A_CONTENT, ids=str)
async def test_a_kill_while_a_content_is_compacted_loses_nothing(qemu: QemuLab, point: Point) -> None:
    disk_id, contents = await qemu.disk(await qemu.hello()), [qemu.content() for _ in range(2)]
    for content_id in contents:
        await qemu.engine.contents.seal({disk_id: content_id}, machine_id=None)
    sha256 = await qemu.engine.contents.verify(contents[-1], no_progress)
    await qemu.engine.close()

    await kill_at(qemu.root, Compact(contents[-1]), point)
    await qemu.open()

    assert qemu.leavings() == []
    assert await qemu.engine.contents.verify(contents[-1], no_progress) == sha256
    await qemu.engine.contents.compact(contents[-1], no_progress)
    assert await qemu.engine.contents.verify(contents[-1], no_progress) == sha256


@pytest.mark.parametrize("point", DURING_A_DISK, ids=str)
async def test_a_kill_while_the_chain_of_a_running_machine_is_shortened_loses_nothing(
    qemu: QemuLab, point: Point
) -> None:
    machine_id, disk_id = await qemu.launch()
    await sealed_often(qemu, machine_id, disk_id, 2)
    await qemu.type_line(machine_id, "w0 210 on top")
    await qemu.engine.close()

    await kill_at(qemu.root, CompactDisk(disk_id), point)
    await qemu.type_line_without_engine(machine_id, "w0 211 meanwhile")
    await qemu.open()

    assert qemu.leavings() == []
    assert b"0000" in await qemu.type_line(machine_id, "r0 200")
    await qemu.engine.contents.compact_disk(disk_id, no_progress)
    assert await qemu.engine.contents.depth(disk_id) == 2
    qemu.kill(machine_id)
    await qemu.until_off(machine_id)
    await qemu.engine.machines.start(machine_id)
    await qemu.until_ready(machine_id, boots=2)
    content_id = qemu.content()
    await qemu.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)
    data = await qemu.read(content_id)
    for lba, text in ((0x200, b"0000"), (0x201, b"1111"), (0x210, b"on top"), (0x211, b"meanwhile")):
        assert data[lba * SECTOR :].startswith(text)
    assert qemu.leavings() == []


async def test_a_kill_before_a_chain_of_a_machine_that_is_off_is_shortened_loses_nothing(qemu: QemuLab) -> None:
    disk_id, contents = await qemu.disk(await qemu.hello(), size_bytes=MIB), [qemu.content() for _ in range(3)]
    for content_id in contents[:2]:
        await qemu.engine.contents.seal({disk_id: content_id}, machine_id=None)
    await qemu.engine.close()

    await kill_at(qemu.root, CompactDisk(disk_id), Point("subprocess.Popen", "rebase"))
    await qemu.open()

    assert qemu.leavings() == []
    await qemu.engine.contents.compact_disk(disk_id, no_progress)
    await qemu.engine.contents.seal({disk_id: contents[2]}, machine_id=None)
    assert await qemu.read(contents[2]) == await qemu.read(await qemu.hello())


async def test_chains_say_what_stands_on_what(lab: Lab) -> None:
    hello = await lab.hello()
    disk_id, lower, upper = await lab.disk(hello), lab.content(), lab.content()
    branch = await lab.disk(hello)
    for content_id in (lower, upper):
        await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)

    chains = await lab.engine.contents.chains()
    await lab.engine.contents.compact(upper, no_progress)
    await lab.engine.contents.compact_disk(disk_id, no_progress)
    after = await lab.engine.contents.chains()

    (base,) = chains.contents[hello]
    assert chains.contents[lower][1:] == [base]
    assert chains.contents[upper][1:] == chains.contents[lower]
    assert chains.disks[disk_id][1:] == chains.contents[upper]
    assert chains.disks[branch][1:] == [base]
    (flat,) = after.contents[upper]
    assert after.disks[disk_id] == [chains.disks[disk_id][0], flat]
    assert (after.contents[lower], after.disks[branch]) == (chains.contents[lower], chains.disks[branch])
    assert (after.contents.keys(), after.disks.keys()) == ({hello, lower, upper}, {disk_id, branch})


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(bytes(512)), lambda path: path.unlink()])
async def test_nothing_is_swept_while_it_is_unknown_what_a_damaged_layer_stands_on(qemu: QemuLab, harm) -> None:
    disk_id, contents = await qemu.disk(await qemu.hello()), [qemu.content() for _ in range(3)]
    for content_id in contents:
        await qemu.engine.contents.seal({disk_id: content_id}, machine_id=None)
    sound = [await qemu.engine.contents.verify(content_id, no_progress) for content_id in contents]
    path = qemu.root / "layers" / f"{qemu.engine.layer_of(contents[1])}.qcow2"
    data = path.read_bytes()
    # Only by way of the damaged layer is it known who needs the one below.
    qemu.contents.remove(contents[0])
    harm(path)

    report = await qemu.reopen()
    with pytest.raises(EngineError) as refusal:
        await qemu.engine.contents.verify(contents[2], no_progress)
    await qemu.engine.contents.release(contents[2])
    qemu.contents.remove(contents[2])

    assert refusal.value.code == ErrorCode.DAMAGED
    assert report.removed == [f"content {contents[0]}"]
    path.write_bytes(data)
    await qemu.reopen()
    assert await qemu.engine.contents.verify(contents[1], no_progress) == sound[1]
    assert qemu.leavings() == []


@pytest.mark.parametrize("verb", ["create_disk", "copy"])
async def test_a_disk_or_content_that_is_given_up_is_there_with_its_layer_or_not_at_all(
    qemu: QemuLab, verb: str
) -> None:
    hello = await qemu.hello()
    for number in range(8):
        new_id = uuid4()
        folder = qemu.root / ("disks" if verb == "create_disk" else "contents")
        work = asyncio.create_task(
            qemu.engine.contents.create_disk(new_id, size_bytes=4 * MIB, content_id=hello)
            if verb == "create_disk"
            else qemu.engine.contents.copy(hello, new_id, no_progress)
        )
        # The moment is that at which its record is being written.
        while not any(str(new_id) in path.name for path in folder.iterdir()) and not work.done():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
        for _ in range(number):
            await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

        known = (folder / f"{new_id}.json").exists()
        (qemu.disks if verb == "create_disk" else qemu.contents).update({new_id} if known else ())
        assert qemu.leavings() == []
        chains = await qemu.engine.contents.chains()
        assert known == (new_id in {**chains.disks, **chains.contents})
