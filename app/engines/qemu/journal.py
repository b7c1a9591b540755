"""Seals: what several disks hold is kept at one instant, with a journal, so that a kill at any point loses nothing.

1. the journal: which disks get which contents, from which layers to which; 2. new empty layers on the old ones; 3. a running machine
switches to them in one transaction; 4. contents, then disks, name their layers; 5. the journal goes. Recovery looks where the machine
writes: to the new layers, then 4 and 5 are done; to the old ones, then the new layers go. Where no machine runs, whole new layers are
the same disks as the old ones, so the work is finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import structlog

from app.engines.base import ContentFacts, Sealed
from app.engines.qemu.agent import FREEZE_LIMIT_S, Agent
from app.engines.qemu.command import block_node, device_of, node_of
from app.engines.qemu.failures import gather_all, to_the_end
from app.engines.qemu.layers import SUFFIX, Layers, read_header
from app.engines.qemu.qmp import Monitor, MonitorFailed
from app.engines.qemu.records import ContentRecord, Records
from app.engines.qemu.store import Store, as_id, read_record, remove_durably, write_durably
from app.enums import Consistency, ErrorCode
from app.errors import EngineError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One disk of a seal: it goes on from the old layer to the new one, and the old one becomes the content."""

    disk_id: UUID
    content_id: UUID
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Journal:
    """A seal under way."""

    entries: tuple[Entry, ...]
    consistency: Consistency

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers it is about."""
        return tuple(name for entry in self.entries for name in (entry.old, entry.new))

    def as_json(self) -> dict[str, object]:
        """As it is kept in its file."""
        entries = [
            {"disk": str(e.disk_id), "content": str(e.content_id), "old": e.old, "new": e.new} for e in self.entries
        ]
        return {"consistency": self.consistency, "entries": entries}

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Journal:
        """The inverse of `as_json`."""
        kept = record["entries"]
        assert isinstance(kept, list)
        entries = tuple(Entry(UUID(e["disk"]), UUID(e["content"]), e["old"], e["new"]) for e in kept)
        return cls(entries, Consistency(str(record["consistency"])))


class Seals:
    """Seals of one store. A caller holds the lock of the machine whose disks are concerned."""

    def __init__(self, store: Store, layers: Layers, records: Records) -> None:
        self._store, self._layers, self._records = store, layers, records
        self._open: dict[Path, Journal] = {}

    def load(self) -> None:
        """Find the journals that an earlier run has left; their layers are kept until they are recovered."""
        self._open.clear()
        for path in [*self._store.machines.glob("*/seal.json"), *self._store.seals.glob("*.json")]:
            if (record := read_record(path)) is None:
                path.unlink()
            else:
                self._remember(path, Journal.from_json(record))

    def path_of(self, machine_id: UUID | None, content_id: UUID) -> Path:
        """Where the journal of a seal lies: with its machine, or by itself when the disks have none."""
        folder = self._store.machine(machine_id) if machine_id else None
        return folder / "seal.json" if folder and folder.is_dir() else self._store.seals / f"{content_id}.json"

    def open_journals(self) -> dict[Path, UUID | None]:
        """Journals that wait to be recovered, with their machines."""
        return {path: as_id(path.parent.name) for path in self._open}

    def is_open_for(self, content_id: UUID) -> tuple[Path, UUID | None] | None:
        """The journal, and its machine, that a content is waiting in."""
        for path, journal in self._open.items():
            if any(entry.content_id == content_id for entry in journal.entries):
                return path, as_id(path.parent.name)
        return None

    def open_for_disk(self, disk_id: UUID) -> Path | None:
        """The journal that a disk is waiting in."""
        for path, journal in self._open.items():
            if any(entry.disk_id == disk_id for entry in journal.entries):
                return path
        return None

    async def seal(
        self, path: Path, wanted: Mapping[UUID, UUID], monitor: Monitor | None, agent: Agent | None = None
    ) -> Sealed:
        """Seal disks (disk id -> content id); `monitor` is that of the machine that runs on them, `agent` that of its guest.

        Raises: EngineError, with nothing of it left.
        """
        await self.recover(path, monitor)
        if all(content_id in self._records.contents for content_id in wanted.values()):
            return await asyncio.to_thread(self.sealed, wanted)
        if any(content_id in self._records.contents for content_id in wanted.values()):
            raise EngineError(ErrorCode.ENGINE_FAILED, "some of these contents exist already, from another seal")
        entries = tuple(
            Entry(disk_id, content_id, self._records.disks[disk_id], self._layers.new_name())
            for disk_id, content_id in wanted.items()
        )
        journal = Journal(entries, Consistency.CRASH if monitor else Consistency.STOPPED)
        self._remember(path, journal)
        try:
            await asyncio.to_thread(write_durably, {path: journal.as_json()})
            await gather_all(self._make_overlay(entry) for entry in entries)
            if monitor is not None and agent is not None:
                if await self._switch_at_rest(monitor, agent, journal):
                    journal = replace(journal, consistency=Consistency.FILESYSTEM)
                    self._open[path] = journal
            elif monitor is not None:
                await self._switch(monitor, journal)
            await self._finish(path, journal)
        except BaseException as error:
            await self.recover(path, monitor)
            if isinstance(error, Exception) and all(entry.content_id in self._records.contents for entry in entries):
                log.info("a seal was interrupted and finished", error=str(error))
                return await asyncio.to_thread(self.sealed, wanted)
            if isinstance(error, MonitorFailed):
                raise EngineError(ErrorCode.ENGINE_FAILED, f"the machine did not seal its disks: {error}") from error
            raise
        return await asyncio.to_thread(self.sealed, wanted)

    def sealed(self, wanted: Mapping[UUID, UUID]) -> Sealed:
        """What a finished seal made."""
        records = {content_id: self._records.contents[content_id] for content_id in wanted.values()}
        facts = {
            content_id: ContentFacts(
                virtual_bytes=record.virtual_bytes,
                own_bytes=self._layers.allocated_bytes(record.layer),
                changed_bytes=self._layers.written_bytes(record.layer),
            )
            for content_id, record in records.items()
        }
        found = {record.consistency for record in records.values()}
        weakest = next(
            word for word in (Consistency.CRASH, Consistency.FILESYSTEM, Consistency.STOPPED) if word in found
        )
        return Sealed(contents=facts, consistency=weakest)

    async def recover(self, path: Path, monitor: Monitor | None) -> None:
        """Finish or undo the seal whose journal lies here, if there is one; without a monitor no machine runs on the disks.

        Raises: EngineError: ENGINE_FAILED when the machine does not answer; the journal stays.
        """
        journal = self._open.get(path)
        if journal is None:
            return
        if monitor is not None:
            try:
                is_done = await self._is_switched(monitor, journal)
            except MonitorFailed as error:
                raise EngineError(ErrorCode.ENGINE_FAILED, f"a seal could not be recovered: {error}") from error
        else:
            is_done = await asyncio.to_thread(self._has_overlays, journal)
        if is_done:
            await self._finish(path, journal)
        else:
            await self._drop(path, journal)

    async def _make_overlay(self, entry: Entry) -> None:
        size = self._layers.header(entry.old).virtual_bytes
        await self._layers.create(entry.new, virtual_bytes=size, backing=entry.old)

    async def _switch_at_rest(self, monitor: Monitor, agent: Agent, journal: Journal) -> bool:
        """Switch while the guest's file systems are at rest; whether they were until the end. They are not for longer than the limit."""
        end = asyncio.get_running_loop().time() + FREEZE_LIMIT_S
        switching: asyncio.Task[None] | None = None
        try:
            is_frozen = await agent.freeze(FREEZE_LIMIT_S)
            switching = asyncio.create_task(self._switch(monitor, journal))
            await asyncio.wait({switching}, timeout=end - asyncio.get_running_loop().time())
            is_frozen = is_frozen and switching.done()
        finally:
            if agent.may_be_frozen:
                await to_the_end(agent.thaw())
            if switching is not None:
                await switching
        return is_frozen

    async def _switch(self, monitor: Monitor, journal: Journal) -> None:
        async with monitor.sequence():
            for entry in journal.entries:
                # "backing": null, for the transaction puts the running machine's own node below.
                await monitor.run("blockdev-add", {**block_node(entry.new), "backing": None})
            actions = [
                {
                    "type": "blockdev-snapshot",
                    "data": {"node": node_of(entry.old), "overlay": node_of(entry.new)},
                }
                for entry in journal.entries
            ]
            await monitor.run("transaction", {"actions": actions}, limit_s=60)

    async def _is_switched(self, monitor: Monitor, journal: Journal) -> bool:
        """Whether a running machine writes to the new layers; when not, it is made to forget them."""
        async with monitor.sequence():
            active = active_nodes(await monitor.run("query-block"))
            where = [active.get(device_of(entry.disk_id)) for entry in journal.entries]
            if where == [node_of(entry.new) for entry in journal.entries]:
                return True
            if where != [node_of(entry.old) for entry in journal.entries]:
                raise EngineError(ErrorCode.ENGINE_FAILED, "the machine writes to layers that its seal does not know")
            nodes = await monitor.run("query-named-block-nodes", {"flat": True})
            names = {node["node-name"] for node in nodes} if isinstance(nodes, list) else set()
            for entry in journal.entries:
                if node_of(entry.new) in names:
                    await monitor.run("blockdev-del", {"node-name": node_of(entry.new)})
        return False

    def _has_overlays(self, journal: Journal) -> bool:
        headers = [(entry, read_header(self._layers.path(entry.new))) for entry in journal.entries]
        return all(header is not None and header.backing == entry.old + SUFFIX for entry, header in headers)

    async def _finish(self, path: Path, journal: Journal) -> None:
        records = {
            entry.content_id: ContentRecord(
                entry.old, self._layers.header(entry.old).virtual_bytes, journal.consistency
            )
            for entry in journal.entries
        }
        await self._records.put_contents(records)
        await self._records.put_disks({entry.disk_id: entry.new for entry in journal.entries})
        await self._forget(path)

    async def _drop(self, path: Path, journal: Journal) -> None:
        for entry in journal.entries:
            await self._layers.remove(entry.new)
        await self._forget(path)

    def _remember(self, path: Path, journal: Journal) -> None:
        self._layers.pin(*journal.layers)
        self._open[path] = journal

    async def _forget(self, path: Path) -> None:
        await asyncio.to_thread(remove_durably, path)
        if (journal := self._open.pop(path, None)) is not None:
            self._layers.unpin(*journal.layers)


def active_nodes(blocks: object) -> dict[str, str]:
    """Device name -> the node it writes to, from the answer to query-block."""
    found: dict[str, str] = {}
    for block in blocks if isinstance(blocks, list) else []:
        # Devices of `-blockdev` have no name of their own there, but "/machine/peripheral/<id>/virtio-backend".
        name = str(block.get("qdev", "")).removeprefix("/machine/peripheral/").removesuffix("/virtio-backend")
        if "inserted" in block:
            found[name] = str(block["inserted"]["node-name"])
    return found
