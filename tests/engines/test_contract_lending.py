"""What every engine promises of the files that it lends: whole, the same for ever, and readable whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.demo.hello import disk_image
from app.enums import ErrorCode
from app.errors import EngineError, NotFound, Unsupported
from tests.engines.lab import MIB, Lab, QemuLab, no_progress
from tests.engines.test_contract_files import _read


async def lent_bytes(lab: Lab, content_id: UUID) -> bytes:
    lent = await lab.engine.files.lend(content_id)
    with lent.file:
        return await asyncio.to_thread(lent.path.read_bytes)


async def copied(lab: Lab, content_id: UUID) -> UUID:
    copy_id = lab.content()
    await lab.engine.contents.copy(content_id, copy_id, no_progress)
    return copy_id


async def test_the_file_of_a_content_that_stands_alone_is_a_disk_file_with_its_bytes(lab: Lab, tmp_path: Path) -> None:
    data = disk_image() + b"x" * 512
    content_id = await lab.ingest(data)

    for each in (content_id, await copied(lab, content_id)):
        lent = await lab.engine.files.lend(each)
        with lent.file:
            path = tmp_path / f"{each}.{lent.format}"
            path.write_bytes(lent.file.read())

        assert await _read(path, lent.format) == data


async def test_a_file_stays_readable_when_its_content_is_released(lab: Lab) -> None:
    content_id = await lab.ingest(b"precious" * MIB)
    lent = await lab.engine.files.lend(content_id)
    before = hashlib.sha256(await asyncio.to_thread(lent.path.read_bytes)).digest()

    await lab.engine.contents.release(content_id)
    lab.contents.discard(content_id)
    await lab.reopen()
    with lent.file:
        after = hashlib.sha256(await asyncio.to_thread(lent.path.read_bytes)).digest()

    assert after == before
    assert lab.leavings() == []
    with pytest.raises(NotFound):
        await lab.engine.files.lend(content_id)


async def test_a_file_is_the_same_whatever_is_done_with_its_content(lab: Lab) -> None:
    content_id = await copied(lab, await lab.hello())
    before = await lent_bytes(lab, content_id)

    disk_id, machine_id = await lab.disk(content_id), lab.machine()
    await lab.engine.machines.launch(machine_id, lab.spec(disk_id))
    await lab.until_ready(machine_id)
    await lab.type_line(machine_id, "w0 200 written")
    await lab.engine.contents.compact(content_id, no_progress)
    while_running = await lent_bytes(lab, content_id)
    await lab.engine.machines.delete(machine_id)
    await lab.reopen()

    assert while_running == before
    assert await lent_bytes(lab, content_id) == before


async def test_a_content_on_others_has_no_file_until_it_is_compacted(lab: Lab) -> None:
    machine_id, disk_id = await lab.launch()
    content_id = lab.content()
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)

    with pytest.raises(Unsupported):
        await lab.engine.files.lend(content_id)
    await lab.engine.contents.compact(content_id, no_progress)

    assert await lent_bytes(lab, content_id)


async def test_a_content_that_was_never_made_has_no_file(lab: Lab) -> None:
    with pytest.raises(NotFound):
        await lab.engine.files.lend(uuid4())


async def test_files_are_lent_by_processes_that_do_not_own_the_store(lab: Lab) -> None:
    content_id = await lab.ingest(disk_image())
    before = await lent_bytes(lab, content_id)
    other = lab.new_engine()  # as in a process that only answers requests: it is never opened

    lent = await other.files.lend(content_id)

    with lent.file:
        assert await asyncio.to_thread(lent.path.read_bytes) == before


@pytest.mark.parametrize("damage", [Path.unlink, lambda layer: layer.write_bytes(b"QFI")], ids=["missing", "broken"])
async def test_a_layer_that_is_missing_or_broken_is_damage(qemu: QemuLab, damage) -> None:
    content_id = await qemu.ingest(disk_image())
    layer = qemu.root / "layers" / f"{qemu.engine.layer_of(content_id)}.qcow2"
    kept = layer.read_bytes()
    damage(layer)

    with pytest.raises(EngineError) as refused:
        await qemu.engine.files.lend(content_id)
    layer.write_bytes(kept)

    assert refused.value.code == ErrorCode.DAMAGED
    assert await lent_bytes(qemu, content_id) == kept
