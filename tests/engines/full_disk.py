"""What happens when the host's disk is full, told in a file system of 6 MiB: python -m tests.engines.full_disk FOLDER."""

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from app.engines.base import MachineEventKind
from app.enums import ErrorCode
from app.errors import EngineError
from tests.engines.lab import MIB, QemuLab, no_progress


async def main(folder: Path) -> None:
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


asyncio.run(main(Path(sys.argv[1])))
