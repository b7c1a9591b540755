"""What every engine promises of disks and contents."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest

from app.demo.hello import disk_image, fill_sector
from app.engines.base import ContentFacts
from app.enums import Consistency, ErrorCode
from app.errors import EngineError, NotFound
from tests.engines.lab import MIB, Lab, digest, no_progress

SECTOR = 512


def sector(data: bytes, lba: int) -> bytes:
    return data[lba * SECTOR : (lba + 1) * SECTOR]


async def test_an_ingested_file_is_kept_byte_for_byte_and_not_needed_afterwards(lab: Lab) -> None:
    data = disk_image(2 * MIB)

    content_id = await lab.ingest(data)

    facts = await lab.engine.contents.describe(content_id)
    assert facts.virtual_bytes == 2 * MIB
    assert 0 < facts.own_bytes < 2 * MIB
    assert await lab.read(content_id) == data


async def test_repeating_a_verb_answers_what_the_first_call_did(lab: Lab) -> None:
    content_id, copy_id = await lab.hello(), lab.content()
    disk_id = await lab.disk(content_id)

    first = await lab.engine.contents.copy(content_id, copy_id, no_progress)
    again = await lab.engine.contents.copy(content_id, copy_id, no_progress)
    await lab.engine.contents.create_disk(disk_id, size_bytes=4 * MIB, content_id=content_id)
    missing = lab.folder / "missing.raw"
    kept = await lab.engine.contents.ingest(missing, format="raw", content_id=content_id, progress=no_progress)

    described = await lab.engine.contents.describe(content_id)
    lab.contents.discard(content_id)
    await lab.engine.contents.release(content_id)
    late = await lab.engine.contents.copy(content_id, copy_id, no_progress)

    assert first == again == late
    assert kept == described
    assert lab.leavings() == []


async def test_a_disk_may_be_larger_than_what_it_starts_with_and_not_smaller(lab: Lab) -> None:
    content_id = await lab.hello()
    data_disk = await lab.disk(content_id, size_bytes=64 * MIB)

    machine_id, _ = await lab.launch(data_disk)

    assert b"00020000 ok" in await lab.type_line(machine_id, "s1")
    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.create_disk(uuid4(), size_bytes=MIB // 2, content_id=content_id)
    assert refusal.value.code == ErrorCode.ENGINE_FAILED


async def test_an_empty_disk_reads_as_nothing_and_keeps_what_is_written(lab: Lab) -> None:
    data_disk, content_id = await lab.disk(), lab.content()
    machine_id, _ = await lab.launch(data_disk)
    await lab.type_line(machine_id, "fill 1 100 8 written")

    await lab.engine.contents.seal({data_disk: content_id}, machine_id=machine_id)

    data = await lab.read(content_id)
    assert sector(data, 0x107) == fill_sector(0x107, b"written")
    assert not any(data[: 0x100 * SECTOR])
    assert not any(data[0x108 * SECTOR :])


async def test_a_seal_of_a_running_machine_keeps_all_its_disks_while_it_goes_on(lab: Lab) -> None:
    data_disk = await lab.disk()
    machine_id, system_disk = await lab.launch(data_disk)
    system_content, data_content = lab.content(), lab.content()
    await lab.type_line(machine_id, "w0 200 before")
    await lab.type_line(machine_id, "w1 200 before")

    wanted = {system_disk: system_content, data_disk: data_content}
    sealed = await lab.engine.contents.seal(wanted, machine_id=machine_id)
    await lab.type_line(machine_id, "w1 200 after")
    again = await lab.engine.contents.seal(wanted, machine_id=machine_id)

    assert sealed.consistency is Consistency.CRASH
    assert set(sealed.contents) == {system_content, data_content}
    assert again.contents.keys() == sealed.contents.keys()
    assert sector(await lab.read(data_content), 0x200).startswith(b"beforebefore")
    assert sector(await lab.read(system_content), 0x200).startswith(b"beforebefore")
    assert b"afterafter" in await lab.type_line(machine_id, "r1 200")


async def test_a_seal_of_a_stopped_machine_says_so(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    await lab.type_line(machine_id, "w0 200 before")
    await lab.engine.machines.stop(machine_id, deadline_s=10, force=False)
    content_id = lab.content()

    sealed = await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)

    assert sealed.consistency is Consistency.STOPPED
    await lab.engine.machines.start(machine_id)
    await lab.until_ready(machine_id, boots=2)
    await lab.type_line(machine_id, "w0 200 after")
    assert sector(await lab.read(content_id), 0x200).startswith(b"beforebefore")


async def test_a_disk_without_a_machine_can_be_sealed(lab: Lab) -> None:
    hello = await lab.hello()
    disk_id, content_id = await lab.disk(hello, size_bytes=MIB), lab.content()

    sealed = await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)

    assert sealed.consistency is Consistency.STOPPED
    assert await lab.read(content_id) == await lab.read(hello)
    assert lab.leavings() == []


async def test_only_the_disks_that_are_asked_for_are_sealed(lab: Lab) -> None:
    data_disk, content_id = await lab.disk(), lab.content()
    machine_id, system_disk = await lab.launch(data_disk)

    sealed = await lab.engine.contents.seal({system_disk: content_id}, machine_id=machine_id)

    assert list(sealed.contents) == [content_id]


async def test_seals_on_top_of_each_other_each_keep_their_instant(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    contents = [lab.content() for _ in range(4)]

    for number, content_id in enumerate(contents):
        await lab.type_line(machine_id, f"w0 200 {number}")
        await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)

    for number, content_id in enumerate(contents):
        assert sector(await lab.read(content_id), 0x200) == b"%d" % number * SECTOR


async def test_a_copy_is_whole_independent_and_says_how_far_it_is(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    await lab.type_line(machine_id, "fill 0 100 400 some bytes")
    content_id, copy_id = lab.content(), lab.content()
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)
    before = digest(await lab.read(content_id))
    told: list[tuple[int, int]] = []

    async def progress(done: int, total: int) -> None:
        told.append((done, total))

    facts = await lab.engine.contents.copy(content_id, copy_id, progress)
    await lab.engine.contents.release(content_id)

    assert facts == await lab.engine.contents.describe(copy_id)
    assert facts.own_bytes > 0x400 * SECTOR
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert digest(await lab.read(copy_id)) == before


async def test_a_copy_that_is_given_up_leaves_nothing(lab: Lab) -> None:
    content_id = await lab.hello()

    async def cancelled(done: int, total: int) -> None:
        if done > 0:
            raise RuntimeError("no longer wanted")

    with pytest.raises(RuntimeError, match="no longer wanted"):
        await lab.engine.contents.copy(content_id, uuid4(), cancelled)
    assert lab.leavings() == []


@pytest.mark.parametrize("seed", range(2))
async def test_contents_released_in_any_order_leave_the_others_their_bytes(lab: Lab, seed: int) -> None:
    disk_id = await lab.disk(await lab.hello())
    contents = [await lab.hello()]
    for _ in range(3):
        contents.append(lab.content())
        await lab.engine.contents.seal({disk_id: contents[-1]}, machine_id=None)
        lab.disks.add(branch := uuid4())
        await lab.engine.contents.create_disk(branch, size_bytes=4 * MIB, content_id=contents[-1])
        contents.append(lab.content())
        await lab.engine.contents.seal({branch: contents[-1]}, machine_id=None)
        await lab.engine.contents.delete_disk(branch)
        lab.disks.discard(branch)
    digests = {content_id: digest(await lab.read(content_id)) for content_id in contents}

    for content_id in random.Random(seed).sample(contents, len(contents)):
        await lab.engine.contents.release(content_id)
        await lab.engine.contents.release(content_id)
        lab.contents.discard(content_id)
        assert lab.leavings() == []
        with pytest.raises(NotFound):
            await lab.engine.contents.describe(content_id)

    lab.contents.add(last := uuid4())
    await lab.engine.contents.seal({disk_id: last}, machine_id=None)
    assert digest(await lab.read(last)) == digests[contents[-2]]


async def test_a_disk_outlives_the_content_that_it_starts_with(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch(user_data="note kept\n")
    content_id = lab.content()
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)
    branch = await lab.disk(content_id)
    await lab.engine.contents.release(content_id)
    lab.contents.discard(content_id)
    await lab.engine.machines.delete(machine_id)
    await lab.engine.contents.delete_disk(disk_id)
    lab.machines.discard(machine_id)
    lab.disks.discard(disk_id)

    successor = lab.machine()
    await lab.engine.machines.launch(successor, lab.spec(branch))

    assert b"NOTE kept" in await lab.until_ready(successor, boots=2)
    assert lab.leavings() == []


async def test_the_disk_of_a_running_machine_cannot_be_deleted(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()

    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.delete_disk(disk_id)

    assert refusal.value.code == ErrorCode.ENGINE_FAILED
    await lab.type_line(machine_id, "w0 200 still there")


async def test_ids_that_were_never_heard_of_are_not_found_and_forgetting_them_succeeds(lab: Lab) -> None:
    contents, nothing = lab.engine.contents, uuid4()

    for verb in (
        contents.describe(nothing),
        contents.copy(nothing, uuid4(), no_progress),
        contents.create_disk(uuid4(), size_bytes=MIB, content_id=nothing),
        contents.seal({nothing: uuid4()}, machine_id=None),
    ):
        with pytest.raises(NotFound):
            await verb
    await contents.release(nothing)
    await contents.delete_disk(nothing)
    assert lab.leavings() == []


@pytest.mark.parametrize("format", ["qcow2", "vmdk"])
async def test_a_file_of_another_format_is_refused_and_leaves_nothing(lab: Lab, format: str) -> None:
    path = lab.folder / "disk.raw"
    path.write_bytes(disk_image())

    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.ingest(path, format=format, content_id=uuid4(), progress=no_progress)

    assert refusal.value.code == ErrorCode.DAMAGED
    assert str(lab.folder) not in refusal.value.message
    assert lab.leavings() == []


async def test_everything_at_once_keeps_every_byte(lab: Lab) -> None:
    """Disks appear, are sealed, copied and go, all at the same time, while the store is swept again and again."""
    hello = await lab.hello()
    expected = digest(await lab.read(hello))

    async def live(number: int) -> UUID:
        disk_id, content_id, copy_id = await lab.disk(hello, size_bytes=MIB), lab.content(), lab.content()
        await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)
        await lab.engine.contents.delete_disk(disk_id)
        lab.disks.discard(disk_id)
        await lab.engine.contents.copy(content_id, copy_id, no_progress)
        await lab.engine.contents.release(content_id)
        lab.contents.discard(content_id)
        return copy_id

    copies = await asyncio.gather(*(live(number) for number in range(5)))

    for copy_id in copies:
        assert digest(await lab.read(copy_id)) == expected
    assert lab.leavings() == []


async def test_what_reconciling_does_not_know_it_removes(lab: Lab) -> None:
    kept, unknown = await lab.ingest(disk_image()), await lab.ingest(disk_image())
    disk_id = await lab.disk(unknown)
    facts: ContentFacts = await lab.engine.contents.describe(kept)
    lab.contents.discard(unknown)
    lab.disks.discard(disk_id)

    report = await lab.reopen()

    assert {f"content {unknown}", f"disk {disk_id}"} <= set(report.removed)
    assert await lab.engine.contents.describe(kept) == facts
    assert lab.leavings() == []
