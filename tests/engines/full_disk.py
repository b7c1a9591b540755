"""What happens when the host's disk is full, told in a small file system: python -m tests.engines.full_disk guest|copies FOLDER."""

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from app.engines.base import MachineEventKind
from app.enums import ErrorCode
from app.errors import EngineError
from tests.engines.lab import MIB, QemuLab, no_progress
from tests.small_disk import fill


async def guest(folder: Path) -> None:
    """A guest fills the file system."""
    lab = QemuLab(folder, reserve_disk_bytes=MIB // 2)
    await lab.open()
    data_disk = await lab.disk(size_bytes=64 * MIB)
    machine_id, _ = await lab.launch(data_disk)
    watching = lab.engine.machines.watch()
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(2 * MIB))

    filling = asyncio.create_task(lab.type_line(machine_id, "fill 1 0 2800 a lot"))
    paused = await lab.event_of(watching, machine_id)
    print(paused.kind, flush=True)
    assert paused.kind is MachineEventKind.PAUSED_NO_SPACE, paused

    with pytest.raises(EngineError) as refusal:
        await lab.engine.contents.copy(await lab.hello(), uuid4(), no_progress)
    print(refusal.value.code, flush=True)
    assert refusal.value.code == ErrorCode.INSUFFICIENT_STORAGE

    ballast.unlink()
    resumed = await lab.event_of(watching, machine_id)
    print(resumed.kind, flush=True)
    assert resumed.kind is MachineEventKind.RESUMED, resumed
    assert b" ok" in await filling
    await lab.clear()


async def copies(folder: Path) -> None:
    """Somebody else fills the file system while a copy of any kind is made."""
    lab = QemuLab(folder, reserve_disk_bytes=4 * MIB)
    await lab.open()
    path = folder / "noise.raw"
    path.write_bytes(os.urandom(16 * MIB))
    base = await lab.ingest(path.read_bytes())
    # One for each compaction: what one has copied, another need not.
    disk, other = [await lab.disk(base, size_bytes=16 * MIB) for _ in range(2)]
    below, sealed = lab.content(), lab.content()
    for of, content_id in {disk: below, other: sealed}.items():
        await lab.engine.contents.seal({of: content_id}, machine_id=None)
    contents, out = lab.engine.contents, folder / "out.qcow2"

    async def filling(done: int, total: int) -> None:
        if not done:
            fill(folder)

    copying = {
        "ingest": lambda progress: contents.ingest(path, format="raw", content_id=lab.content(), progress=progress),
        "copy": lambda progress: contents.copy(base, lab.content(), progress),
        "export": lambda progress: contents.export(base, out, format="qcow2", progress=progress),
        "compact_disk": lambda progress: contents.compact_disk(disk, progress),
        "compact": lambda progress: contents.compact(sealed, progress),
    }
    for name, copy in copying.items():
        before = set(lab.root.rglob("*"))
        with pytest.raises(EngineError) as refusal:
            await copy(filling)
        assert refusal.value.code == ErrorCode.INSUFFICIENT_STORAGE, (name, refusal.value)
        assert set(lab.root.rglob("*")) == before, name
        assert not out.exists()
        (folder / "filling").unlink()
        await copy(no_progress)
        out.unlink(missing_ok=True)
        for content_id in lab.contents - {base, below, sealed}:  # space for the next
            await contents.release(content_id)
        print(name, flush=True)
    await lab.clear()


asyncio.run({"guest": guest, "copies": copies}[sys.argv[1]](Path(sys.argv[2])))
