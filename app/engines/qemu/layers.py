"""Layers: qcow2 files that stand on one another, sealed ones never written again."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.engines.base import FileFacts, Progress
from app.engines.qemu import intake, reading
from app.engines.qemu.hashing import sha256_of
from app.engines.qemu.store import sync_folder
from app.engines.qemu.tools import Tools
from app.enums import ErrorCode
from app.errors import EngineError

SUFFIX = ".qcow2"
CLUSTER_BYTES = 65536
SPARE_BYTES = 64 << 20
"""How much larger a layer may become than was measured: tables that are begun and not filled."""
LOST = frozenset({errno.EIO, errno.ENOENT})
"""What reading a layer fails with when it is the layer's fault."""
OPTIONS = f"cluster_size={CLUSTER_BYTES},lazy_refcounts=off,compat=1.1"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Header:
    """What the start of a qcow2 file says."""

    backing: str | None
    virtual_bytes: int


def read_header(path: Path) -> Header | None:
    """The header of a qcow2 file; None when it has none, or an unfinished one (docs/interop/qcow2.txt of QEMU)."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
            if len(start) < 32 or not start.startswith(b"QFI\xfb"):
                return None
            offset, length, _, virtual_bytes = struct.unpack(">QIIQ", start[8:32])
            if not offset:
                return Header(None, virtual_bytes)
            file.seek(offset)
            backing = file.read(min(length, 1023))
    except FileNotFoundError:
        return None
    return Header(backing.decode(errors="replace"), virtual_bytes) if len(backing) == length else None


def count_clusters(path: Path) -> int:
    """How many clusters of data a layer of ours has, by its tables: all that was ever written to it."""
    with path.open("rb") as file:
        bits, _, _, length, start = struct.unpack(">IQIIQ", file.read(48)[20:])
        file.seek(start)
        tables = _entries(file.read(length * 8))
        total = 0
        for table in sorted(entry & reading.HOST_OFFSET for entry in tables if entry & reading.HOST_OFFSET):
            file.seek(table)
            total += sum(bool(entry & reading.HOST_OFFSET) for entry in _entries(file.read(1 << bits)))
    return total


def _entries(table: bytes) -> array[int]:
    entries = array("Q", table)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


class Layers:
    """All layers of a store. Names are random and never used twice, so an attempt that was cut short is in nobody's way."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self._folder, self._tools = folder, tools
        self._parents: dict[str, str | None] = {}
        self._pins: Counter[str] = Counter()
        self._sweeping = asyncio.Lock()

    @staticmethod
    def new_name() -> str:
        """A name for a layer to come."""
        return secrets.token_hex(12)

    def path(self, name: str) -> Path:
        """Where a layer lies."""
        return self._folder / (name + SUFFIX)

    @contextmanager
    def pinned(self, *names: str) -> Iterator[None]:
        """Keep layers from being swept while work on them is under way."""
        self.pin(*names)
        try:
            yield
        finally:
            self.unpin(*names)

    def pin(self, *names: str) -> None:
        """As `pinned`, until `unpin`."""
        self._pins.update(names)

    def unpin(self, *names: str) -> None:
        """Undo one `pin`."""
        self._pins.subtract(names)
        self._pins += Counter()

    async def create(self, name: str, *, virtual_bytes: int, backing: str | None) -> None:
        """Make an empty layer, on another or on nothing, durably. The caller has pinned both.

        Raises: EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED.
        """
        # -u: qemu-img need not open the layer below, which may be active in a machine that is just being sealed.
        below = ("-u", "-F", "qcow2", "-b", backing + SUFFIX) if backing else ()
        path = self.path(name)
        try:
            await self._tools.run("create", "-q", "-f", "qcow2", "-o", OPTIONS, *below, str(path), str(virtual_bytes))
            await asyncio.to_thread(_sync, path)
        except BaseException:
            await self.remove(name)
            raise

    async def convert(
        self,
        source: Path,
        *,
        format: str,
        name: str,
        progress: Progress,
        total_bytes: int,
        is_modest: bool = False,
        needed_bytes: int | None = None,
        backing: str | None = None,
    ) -> None:
        """Copy a disk file, with all that is below it, into a new flat layer, durably. What progress raises ends the work.

        `backing`: a layer with the same bytes as what is right below the one that is copied; the new one stands on that, and only what
        is in the one is copied. The caller has pinned it.
        `needed_bytes`: what a file from outside was measured to take; its limits follow from it.

        Raises: EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED; TIMED_OUT beyond the limits; DAMAGED when it cannot be read.
        """

        async def tell(percent: float) -> None:
            await progress(int(total_bytes * percent / 100), total_bytes)

        limits = None
        if needed_bytes is not None:
            limits = self._tools.limits_of(needed_bytes, written_bytes=needed_bytes + SPARE_BYTES)
        path = self.path(name)
        upon = ("-F", "qcow2", "-B", backing + SUFFIX) if backing else ()
        options = ("-W", "-m", "8", "-t", "writeback", "-f", format, "-O", "qcow2", "-o", OPTIONS, *upon)
        try:
            await progress(0, total_bytes)
            arguments = ("convert", "-p", *options, str(source), str(path))
            await self._tools.run_with_progress(
                *arguments, on_percent=tell, is_modest=is_modest, failure=ErrorCode.DAMAGED, limits=limits
            )
            await asyncio.to_thread(_sync, path)
        except BaseException:
            await self.remove(name)
            raise

    async def export(
        self, name: str, path: Path, *, options: Sequence[str], progress: Progress, total_bytes: int
    ) -> None:
        """Copy a layer, with all that is below it, into a disk file for others, durably. What progress raises ends the work."""

        async def tell(percent: float) -> None:
            await progress(int(total_bytes * percent / 100), total_bytes)

        try:
            await progress(0, total_bytes)
            # Without -t qemu-img syncs nothing: a VMDK takes a quarter of the time. It has its name only after the sync below.
            arguments = ("convert", "-p", "-f", "qcow2", *options, str(self.path(name)), str(path))
            await self._tools.run_with_progress(*arguments, on_percent=tell)
            await asyncio.to_thread(_sync, path)
        except BaseException:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise

    async def sha256(self, name: str, progress: Progress) -> str:
        """The SHA-256 of what a guest would read from a layer. The caller has pinned it.

        Raises: EngineError: DAMAGED: it cannot be read. What progress raises.
        """
        files = [self.path(layer) for layer in self.chain(name)]
        map_ = ("map", "--output=json", "-f", "qcow2", str(self.path(name)))
        lines = self._tools.lines(*map_, failure=ErrorCode.DAMAGED)
        with _as_damage():
            async with aclosing(lines):
                return await sha256_of(lines, files, progress, total_bytes=self.header(name).virtual_bytes)

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of what a guest would read from a layer. The caller has pinned it.

        Raises: EngineError: DAMAGED: it cannot be read.
        """
        paths = [self.path(layer) for layer in self.chain(name)]
        with _as_damage():
            return await asyncio.to_thread(reading.read, paths, offset, length)

    async def inspect(self, path: Path, *, format: str, max_bytes: int) -> FileFacts:
        """Look at a disk file from outside; see `app.engines.base.Contents.inspect`."""
        return await intake.inspect(self._tools, path, format=format, max_bytes=max_bytes)

    async def repair(self, name: str) -> None:
        """Give back the clusters that a killed machine has left unaccounted for.

        Raises: EngineError: ENGINE_FAILED when the layer is damaged.
        """
        # 3: leaks that were found and not repaired cost space, not data.
        await self._tools.run(
            "check", "-q", "-f", "qcow2", "-r", "leaks", str(self.path(name)), accept=frozenset({0, 3})
        )

    async def resize(self, name: str, virtual_bytes: int) -> None:
        """Make a layer that nobody has open larger, durably.

        Raises: EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED.
        """
        await self._tools.run("resize", "-q", "-f", "qcow2", str(self.path(name)), str(virtual_bytes))
        await asyncio.to_thread(_sync, self.path(name))

    async def rebase(self, name: str, backing: str) -> None:
        """Have a layer that nobody has open stand on another with the same bytes, durably. The caller has pinned both."""
        below = ("-u", "-F", "qcow2", "-b", backing + SUFFIX)
        await self._tools.run("rebase", "-q", "-f", "qcow2", *below, str(self.path(name)))
        await self.note_rebased(name)

    async def note_rebased(self, name: str) -> None:
        """Have it known, and durable, that a layer stands on another than before."""
        await asyncio.to_thread(_sync, self.path(name))
        # Not while a sweep reads headers: it would remember what it has read before.
        async with self._sweeping:
            self._parents.pop(name, None)

    async def remove(self, name: str) -> None:
        """Remove a layer that nothing reaches."""
        self._parents.pop(name, None)
        await asyncio.to_thread(self.path(name).unlink, missing_ok=True)

    def header(self, name: str) -> Header:
        """Raises: EngineError: DAMAGED when the layer is missing or broken."""
        header = read_header(self.path(name))
        if header is None:
            raise EngineError(ErrorCode.DAMAGED, f"layer {name} is missing or broken")
        return header

    def allocated_bytes(self, name: str) -> int:
        """What one layer takes in the file system."""
        try:
            return self.path(name).stat().st_blocks * 512
        except FileNotFoundError:
            raise EngineError(ErrorCode.DAMAGED, f"layer {name} is missing") from None

    def chain_bytes(self, name: str) -> int:
        """How much a flat copy of a layer takes at most."""
        return min(sum(map(self.allocated_bytes, self.chain(name))), self.header(name).virtual_bytes)

    def written_bytes(self, name: str) -> int:
        """What was written to one layer, in whole clusters, without the tables that say where they are.

        Raises: EngineError: DAMAGED when it is missing or broken.
        """
        try:
            return count_clusters(self.path(name)) * CLUSTER_BYTES
        except (FileNotFoundError, struct.error, ValueError):
            raise EngineError(ErrorCode.DAMAGED, f"layer {name} is missing or broken") from None

    def chain(self, name: str) -> list[str]:
        """A layer and all below it, top first."""
        names: list[str] = []
        current: str | None = name
        while current is not None and current not in names:
            names.append(current)
            current = self._parent(current)
        return names

    def _parent(self, name: str) -> str | None:
        if name in self._parents:
            return self._parents[name]
        # A layer in the making has a header without a backing name for a moment: that must not be remembered.
        is_finished = name not in self._pins
        header = read_header(self.path(name))
        parent = header.backing.removesuffix(SUFFIX) if header and header.backing else None
        if header and is_finished:
            self._parents[name] = parent
        return parent

    async def sweep(self, roots: Callable[[], Collection[str]]) -> list[str]:
        """Remove the layers that neither a root nor work under way reaches, and answer their names.

        Pins, then roots, are read after the folder is listed: a layer made meanwhile is not listed, one finished meanwhile is a root.
        While a layer that is needed cannot be read, nobody knows what it stands on: then nothing goes, so that it can be repaired.
        """
        async with self._sweeping:
            return await asyncio.to_thread(self._sweep, roots)

    def _sweep(self, roots: Callable[[], Collection[str]]) -> list[str]:
        found = {path.name.removesuffix(SUFFIX): path for path in self._folder.iterdir()}
        pins, finished, needed = list(self._pins), roots(), set[str]()
        for root in [*pins, *finished]:
            current: str | None = root
            while current is not None and current not in needed:
                needed.add(current)
                # One in the making stands on what is pinned with it.
                is_finished = current in finished or current != root
                if is_finished and current not in self._parents and read_header(self.path(current)) is None:
                    log.warning("layers_kept", unreadable=current)
                    return []
                current = self._parent(current)
        rubbish = found.keys() - needed
        for name in rubbish:
            found[name].unlink(missing_ok=True)
            self._parents.pop(name, None)
        if rubbish:
            sync_folder(self._folder)
        return sorted(rubbish)


@contextmanager
def _as_damage() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        is_layer = error.errno == errno.EIO or str(error.filename).endswith(SUFFIX)
        if is_layer and error.errno in LOST:
            raise EngineError(ErrorCode.DAMAGED, f"a layer cannot be read: {error.strerror}") from error
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
