"""How much a launch through the engine costs over QEMU started by hand: python -m bench.launch_against_qemu [ROUNDS].

The limit is QEMU itself, on the same disk with the same devices. Both are timed to the first console line of the hello guest.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

from app.demo.hello import disk_image
from app.engines.base import Known, MachineSpec
from app.engines.qemu.engine import QemuEngine, QemuSettings

MARKER = b"HELLO boots="
SIZE_BYTES = 64 << 20


async def no_progress(done: int, total: int) -> None:
    pass


def by_hand(folder: Path, base: Path) -> float:
    began = time.perf_counter()
    disk = folder / f"{uuid4()}.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(disk), str(SIZE_BYTES)]
    subprocess.run(create, check=True)
    command = ["qemu-system-x86_64", "-machine", "q35,sata=off,usb=off,smbus=off", "-accel", "tcg,thread=multi"]
    command += ["-cpu", "max", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]
    command += ["-drive", f"file={disk},if=none,id=d", "-device", "virtio-blk-pci,drive=d,bootindex=1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = b""
        while MARKER not in said:
            said += os.read(process.stdout.fileno(), 4096)
        took = time.perf_counter() - began
        process.kill()
    return took


async def by_engine(engine: QemuEngine, base_id: UUID) -> tuple[float, float]:
    """Until launch answers, and until the first line."""
    disk_id, machine_id = uuid4(), uuid4()
    began = time.perf_counter()
    await engine.contents.create_disk(disk_id, size_bytes=SIZE_BYTES, content_id=base_id)
    spec = MachineSpec(hostname="bench", vcpus=1, ram_mib=64, disk_ids=[disk_id], expose_ports=[22])
    await engine.machines.launch(machine_id, spec)
    answered = time.perf_counter() - began
    said = b""
    async for _, piece in engine.consoles.follow(machine_id, from_offset=0):
        said += piece
        if MARKER in said:
            break
    took = time.perf_counter() - began
    await engine.machines.delete(machine_id)
    await engine.contents.delete_disk(disk_id)
    return answered, took


async def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hello.raw").write_bytes(disk_image())
        convert = [
            "qemu-img",
            "convert",
            "-f",
            "raw",
            "-O",
            "qcow2",
            str(folder / "hello.raw"),
            str(folder / "base.qcow2"),
        ]
        await asyncio.to_thread(subprocess.run, convert, check=True)
        engine = QemuEngine(QemuSettings(root=folder / "store", accelerator="tcg"))
        await engine.open()
        await engine.reconcile(Known(machines=(), disks=(), contents=()))
        base_id = uuid4()
        path = folder / "hello.raw"
        await engine.contents.ingest(path, format="raw", content_id=base_id, progress=no_progress)
        hand, answered, engine_s = [], [], []
        for _ in range(rounds):
            hand.append(await asyncio.to_thread(by_hand, folder, folder / "base.qcow2"))
            first, last = await by_engine(engine, base_id)
            answered.append(first)
            engine_s.append(last)
        await engine.close()
    for what, times in (
        ("QEMU by hand, first line", hand),
        ("engine, launch answered", answered),
        ("engine, first line", engine_s),
    ):
        print(f"{what:28} median {statistics.median(times) * 1000:6.0f} ms   best {min(times) * 1000:6.0f} ms")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
