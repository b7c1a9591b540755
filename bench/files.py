"""Files beside the least that they could cost: python -m bench.files [--gib 1] [--dense-gib 0.25] [--sparse-gib 1]

Taking a disk file in and sending it out, by the engine, stands beside `qemu-img convert` of the same file with its own defaults; nothing
is hashed. An upload over loopback stands beside `cp` and `sha256sum` of the same file. All by turns; what tools write is synced, for what
the service says that it has is durable. At last a dense and a sparse file are uploaded, and the most memory is told that the service had
meanwhile (VmHWM of its process).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

from app.engines.base import Known
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.transfer.client import Client, connected
from app.transfer.uploading import upload
from bench.running import host_load, service

MIB, GIB = 1 << 20, 1 << 30
CHUNK_BYTES = 16 * MIB
ROUNDS = 3
FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vpc": "VHD", "vhdx": "VHDX"}
"""As tools call them, and as people do."""

UPLOADS = "{ uploads(first: 100) { nodes { url } } }"

Work = Callable[[], Awaitable[object]]


async def no_progress(done: int, total: int) -> None:
    pass


def write_file(path: Path, size_bytes: int, *, is_dense: bool) -> None:
    """A file that cannot be compressed, or one of holes with a MiB of data in each GiB."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
        step = CHUNK_BYTES if is_dense else GIB
        for offset in range(0, size_bytes, step):
            file.seek(offset)
            file.write(random.randbytes(min(step if is_dense else MIB, size_bytes - offset)))
    os.sync()


async def tool(*command: object) -> None:
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit(f"{command[0]} failed")


async def by_turns(ours: Work, theirs: Work) -> tuple[float, float]:
    """Seconds of each, the medians; what one has still to write must not slow down the other."""
    times: Mapping[Work, list[float]] = {ours: [], theirs: []}
    for _ in range(ROUNDS):
        for work, took in times.items():
            began = time.perf_counter()
            await work()
            took.append(time.perf_counter() - began)
            await asyncio.to_thread(os.sync)
    return statistics.median(times[ours]), statistics.median(times[theirs])


def show(what: str, ours_s: float, theirs_s: float, other: str, at_most: float) -> None:
    print(
        f"  {what:14} {ours_s:7.2f} s, {other} {theirs_s:7.2f} s: ratio {ours_s / theirs_s:.2f} (at most {at_most} is wanted)",
        flush=True,
    )


class Conversions:
    """A disk file of each format, in and out."""

    def __init__(self, engine: QemuEngine, folder: Path) -> None:
        self._contents, self._folder = engine.contents, folder

    async def compare(self, raw: Path) -> None:
        """Print a line for each."""
        content_id = uuid4()
        await self._contents.ingest(raw, format="raw", content_id=content_id, progress=no_progress)
        for format_, name in FORMATS.items():
            path = self._folder / f"disk.{format_}"
            sent, converted = await by_turns(
                lambda f=format_, p=path: self._contents.export(content_id, p, format=f, progress=no_progress),  # type: ignore[misc]
                lambda f=format_: self._convert(raw, "raw", f),  # type: ignore[misc]
            )
            show(f"{name} out", sent, converted, "qemu-img convert", 1.3)
            taken, converted = await by_turns(
                lambda f=format_, p=path: self._take_in(p, f),  # type: ignore[misc]
                lambda f=format_, p=path: self._convert(p, f, "qcow2"),  # type: ignore[misc]
            )
            show(f"{name} in", taken, converted, "qemu-img convert", 1.3)
            path.unlink()
        await self._contents.release(content_id)

    async def _take_in(self, path: Path, format_: str) -> None:
        content_id: UUID = uuid4()
        await self._contents.ingest(path, format=format_, content_id=content_id, progress=no_progress)
        await self._contents.release(content_id)

    async def _convert(self, source: Path, from_format: str, to_format: str) -> None:
        target = self._folder / "converted"
        await tool("qemu-img", "convert", "-f", from_format, "-O", to_format, source, target)
        await tool("sync", target)
        target.unlink()


async def conversions(gib: float) -> None:
    """The engine beside its tool."""
    print(f"{gib:g} GiB, dense, {host_load()}")
    with tempfile.TemporaryDirectory(prefix="b") as name:
        folder = Path(name)
        raw = folder / "disk"
        await asyncio.to_thread(write_file, raw, int(gib * GIB), is_dense=True)
        engine = QemuEngine(QemuSettings(root=folder / "store", accelerator="tcg"))
        await engine.open()
        await engine.reconcile(Known(machines=(), disks=(), contents=()))
        try:
            await Conversions(engine, folder).compare(raw)
        finally:
            await engine.close()


class Uploads:
    """Files on their way to a service, which is another process on this host."""

    def __init__(self, client: Client, data: Path) -> None:
        self._client, self._data = client, data
        self._pid = next(pid for pid in Path("/proc").glob("[0-9]*") if self._is_service(pid))

    def _is_service(self, process: Path) -> bool:
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"serve" in words and str(self._data).encode() in words

    async def send(self, path: Path) -> None:
        """Upload a file, and forget it."""
        await upload(self._client, path)
        for sent in (await self._client.ask(UPLOADS))["nodes"]:
            headers = {"Tus-Resumable": "1.0.0"}
            async with self._client.session_for(sent["url"]).delete(sent["url"], headers=headers) as response:
                response.raise_for_status()

    async def compare(self, path: Path) -> None:
        """Print what it takes beside copying and hashing."""
        copy = path.with_suffix(".copy")

        async def copied_and_hashed() -> None:
            await tool("cp", "--sparse=never", path, copy)
            await tool("sync", copy)
            await tool("sha256sum", copy)
            copy.unlink()

        sent, copied = await by_turns(lambda: self.send(path), copied_and_hashed)
        show("upload", sent, copied, "cp and sha256sum", 1.5)

    async def watch(self, path: Path, what: str) -> None:
        """Print how much memory the service has at most meanwhile."""
        (self._pid / "clear_refs").write_text("5")  # the peak begins anew
        size, before, began = (await asyncio.to_thread(path.stat)).st_size, self._memory("VmRSS"), time.perf_counter()
        await self.send(path)
        took_s = time.perf_counter() - began
        print(
            f"  {what:14} {size / GIB:g} GiB in {took_s:.1f} s, {size / MIB / took_s:.0f} MiB/s; "
            f"resident before {before:.0f} MiB, at most {self._memory('VmHWM'):.0f} MiB",
            flush=True,
        )

    def _memory(self, which: str) -> float:
        """MiB."""
        lines = (self._pid / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


async def uploads(gib: float, dense_gib: float, sparse_gib: float) -> None:
    """The service beside tools."""
    with service() as (_, engine), tempfile.TemporaryDirectory(prefix="b") as name:
        data = engine.parent
        given = json.loads((data / "demo.json").read_bytes())
        async with connected(given["url"], given["tokens"]["alice"]) as client:
            there = Uploads(client, data)
            path = Path(name) / "disk"
            await asyncio.to_thread(write_file, path, int(gib * GIB), is_dense=True)
            await there.compare(path)
            for size_gib, what in ((dense_gib, "dense"), (sparse_gib, "sparse")):
                await asyncio.to_thread(write_file, path, int(size_gib * GIB), is_dense=what == "dense")
                await there.watch(path, what)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time disk files on their way in and out.")
    parser.add_argument("--gib", type=float, default=1, help="size of what is compared (default: 1)")
    parser.add_argument(
        "--dense-gib", type=float, default=0.25, help="of the dense upload, for its memory (default: 0.25)"
    )
    parser.add_argument("--sparse-gib", type=float, default=1, help="of the sparse one (default: 1)")
    chosen = parser.parse_args()
    asyncio.run(conversions(chosen.gib))
    asyncio.run(uploads(chosen.gib, chosen.dense_gib, chosen.sparse_gib))


if __name__ == "__main__":
    main()
