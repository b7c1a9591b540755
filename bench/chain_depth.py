"""What long chains cost, and what shortening one costs a guest that writes all the time: python -m bench.chain_depth [DEPTH]...

For each depth: from the start of a launch from a content on so many layers to the guest's first line, before and after its compaction.
Then a machine on the deepest chain writes while the chain below it is shortened, and while nothing happens: how long it
takes to answer that a sector is written.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

from app.demo.hello import disk_image
from app.engines.base import Known, MachineSpec
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.engines.qemu.qmp import open_socket

MIB = 1 << 20
LAUNCHES = 5


async def no_progress(done: int, total: int) -> None:
    pass


async def chain(engine: QemuEngine, folder: Path, depth: int) -> UUID:
    """A content that boots, on so many layers."""
    path, content_id, disk_id = folder / "hello.raw", uuid4(), uuid4()
    path.write_bytes(disk_image())
    await engine.contents.ingest(path, format="raw", content_id=content_id, progress=no_progress)
    await engine.contents.create_disk(disk_id, size_bytes=64 * MIB, content_id=content_id)
    for _ in range(depth - 1):
        content_id = uuid4()
        await engine.contents.seal({disk_id: content_id}, machine_id=None)
    assert await engine.contents.depth(content_id) == depth
    return content_id


async def launch(engine: QemuEngine, content_id: UUID) -> tuple[UUID, UUID, float]:
    """A machine, its disk, and the seconds to its first line."""
    disk_id, machine_id = uuid4(), uuid4()
    await engine.contents.create_disk(disk_id, size_bytes=64 * MIB, content_id=content_id)
    began = time.perf_counter()
    spec = MachineSpec(hostname="bench", vcpus=1, ram_mib=32, disk_ids=[disk_id])
    await engine.machines.launch(machine_id, spec)
    await ready(engine, machine_id)
    return machine_id, disk_id, time.perf_counter() - began


async def ready(engine: QemuEngine, machine_id: UUID) -> None:
    heard = b""
    async for _, piece in engine.consoles.follow(machine_id, from_offset=0):
        heard += piece
        if b"READY" in heard:
            return


async def first_line_s(engine: QemuEngine, content_id: UUID) -> float:
    """The median of some launches."""
    times = []
    for _ in range(LAUNCHES):
        machine_id, _, took_s = await launch(engine, content_id)
        times.append(took_s)
        await engine.machines.delete(machine_id)
    return statistics.median(times)


async def writes_s(folder: Path, machine_id: UUID, until: asyncio.Future[object]) -> list[float]:
    """How long each write of a sector takes, as its console tells, until something is done."""
    times: list[float] = []
    connection = await open_socket(folder / "store" / "machines" / str(machine_id), "console.sock")
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    while not until.done():
        began = time.perf_counter()
        writer.write(b"w0 %x x\n" % (0x1000 + len(times)))
        await reader.readuntil(b" ok\r\n")
        times.append(time.perf_counter() - began)
    writer.close()
    return times


async def disturbance(engine: QemuEngine, folder: Path, content_id: UUID) -> None:
    machine_id, disk_id, _ = await launch(engine, content_id)
    quiet = await writes_s(folder, machine_id, asyncio.ensure_future(asyncio.sleep(3)))
    began = time.perf_counter()
    work = asyncio.ensure_future(engine.contents.compact_disk(disk_id, no_progress))
    busy = await writes_s(folder, machine_id, work)
    await work
    took_s = time.perf_counter() - began
    print(
        f"a write answered in   median {statistics.median(quiet) * 1000:5.1f} ms, at worst {max(quiet) * 1000:5.1f} ms"
        f"   while nothing else happens\n"
        f"                      median {statistics.median(busy) * 1000:5.1f} ms, at worst {max(busy) * 1000:5.1f} ms"
        f"   while its chain is shortened, which takes {took_s * 1000:.0f} ms"
    )
    await engine.machines.delete(machine_id)


async def main(depths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = QemuEngine(QemuSettings(root=folder / "store", accelerator="tcg"))
        await engine.open()
        await engine.reconcile(Known(machines=(), disks=(), contents=()))
        for depth in depths:
            content_id = await chain(engine, folder, depth)
            before_s = await first_line_s(engine, content_id)
            if depth == max(depths):
                await disturbance(engine, folder, content_id)
            await engine.contents.compact(content_id, no_progress)
            after_s = await first_line_s(engine, content_id)
            print(f"depth {depth:4}   first line after {before_s:5.2f} s   compacted {after_s:5.2f} s")
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main([int(depth) for depth in sys.argv[1:]] or [1, 16, 64]))
