"""What every engine promises of disk files from outside, and of single pieces of what it keeps."""

import asyncio
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from app.engines.base import FileFacts
from app.enums import ErrorCode
from app.errors import EngineError, NotFound
from tests.engines.lab import MIB, Lab, QemuLab, no_progress

MOST = 1 << 40


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


async def refused(lab: Lab, path: Path, format: str, *, max_bytes: int = MOST) -> ErrorCode:
    """The code that a look at a file is refused with, which tells nothing of where it lies."""
    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.inspect(path, format=format, max_bytes=max_bytes)
    assert str(lab.folder) not in refusal.value.message
    return ErrorCode(refusal.value.code)


@pytest.mark.parametrize("format", ["raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi", "qed", "qcow"])
async def test_a_file_is_measured_and_taken_in_within_what_it_needs(lab: Lab, format: str) -> None:
    data = os.urandom(MIB) + bytes(2 * MIB) + os.urandom(MIB)
    raw, path, content_id = lab.folder / "raw", lab.folder / "file", lab.content()
    raw.write_bytes(data)
    options = ("-o", "force_size=on") if format == "vpc" else ()
    qemu_img("convert", "-f", "raw", "-O", format, *options, raw, path)

    facts = await lab.engine.contents.inspect(path, format=format, max_bytes=MOST)
    assert facts.needed_bytes is not None
    made = await lab.engine.contents.ingest(
        path, format=format, content_id=content_id, progress=no_progress, needed_bytes=facts.needed_bytes
    )

    assert facts.virtual_bytes == len(data)
    assert 2 * MIB < made.own_bytes <= facts.needed_bytes < 5 * MIB
    assert await lab.read(content_id) == data
    assert lab.leavings() == []


async def test_of_a_disk_that_is_too_large_only_its_size_is_told(lab: Lab) -> None:
    path = lab.folder / "file"
    qemu_img("create", "-q", "-f", "qcow2", path, "1P")

    facts = await lab.engine.contents.inspect(path, format="qcow2", max_bytes=MOST)

    assert facts == FileFacts(virtual_bytes=1 << 50, needed_bytes=None)


async def test_a_file_that_is_not_whole_alone_is_damaged(lab: Lab) -> None:
    other, path = lab.folder / "secret", lab.folder / "file"
    other.write_bytes(b"secret" * 1000)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", other, path)
    backed = await refused(lab, path, "qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={lab.folder / 'data'}", path, "1M")
    split = await refused(lab, path, "qcow2")
    qemu_img("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, "1M")
    several = await refused(lab, path, "vmdk")
    secret = ("--object", "secret,id=s,data=abc", "-o", "encryption=on,encrypt.key-secret=s")
    qemu_img("create", "-q", "-f", "qcow", *secret, path, "1M")
    encrypted = await refused(lab, path, "qcow")

    assert [backed, split, several, encrypted] == ["DAMAGED"] * 4


async def test_what_cannot_be_looked_at_is_refused(lab: Lab) -> None:
    path = lab.folder / "file"
    path.write_bytes(os.urandom(MIB))

    assert await refused(lab, path, "qcow2") == ErrorCode.DAMAGED
    assert await refused(lab, path, "parallels") == ErrorCode.ENGINE_FAILED
    assert await refused(lab, path.with_name("missing"), "raw") == ErrorCode.ENGINE_FAILED


async def test_a_file_that_becomes_larger_than_was_measured_is_not_taken_in(lab: Lab) -> None:
    path = lab.folder / "file"
    path.write_bytes(b"x" * (70 * MIB))

    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.ingest(path, format="raw", content_id=uuid4(), progress=no_progress, needed_bytes=MIB)

    assert refusal.value.code == ErrorCode.DAMAGED
    assert lab.leavings() == []


@pytest.mark.parametrize(("limit", "value"), [("file_cpu_s", 1), ("file_wall_s", 0.2)])
async def test_a_file_that_asks_for_too_much_is_let_go(tmp_path: Path, limit: str, value: float) -> None:
    lab = QemuLab(tmp_path, **{limit: value})
    await lab.open()
    path = lab.folder / "file"
    qemu_img("create", "-q", "-f", "qcow2", path, "1P")

    seen = await refused(lab, path, "qcow2", max_bytes=1 << 60)
    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.ingest(
            path, format="qcow2", content_id=uuid4(), progress=no_progress, needed_bytes=MIB
        )

    assert seen == refusal.value.code == ErrorCode.TIMED_OUT
    assert lab.leavings() == []
    await lab.clear()


async def test_pieces_are_read_as_a_guest_sees_them(lab: Lab) -> None:
    size = 3 * MIB + 512
    disk_id = await lab.disk(await lab.ingest(b"below" * 100_000), size_bytes=size)
    machine_id, _ = await lab.launch(disk_id)
    content_id = lab.content()
    await lab.type_line(machine_id, "fill 1 100 280 above")
    await lab.type_line(machine_id, "w1 1800 the end")
    await lab.engine.contents.seal({disk_id: content_id}, machine_id=machine_id)
    data = await lab.read(content_id)
    read = lab.engine.contents.read

    pieces = [await read(content_id, offset, MIB) for offset in range(0, size, MIB)]
    odd = [await read(content_id, offset, length) for offset, length in ((51_199, 3), (499_990, 20), (size - 1, 9))]

    assert b"".join(pieces) == data
    assert data[3 * MIB :].startswith(b"the end")
    assert odd == [data[51_199:51_202], data[499_990:500_010], data[-1:]]
    assert await read(content_id, size, 1) == b""
    assert await asyncio.gather(*(read(content_id, 0, 8) for _ in range(9))) == [data[:8]] * 9
    with pytest.raises(NotFound):
        await read(uuid4(), 0, 1)


@pytest.mark.parametrize("damage", ["gone", "header", "cut"])
async def test_a_piece_of_a_damaged_content_is_not_made_up(qemu: QemuLab, damage: str) -> None:
    content_id = await qemu.ingest(b"x" * MIB)
    (path,) = (qemu.root / "layers").iterdir()
    match damage:
        case "gone":
            path.unlink()
        case "header":
            path.write_bytes(b"QFI\xfb")
        case "cut":
            os.truncate(path, 128 << 10)

    with pytest.raises(EngineError) as refusal:
        await qemu.engine.contents.read(content_id, 0, 8)

    assert refusal.value.code == ErrorCode.DAMAGED
    assert str(qemu.folder) not in refusal.value.message
