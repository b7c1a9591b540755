"""Disks and contents of the QEMU engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from app.engines.base import Chains, ContentFacts, FileFacts, Progress, Sealed
from app.engines.qemu.agent import Agent
from app.engines.qemu.command import node_of
from app.engines.qemu.compaction import Compaction
from app.engines.qemu.exporting import Exports
from app.engines.qemu.failures import engine_errors, to_the_end
from app.engines.qemu.holding import Locks
from app.engines.qemu.intake import FORMATS
from app.engines.qemu.journal import Seals
from app.engines.qemu.layers import Layers
from app.engines.qemu.machines import QemuMachines
from app.engines.qemu.records import ContentRecord, Records
from app.engines.qemu.room import Room
from app.engines.qemu.store import Store
from app.enums import Consistency, ErrorCode
from app.errors import EngineError, NotFound

EXPORT_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "qcow2": ("-W", "-O", "qcow2", "-o", "compat=1.1"),
    "raw": ("-W", "-O", "raw"),
    # One file that VMware and all others read; streamOptimized would compress.
    "vmdk": ("-O", "vmdk", "-o", "subformat=monolithicSparse"),
    # force_size: else the size is rounded to what fits a geometry of cylinders and heads.
    "vpc": ("-O", "vpc", "-o", "subformat=dynamic,force_size=on"),
    "vhdx": ("-O", "vhdx", "-o", "subformat=dynamic"),
}
RESIZE_LIMIT_S = 60.0


class QemuContents:
    """See `app.engines.base.Contents`."""

    def __init__(
        self,
        store: Store,
        layers: Layers,
        records: Records,
        *,
        seals: Seals,
        machines: QemuMachines,
        reserve_disk_bytes: int,
    ) -> None:
        self._store, self._layers, self._records = store, layers, records
        self._exports, self._locks = Exports(store), Locks()
        self._room = Room(reserve_disk_bytes)
        self._compaction = Compaction(
            layers,
            records,
            machines,
            content_locks=self._locks,
            room=self._room,
        )
        self._seals, self._machines = seals, machines

    async def create_disk(self, disk_id: UUID, *, size_bytes: int, content_id: UUID | None) -> None:
        """Make a disk: a new layer on the content's, or on nothing."""
        if disk_id in self._records.disks:
            return
        record = self._content(content_id) if content_id else None
        if record and size_bytes < record.virtual_bytes:
            raise EngineError(ErrorCode.ENGINE_FAILED, "a disk cannot be smaller than the content it starts with")
        name, below = self._layers.new_name(), record.layer if record else None
        with engine_errors(self._store), self._layers.pinned(name, *([below] if below else [])):
            await self._layers.create(name, virtual_bytes=size_bytes, backing=below)
            try:
                await to_the_end(self._records.put_disks({disk_id: name}))
            except BaseException:
                if self._records.disks.get(disk_id) != name:
                    await self._layers.remove(name)
                raise

    async def delete_disk(self, disk_id: UUID) -> None:
        """Forget a disk, and remove the layers that only it reached.

        Raises: EngineError: ENGINE_FAILED when a running machine has it.
        """
        async with self._machines.disk_locks.held(disk_id):
            if self._machines.user_of(disk_id):
                raise EngineError(ErrorCode.ENGINE_FAILED, "a running machine has this disk")
            if disk_id in self._records.disks:
                with engine_errors(self._store):
                    await self._records.forget_disk(disk_id)
                    await self._layers.sweep(self._records.roots)

    async def extend(self, disk_id: UUID, size_bytes: int) -> None:
        """Make a disk larger."""
        with engine_errors(self._store):
            async with self._machines.having(disk_id) as running:
                layer = self._records.disks[disk_id]
                if self._layers.header(layer).virtual_bytes >= size_bytes:
                    return
                if running:
                    arguments = {"node-name": node_of(layer), "size": size_bytes}
                    await running.monitor.ask("block_resize", arguments, limit_s=RESIZE_LIMIT_S)
                else:
                    await self._layers.resize(layer, size_bytes)

    async def seal(self, contents: Mapping[UUID, UUID], *, machine_id: UUID | None, freeze: bool = False) -> Sealed:
        """Keep what disks hold now."""
        async with self._machines.held(machine_id) as running, self._machines.disk_locks.held(*contents):
            for disk_id in contents:
                if disk_id not in self._records.disks:
                    raise NotFound(f"no disk {disk_id}")
                if (user := self._machines.user_of(disk_id)) not in (None, machine_id):
                    raise EngineError(ErrorCode.ENGINE_FAILED, f"machine {user} runs on one of these disks")
            path = self._seals.path_of(machine_id, next(iter(contents.values())))
            if running and not set(contents) <= set(running.spec.disk_ids):
                raise EngineError(ErrorCode.ENGINE_FAILED, "not all of these disks are the machine's")
            with engine_errors(self._store):
                try:
                    agent = Agent(running.folder) if freeze and running else None
                    if running and agent and not await agent.is_there(running.monitor):
                        agent = None
                    return await self._seals.seal(path, contents, running.monitor if running else None, agent)
                except EngineError:
                    # The machine may have died of something else meanwhile; then its disks decide.
                    if not running or not await running.process.wait(1):
                        raise
                    await self._seals.recover(path, None)
                    if not all(content_id in self._records.contents for content_id in contents.values()):
                        raise
                    return await asyncio.to_thread(self._seals.sealed, contents)

    async def copy(self, content_id: UUID, new_id: UUID, progress: Progress) -> ContentFacts:
        """Make a flat copy of a content."""
        if new_id not in self._records.contents:  # else the original may be gone by now
            async with self._reading(content_id) as layer:
                size = self._layers.chain_bytes(layer)
                await self._convert(self._layers.path(layer), "qcow2", new_id, progress, size_bytes=size)
        return await self.describe(new_id)

    async def inspect(self, path: Path, *, format: str, max_bytes: int) -> FileFacts:
        """Look at a disk file that nobody trusts."""
        _check_format(format)
        with engine_errors(self._store):
            return await self._layers.inspect(path, format=format, max_bytes=max_bytes)

    async def ingest(
        self, path: Path, *, format: str, content_id: UUID, progress: Progress, needed_bytes: int | None = None
    ) -> ContentFacts:
        """Make a content from a disk file."""
        if content_id in self._records.contents:
            return await self.describe(content_id)
        _check_format(format)
        try:
            size = (await asyncio.to_thread(path.stat)).st_blocks * 512
        except FileNotFoundError:
            raise EngineError(ErrorCode.ENGINE_FAILED, f"there is no file {path.name}") from None
        size = size if needed_bytes is None else needed_bytes
        await self._convert(path, format, content_id, progress, size_bytes=size, needed_bytes=needed_bytes)
        return await self.describe(content_id)

    async def export(self, content_id: UUID, path: Path, *, format: str, progress: Progress) -> None:
        """Write a content to a disk file for others."""
        if (options := EXPORT_OPTIONS.get(format)) is None:
            raise EngineError(ErrorCode.ENGINE_FAILED, f"disk files of format {format!r} cannot be written")
        async with self._reading(content_id) as layer:
            size = self._layers.chain_bytes(layer)
            self._room.require(path.parent, size)
            async with self._exports.written(path) as pending:
                work = self._layers.export(layer, pending, options=options, progress=progress, total_bytes=size)
                await self._room.keep(path.parent, work)
            await progress(size, size)

    async def read(self, content_id: UUID, offset: int, length: int) -> bytes:
        """Some bytes of a content."""
        async with self._reading(content_id) as layer:
            return await self._layers.read(layer, offset, length)

    async def verify(self, content_id: UUID, progress: Progress) -> str:
        """The SHA-256 of a content as a guest sees it."""
        async with self._reading(content_id) as layer:
            return await self._layers.sha256(layer, progress)

    async def compact(self, content_id: UUID, progress: Progress) -> None:
        """Put a content on one layer of its own."""
        with engine_errors(self._store):
            await self._compaction.compact_content(content_id, progress)

    async def compact_disk(self, disk_id: UUID, progress: Progress) -> None:
        """Shorten the chain below a disk."""
        with engine_errors(self._store):
            await self._compaction.compact_disk(disk_id, progress)

    async def depth(self, id_: UUID) -> int:
        """On how many layers a content or disk stands."""
        layer = self._records.disks.get(id_) or self._content(id_).layer
        return len(await asyncio.to_thread(self._layers.chain, layer))

    async def chains(self) -> Chains:
        """What stands on what, by the layers' names."""
        return await asyncio.to_thread(self._chains)

    def _chains(self) -> Chains:
        contents, disks = self._records.contents.copy(), self._records.disks.copy()
        return Chains(
            contents={content_id: self._layers.chain(record.layer) for content_id, record in contents.items()},
            disks={disk_id: self._layers.chain(layer) for disk_id, layer in disks.items()},
        )

    async def describe(self, content_id: UUID) -> ContentFacts:
        """How a content lies in the store."""
        record = self._content(content_id)
        own_bytes = await asyncio.to_thread(self._layers.allocated_bytes, record.layer)
        return ContentFacts(virtual_bytes=record.virtual_bytes, own_bytes=own_bytes)

    async def release(self, content_id: UUID) -> None:
        """Forget a content, and remove the layers that only it reached."""
        with engine_errors(self._store):
            if waiting := self._seals.is_open_for(content_id):
                path, machine_id = waiting
                async with self._machines.held(machine_id) as running:
                    await self._seals.recover(path, running.monitor if running else None)
            async with self._locks.held(content_id):
                is_known = content_id in self._records.contents
                if is_known:
                    await to_the_end(self._records.forget_content(content_id))
            if is_known:
                await self._layers.sweep(self._records.roots)

    def _content(self, content_id: UUID) -> ContentRecord:
        try:
            return self._records.contents[content_id]
        except KeyError:
            raise NotFound(f"no content {content_id}") from None

    @asynccontextmanager
    async def _reading(self, content_id: UUID) -> AsyncIterator[str]:
        """Keep a content's layer meanwhile. If the content was released or compacted since, the layer goes in the end.

        Raises: NotFound. EngineError.
        """
        layer = self._content(content_id).layer
        with engine_errors(self._store):
            try:
                with self._layers.pinned(layer):
                    yield layer
            finally:
                record = self._records.contents.get(content_id)
                if record is None or record.layer != layer:
                    await self._layers.sweep(self._records.roots)

    async def _convert(
        self,
        source: Path,
        format: str,
        new_id: UUID,
        progress: Progress,
        *,
        size_bytes: int,
        needed_bytes: int | None = None,
    ) -> None:
        with engine_errors(self._store):
            self._room.require(self._store.layers, size_bytes)
            name = self._layers.new_name()
            with self._layers.pinned(name):
                work = self._layers.convert(
                    source,
                    format=format,
                    name=name,
                    progress=progress,
                    total_bytes=size_bytes,
                    needed_bytes=needed_bytes,
                )
                await self._room.keep(self._store.layers, work)
                try:
                    size = self._layers.header(name).virtual_bytes
                    # Before the record: what progress raises must not leave one whose layer is gone.
                    await progress(size_bytes, size_bytes)
                    record = ContentRecord(name, size, Consistency.STOPPED)
                    await to_the_end(self._records.put_contents({new_id: record}))
                except BaseException:
                    if new_id not in self._records.contents:
                        await self._layers.remove(name)
                    raise


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise EngineError(ErrorCode.ENGINE_FAILED, f"disk files of format {format!r} cannot be taken in")
