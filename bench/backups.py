"""One hundred backups of one running machine in a row: python -m bench.backups [BACKUPS] [MIB]

Between two of them the guest writes so many MiB, and chains are shortened in the background as the service does it. The hundredth backup
should take no longer than the tenth, space should be the changes, tables, and one full layer for each 64, and a machine restored from any
of them should answer as soon. Counted is what the engine does; a job adds milliseconds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

from app.demo.hello import disk_image
from app.engines.base import ContentFacts, Known, MachineSpec
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.engines.qemu.qmp import open_socket
from app.settings import Settings
from app.upkeep.shortening import next_long, shorten

MIB = 1 << 20
DISK_BYTES = 1 << 30
MAX_LAYERS: int = Settings.model_fields["max_layers"].default


async def no_progress(done: int, total: int) -> None:
    pass


async def until(engine: QemuEngine, machine_id: UUID, text: bytes, offset: int) -> None:
    said = b""
    async for _, piece in engine.consoles.follow(machine_id, from_offset=offset):
        said += piece
        if text in said:
            return


async def launch(engine: QemuEngine, content_id: UUID) -> tuple[UUID, UUID, float]:
    """A machine, its disk, and how long it took to its first console line."""
    machine_id, disk_id, began = uuid4(), uuid4(), time.perf_counter()
    await engine.contents.create_disk(disk_id, size_bytes=DISK_BYTES, content_id=content_id)
    await engine.machines.launch(machine_id, MachineSpec(hostname="bench", vcpus=1, ram_mib=64, disk_ids=[disk_id]))
    await until(engine, machine_id, b"HELLO", 0)
    return machine_id, disk_id, time.perf_counter() - began


async def write(engine: QemuEngine, folder: Path, machine_id: UUID, *, at_mib: int, mib: int) -> None:
    """Have the guest write to its disk."""
    offset, _ = await engine.consoles.tail(machine_id, max_bytes=0)
    with await open_socket(folder / "store" / "machines" / str(machine_id), "console.sock") as connection:
        line = f"fill 0 {at_mib * MIB // 512:x} {mib * MIB // 512:x} x\n"
        await asyncio.get_running_loop().sock_sendall(connection, line.encode())
        await until(engine, machine_id, b" ok\r\n", offset)


async def keep_short(engine: QemuEngine, sealed: asyncio.Event, took: list[float]) -> None:
    """Shorten chains whenever something was sealed; how long each time took."""
    while await sealed.wait():
        sealed.clear()
        chains = await engine.contents.chains()
        while id_ := next_long(chains, max_layers=MAX_LAYERS, launched=()):
            began = time.perf_counter()
            await shorten(engine.contents, id_, chains)
            took.append(time.perf_counter() - began)
            chains = await engine.contents.chains()


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (folder / "store" / "layers").iterdir())


async def measure(engine: QemuEngine, folder: Path, *, backups: int, mib: int) -> None:
    path, hello = folder / "hello.raw", uuid4()
    path.write_bytes(disk_image())
    await engine.contents.ingest(path, format="raw", content_id=hello, progress=no_progress)
    machine_id, disk_id, _ = await launch(engine, hello)
    await until(engine, machine_id, b"READY", 0)
    taken: list[float] = []
    facts: list[ContentFacts] = []
    made: list[UUID] = []
    before, sealed_one, shortened = stored_bytes(folder), asyncio.Event(), list[float]()
    keeping = asyncio.create_task(keep_short(engine, sealed_one, shortened))
    for number in range(backups):
        at_mib = 1 + number * mib % (DISK_BYTES // MIB - 1 - mib)
        await write(engine, folder, machine_id, at_mib=at_mib, mib=mib)
        made.append(uuid4())
        began = time.perf_counter()
        sealed = await engine.contents.seal({disk_id: made[-1]}, machine_id=machine_id)
        taken.append(time.perf_counter() - began)
        facts.append(sealed.contents[made[-1]])
        sealed_one.set()
    await asyncio.sleep(1)
    keeping.cancel()
    print(f"{backups} backups, {mib} MiB written before each")
    for number in sorted({10, 25, 50, 75, backups}):
        if number <= backups:
            around = taken[max(number - 10, 0) : number]
            one = facts[number - 1]
            copy_id, _, first_line_s = await launch(engine, made[number - 1])
            await engine.machines.delete(copy_id)
            print(
                f"  the {number:3}th: {statistics.median(around) * 1000:6.1f} ms (median of the ten up to it), longest "
                f"{max(around) * 1000:6.1f} ms; changed {(one.changed_bytes or 0) >> 10} KiB, stored {one.own_bytes >> 10} KiB; "
                f"depth {await engine.contents.depth(made[number - 1])}, first console line {first_line_s:.2f} s"
            )
    changed, stored = sum(one.changed_bytes or 0 for one in facts), sum(one.own_bytes for one in facts)
    tables = (stored - changed) / backups
    print(
        f"  all: changed {changed / MIB:.1f} MiB, stored {stored / MIB:.1f} MiB: tables of {tables / 1024:.0f} KiB each"
    )
    chains = await engine.contents.chains()
    flat = [content_id for content_id in made if len(chains.contents[content_id]) == 1]
    full = sum([(await engine.contents.describe(content_id)).own_bytes for content_id in flat])
    times = ", ".join(f"{took * 1000:.0f} ms" for took in shortened) or "never"
    print(
        f"  the store grew by {(stored_bytes(folder) - before) / MIB:.1f} MiB; {len(flat)} of the layers are full ones, with "
        f"{full / MIB:.1f} MiB; the machine stands on {len(chains.disks[disk_id])} layers, the longest chain of a backup has "
        f"{max(len(chains.contents[content_id]) for content_id in made)}; shortened in {times}"
    )
    await engine.machines.delete(machine_id)


async def main(backups: int = 100, mib: int = 1) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = QemuEngine(QemuSettings(root=folder / "store", accelerator="tcg"))
        await engine.open()
        await engine.reconcile(Known(machines=(), disks=(), contents=()))
        await measure(engine, folder, backups=backups, mib=mib)
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
