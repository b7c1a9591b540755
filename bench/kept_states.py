"""Keeping the state of a running machine, beside the two ways of copying it: python -m bench.kept_states [--gib 1 4 8] [--changed 0 1 5 50]

The machine's disk holds so many GiB, of which so many per cent are written again, in clusters all over it, before each state is kept.
Kept are backups; a full-ECS image is the same seal. Beside them stand a system disk image (a seal and a flat copy) and what one would do
without seals, QEMU's own full copy of a disk in use. Counted is what the engine does; a job adds milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from app.demo.hello import disk_image
from app.engines.base import ContentFacts, Known, MachineSpec
from app.engines.qemu.command import device_of, node_of
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.engines.qemu.layers import CLUSTER_BYTES
from app.engines.qemu.qmp import Monitor
from bench.backups import until
from bench.running import host_load
from bench.seal_against_copy import FIRST_MIB, GIB, MIB, TARGET, fill

ROUNDS = 3
MANY = 2000
"""From so many clusters on they are written in runs of RUN: one command for each would take minutes."""
RUN = 16
POLL_S = 0.01
CREATE = ("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER_BYTES}")


async def no_progress(done: int, total: int) -> None:
    pass


@dataclass
class Stage:
    """A machine that runs, with one disk that holds so much."""

    engine: QemuEngine
    folder: Path
    machine_id: UUID
    disk_id: UUID
    written_bytes: int

    @property
    def monitor(self) -> Monitor:
        """The machine's, for what no engine does."""
        return self.engine.machines._supervision.running[self.machine_id].monitor

    async def change(self, percent: float) -> int:
        """Write some of what is written once more, as the guest's device does; how many bytes, in whole clusters."""
        clusters = range(FIRST_MIB * MIB // CLUSTER_BYTES, self.written_bytes // CLUSTER_BYTES)
        wanted = int(len(clusters) * percent / 100)
        run = RUN if wanted > MANY else 1
        device = f"/machine/peripheral/{device_of(self.disk_id)}/virtio-backend"
        begins = random.sample(clusters[:-RUN:run], wanted // run)
        for begin in begins:
            write = f"write -q -P {random.randrange(1, 256)} {begin * CLUSTER_BYTES} {run * CLUSTER_BYTES}"
            await self.monitor.ask("human-monitor-command", {"command-line": f'qemu-io -d {device} "{write}"'})
        return len(begins) * run * CLUSTER_BYTES

    async def keep(self) -> tuple[float, ContentFacts, UUID]:
        """A seal: what a backup and a full-ECS image are."""
        content_id, began = uuid4(), time.perf_counter()
        sealed = await self.engine.contents.seal({self.disk_id: content_id}, machine_id=self.machine_id)
        return time.perf_counter() - began, sealed.contents[content_id], content_id

    async def system_disk_image(self) -> tuple[float, int]:
        """Seconds, and bytes."""
        copy_id, began = uuid4(), time.perf_counter()
        _, _, sealed_id = await self.keep()
        facts = await self.engine.contents.copy(sealed_id, copy_id, no_progress)
        await self.engine.contents.release(sealed_id)
        took_s = time.perf_counter() - began
        await self.engine.contents.release(copy_id)
        return took_s, facts.own_bytes

    async def live_copy(self) -> tuple[float, int]:
        """The same of QEMU's own copy of a disk in use."""
        path, began = self.folder / "copy.qcow2", time.perf_counter()
        virtual_bytes = self.written_bytes + GIB
        await asyncio.to_thread(subprocess.run, [*CREATE, str(path), str(virtual_bytes)], check=True)
        file = {"driver": "file", "filename": str(path)}
        await self.monitor.ask("blockdev-add", {"driver": "qcow2", "node-name": "copy", "file": file})
        node = node_of(self.engine._records.disks[self.disk_id])
        await self.monitor.ask(
            "blockdev-backup",
            {"job-id": "copy", "device": node, "target": "copy", "sync": "full", "auto-dismiss": False},
        )
        while (await self._job())["status"] != "concluded":  # noqa: ASYNC110 - not worth an event
            await asyncio.sleep(POLL_S)
        error = (await self._job()).get("error")
        if error:
            raise SystemExit(f"blockdev-backup failed: {error}")
        await self.monitor.ask("job-dismiss", {"id": "copy"})
        await self.monitor.ask("blockdev-del", {"node-name": "copy"})
        took_s, own_bytes = time.perf_counter() - began, path.stat().st_blocks * 512
        path.unlink()
        return took_s, own_bytes

    async def _job(self) -> dict[str, object]:
        jobs = await self.monitor.ask("query-jobs")
        assert isinstance(jobs, list)
        return next(job for job in jobs if job["id"] == "copy")


async def prepare(engine: QemuEngine, folder: Path, gib: int) -> Stage:
    path, hello, machine_id, disk_id = folder / "hello.raw", uuid4(), uuid4(), uuid4()
    path.write_bytes(disk_image())
    await engine.contents.ingest(path, format="raw", content_id=hello, progress=no_progress)
    await engine.contents.create_disk(disk_id, size_bytes=(gib + 1) * GIB, content_id=hello)
    await asyncio.to_thread(fill, folder / "store", str(disk_id), folder, FIRST_MIB * MIB, gib * GIB)
    await engine.machines.launch(machine_id, MachineSpec(hostname="bench", vcpus=1, ram_mib=64, disk_ids=[disk_id]))
    await until(engine, machine_id, b"READY", 0)  # it counts its boots on its disk
    return Stage(engine, folder, machine_id, disk_id, gib * GIB)


def line(what: str, took_s: float, own_bytes: int, more: str = "") -> None:
    print(f"  {what:22} {took_s * 1000:9.1f} ms {own_bytes / MIB:9.1f} MiB in the store{more}", flush=True)


async def measure(stage: Stage, percents: Sequence[float], copies: int) -> None:
    """Print what states take at one size."""
    print(f"\n{stage.written_bytes // GIB} GiB written, {host_load()}")
    await stage.keep()  # all that is there; from here on only what changes
    medians = []
    for percent in percents:
        times, own, excess = [], [], []
        for _ in range(ROUNDS if percent <= 5 else 1):
            changed = await stage.change(percent)
            took_s, facts, _ = await stage.keep()
            assert facts.changed_bytes == changed, (facts.changed_bytes, changed)
            times.append(took_s)
            own.append(facts.own_bytes)
            excess.append(facts.own_bytes - changed)
        medians.append(statistics.median(times))
        tables = f": {changed / MIB:.1f} changed, {max(excess) / MIB:.2f} of tables"
        line(f"backup, {percent:g} % changed", medians[-1], int(statistics.median(own)), tables)
    for what, make in (("system disk image", stage.system_disk_image), ("live full copy", stage.live_copy)):
        made = [await make() for _ in range(copies)]
        took_s = statistics.median(took_s for took_s, _ in made)
        ratios = " to ".join(f"{took_s / median:.0f}" for median in (max(medians), min(medians)))
        at_least = f" (at least {TARGET} is wanted)" if stage.written_bytes == 4 * GIB else ""
        line(what, took_s, made[0][1], f"; {ratios} times a backup{at_least}")


async def run(sizes: Sequence[int], percents: Sequence[float], copies: int) -> None:
    """Each size with a store of its own."""
    for gib in sizes:
        with tempfile.TemporaryDirectory(prefix="b") as name:
            folder = Path(name)
            engine = QemuEngine(QemuSettings(root=folder / "store", accelerator="tcg"))
            await engine.open()
            await engine.reconcile(Known(machines=(), disks=(), contents=()))
            stage = await prepare(engine, folder, gib)
            try:
                await measure(stage, percents, copies)
            finally:
                await engine.machines.delete(stage.machine_id)
                await engine.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time backups beside system disk images and full copies of a running machine."
    )
    parser.add_argument("--gib", type=int, nargs="+", default=[1], help="how much is written (default: 1)")
    parser.add_argument(
        "--changed", type=float, nargs="+", default=[0, 1, 5, 50], help="per cent of it (default: 0 1 5 50)"
    )
    parser.add_argument("--copies", type=int, default=1, help="copies of each kind and size (default: 1)")
    chosen = parser.parse_args()
    asyncio.run(run(chosen.gib, chosen.changed, chosen.copies))


if __name__ == "__main__":
    main()
