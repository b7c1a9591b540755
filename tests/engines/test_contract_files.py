"""What every engine promises of files that go out, and of what it says of the bytes that it keeps."""

import asyncio
import json
import random
from collections.abc import Awaitable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.demo.hello import disk_image
from app.enums import ErrorCode
from app.errors import EngineError, NotFound
from tests.engines.lab import MIB, Lab, QemuLab, digest, no_progress
from tests.engines.victim import Export, Point, kill_at

FORMATS = {"qcow2": "qcow2", "raw": "raw", "vmdk": "vmdk", "vpc": "vpc", "vhdx": "vhdx"}


class GivenUp(Exception):
    """Whoever asked no longer wants to know."""


async def layered(lab: Lab) -> tuple[UUID, bytes]:
    """A content of several layers, with holes, written zeros and an end that is no whole cluster."""
    size = 3 * MIB + 512
    disk_id = await lab.disk(await lab.hello(), size_bytes=size)
    machine_id, _ = await lab.launch(disk_id)
    content_id = await lab.hello()
    for number, line in enumerate(["fill 1 100 280 below", "fill 1 180 3 above", "w1 1800 the end"]):
        await lab.type_line(machine_id, line)
        content_id = lab.content()
        await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)
        assert await lab.engine.contents.depth(content_id) == number + 2
    data = await lab.read(content_id)
    assert len(data) == size
    assert data[-512:].startswith(b"the end")
    return content_id, data


async def test_a_content_is_verified_and_exported_as_a_guest_sees_it(lab: Lab) -> None:
    content_id, data = await layered(lab)
    told: list[tuple[int, int]] = []

    async def progress(done: int, total: int) -> None:
        told.append((done, total))

    assert await lab.engine.contents.verify(content_id, progress) == digest(data)
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((0, len(data)), (len(data), len(data)))
    for format in FORMATS:
        path = lab.folder / f"disk.{format}"
        for _ in range(1 + (format == "raw")):
            await lab.engine.contents.export(content_id, path, format=format, progress=no_progress)
        back = await _read(path, format)
        # A VHDX has whole MiB, nothing of which is lost.
        assert back[: len(data)] == data
        assert len(back) == len(data) or (format == "vhdx" and not any(back[len(data) :]))
    assert {path.name for path in lab.folder.iterdir()} == {"store", *(f"disk.{format}" for format in FORMATS)}
    assert lab.leavings() == []


async def _read(path: Path, format: str) -> bytes:
    command = ("qemu-img", "convert", "-f", format, "-O", "raw", str(path), str(path) + ".raw")
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0
    return await asyncio.to_thread(_take, path.with_name(f"{path.name}.raw"))


def _take(path: Path) -> bytes:
    data = path.read_bytes()
    path.unlink()
    return data


async def test_an_empty_content_is_verified_as_zeros(lab: Lab) -> None:
    disk_id, content_id = await lab.disk(size_bytes=200 * MIB + 512), lab.content()
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=None)

    assert await lab.engine.contents.verify(content_id, no_progress) == digest(bytes(200 * MIB + 512))


async def test_an_exported_file_can_be_taken_in_again(lab: Lab) -> None:
    content_id, data = await lab.hello(), disk_image()
    path, again = lab.folder / "out.qcow2", lab.content()

    await lab.engine.contents.export(content_id, path, format="qcow2", progress=no_progress)
    await lab.engine.contents.ingest(path, format="qcow2", content_id=again, progress=no_progress)

    assert await lab.engine.contents.verify(again, no_progress) == digest(data)
    assert await lab.engine.contents.depth(again) == 1


@pytest.mark.parametrize("verb", ["export", "verify"])
async def test_what_progress_raises_ends_the_work_and_leaves_nothing(lab: Lab, verb: str) -> None:
    content_id, path = await lab.hello(), lab.folder / "out.raw"

    async def give_up(done: int, total: int) -> None:
        raise GivenUp

    work: Awaitable[object] = (
        lab.engine.contents.export(content_id, path, format="raw", progress=give_up)
        if verb == "export"
        else lab.engine.contents.verify(content_id, give_up)
    )
    with pytest.raises(GivenUp):
        await work
    assert [path.name for path in lab.folder.iterdir()] == ["store"]
    assert lab.leavings() == []


async def test_what_cannot_be_exported_is_refused(lab: Lab) -> None:
    contents, hello, path = lab.engine.contents, await lab.hello(), lab.folder / "out"

    for verb in (
        contents.export(uuid4(), path, format="raw", progress=no_progress),
        contents.verify(uuid4(), no_progress),
    ):
        with pytest.raises(NotFound):
            await verb
    with pytest.raises(NotFound):
        await contents.depth(uuid4())
    for where, format in ((path, "qed"), (lab.folder / "missing" / "out", "raw")):
        with pytest.raises(EngineError) as refusal:
            await contents.export(hello, where, format=format, progress=no_progress)
        assert refusal.value.code == ErrorCode.ENGINE_FAILED
        assert str(lab.folder) not in refusal.value.message
    assert lab.leavings() == []


async def test_a_content_that_is_released_meanwhile_is_exported_whole(lab: Lab) -> None:
    content_id, path = await lab.ingest(disk_image()), lab.folder / "out.raw"

    async def release(done: int, total: int) -> None:
        await lab.engine.contents.release(content_id)

    await lab.engine.contents.export(content_id, path, format="raw", progress=release)

    assert path.read_bytes() == disk_image()
    lab.contents.discard(content_id)
    await lab.reopen()
    assert lab.leavings() == []


@pytest.mark.parametrize("damage", ["ends too soon", "no header", "gone", "other bytes"])
async def test_damage_is_found(qemu: QemuLab, damage: str) -> None:
    content_id = await qemu.ingest(disk_image(2 * MIB)[:MIB] + b"x" * MIB)
    sound = await qemu.engine.contents.verify(content_id, no_progress)
    layer = json.loads((qemu.root / "contents" / f"{content_id}.json").read_bytes())["layer"]
    path = qemu.root / "layers" / f"{layer}.qcow2"
    data = path.read_bytes()

    match damage:
        case "ends too soon":
            path.write_bytes(data[: len(data) - 256 * 1024])
        case "no header":
            path.write_bytes(bytes(4096) + data[4096:])
        case "gone":
            path.unlink()
        case "other bytes":
            path.write_bytes(data.replace(b"x" * 512, b"y" * 512, 1))

    if damage == "other bytes":
        assert await qemu.engine.contents.verify(content_id, no_progress) != sound
    else:
        with pytest.raises(EngineError) as refusal:
            await qemu.engine.contents.verify(content_id, no_progress)
        assert refusal.value.code == ErrorCode.DAMAGED
        assert str(qemu.folder) not in refusal.value.message


@pytest.mark.parametrize(
    "point", [Point("subprocess.Popen", "convert"), Point("progress", "some"), Point("os.rename", "out.raw")], ids=str
)
async def test_a_kill_during_an_export_leaves_no_file(qemu: QemuLab, point: Point) -> None:
    content_id, path = await qemu.hello(), qemu.folder / "out.raw"
    await qemu.engine.close()

    await kill_at(qemu.root, Export(content_id, path), point)
    await qemu.open()

    assert [path.name for path in qemu.folder.iterdir()] == ["store"]
    assert qemu.leavings() == []
    await qemu.engine.contents.export(content_id, path, format="raw", progress=no_progress)
    assert path.read_bytes() == disk_image()


@pytest.mark.parametrize("verb", ["verify", "export", "copy"])
async def test_a_content_that_is_released_while_it_is_read_is_read_to_its_end_and_leaves_nothing(
    lab: Lab, verb: str
) -> None:
    data = random.Random(1).randbytes(MIB)
    content_id, copy_id, path = await lab.ingest(data), lab.content(), lab.folder / "export.raw"

    async def release(done: int, total: int) -> None:
        await lab.engine.contents.release(content_id)

    match verb:
        case "verify":
            read = await lab.engine.contents.verify(content_id, release)
        case "export":
            await lab.engine.contents.export(content_id, path, format="raw", progress=release)
            read = digest(path.read_bytes())
        case _:
            await lab.engine.contents.copy(content_id, copy_id, release)
            read = digest(await lab.read(copy_id))
    lab.contents.discard(content_id)

    assert read == digest(data)
    assert lab.leavings() == []
