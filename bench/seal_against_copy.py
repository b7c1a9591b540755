"""How long a full-ECS image (a seal) takes beside a system disk image (a seal and a copy): python -m bench.seal_against_copy [MIB]...

The limit of a copy is `cp` of the same bytes, with fsync. A seal copies nothing, so it should not grow with the disk.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

from app.demo.hello import disk_image
from app.engines.base import Known, MachineSpec
from app.engines.qemu.engine import QemuEngine, QemuSettings

MIB = 1 << 20


async def no_progress(done: int, total: int) -> None:
    pass


async def machine_with(engine: QemuEngine, folder: Path, mib: int) -> tuple[UUID, UUID]:
    """A machine whose system disk holds so many MiB that do not compress, as if it had written them."""
    path = folder / f"{mib}.raw"
    with path.open("wb") as file:
        file.write(disk_image())
        for _ in range(mib):
            file.write(os.urandom(MIB))
    content_id, disk_id, machine_id = uuid4(), uuid4(), uuid4()
    await engine.contents.ingest(path, format="raw", content_id=content_id, progress=no_progress)
    path.unlink()
    await engine.contents.create_disk(disk_id, size_bytes=(mib + 64) * MIB, content_id=content_id)
    await engine.machines.launch(machine_id, MachineSpec(hostname="bench", vcpus=1, ram_mib=64, disk_ids=[disk_id]))
    return machine_id, disk_id


async def measure(engine: QemuEngine, folder: Path, mib: int) -> None:
    machine_id, disk_id = await machine_with(engine, folder, mib)
    seals, sealed = [], uuid4()
    for _ in range(5):
        began = time.perf_counter()
        sealed = uuid4()
        await engine.contents.seal({disk_id: sealed}, machine_id=machine_id)
        seals.append(time.perf_counter() - began)
    began = time.perf_counter()
    copy_id = uuid4()
    await engine.contents.copy(sealed, copy_id, no_progress)
    copy_s = time.perf_counter() - began
    layer = folder / "store" / "layers" / f"{engine.layer_of(copy_id)}.qcow2"
    began = time.perf_counter()
    dd = ["dd", f"if={layer}", f"of={folder / 'cp'}", "bs=1M", "conv=fsync", "status=none"]
    await asyncio.to_thread(subprocess.run, dd, check=True)
    cp_s = time.perf_counter() - began
    seal_s = sorted(seals)[2]
    print(
        f"{mib:6} MiB   seal {seal_s * 1000:6.1f} ms   copy {copy_s:6.2f} s   plain copy of the file {cp_s:6.2f} s"
        f"   copy/seal {copy_s / seal_s:6.0f}x"
    )
    await engine.machines.delete(machine_id)


async def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = QemuEngine(QemuSettings(root=folder / "store", accelerator="tcg"))
        await engine.open()
        await engine.reconcile(Known(machines=(), disks=(), contents=()))
        for mib in sizes:
            await measure(engine, folder, mib)
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main([int(size) for size in sys.argv[1:]] or [16, 256, 1024]))
