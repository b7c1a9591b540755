"""Short chains: what lies below a content or a disk is copied into one flat layer that takes its place.

Copying is done beside everything else; it reads sealed layers only. Both chains hold the same bytes, so a kill at any point is harmless:
whichever of them a header or record names by then is kept, the other is swept. A machine that had switched already and lost its service
before the header said so reads on from a file that has no name any longer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

from app.engines.base import Progress
from app.engines.qemu.command import block_node, node_of
from app.engines.qemu.failures import to_the_end
from app.engines.qemu.holding import Locks
from app.engines.qemu.layers import SUFFIX, Layers
from app.engines.qemu.machines import QemuMachines
from app.engines.qemu.nodes import close_node, close_unused_nodes
from app.engines.qemu.qmp import MonitorRefused
from app.engines.qemu.records import Records
from app.engines.qemu.room import Room
from app.engines.qemu.running import Running
from app.enums import ErrorCode
from app.errors import EngineError, NotFound

DISK_TRIES = 32
"""A disk may be sealed while what is below it is copied: then what was sealed since is copied, too, which takes less each time."""


class Compaction:
    """Compaction of one store."""

    def __init__(
        self,
        layers: Layers,
        records: Records,
        machines: QemuMachines,
        *,
        content_locks: Locks,
        room: Room,
    ) -> None:
        self._layers, self._records, self._machines = layers, records, machines
        self._content_locks, self._room = content_locks, room

    async def compact_content(self, content_id: UUID, progress: Progress) -> None:
        """Put a content on one layer of its own. Raises: NotFound: released, perhaps meanwhile. EngineError."""
        before = self._record_layer(content_id)
        async with self._pins() as pins:
            pins.enter_context(self._layers.pinned(before))
            if len(self._layers.chain(before)) == 1:
                return
            flat = await self._copy(before, pins, progress)
            async with self._content_locks.held(content_id):
                if self._record_layer(content_id) == before:
                    record = replace(self._records.contents[content_id], layer=flat, former=before)
                    await to_the_end(self._records.put_contents({content_id: record}))

    async def compact_disk(self, disk_id: UUID, progress: Progress) -> None:
        """Shorten the chain below a disk. Raises: NotFound. EngineError."""
        twins: dict[str, str] = {}
        async with self._pins() as pins:
            for _ in range(DISK_TRIES):
                async with self._machines.having(disk_id) as running:
                    active, *below = self._layers.chain(self._records.disks[disk_id])
                    if below and below[0] in twins:
                        await to_the_end(self._put_below(active, twins[below[0]], running))
                        break
                    pins.enter_context(self._layers.pinned(active, *below[:1]))
                if len(below) <= 1:
                    return
                await self._make_twins(below, twins, pins, progress)
            else:
                raise EngineError(ErrorCode.ENGINE_FAILED, "the disk is sealed too often to be compacted")
            await self._move_contents(twins)

    async def _make_twins(
        self, below: Sequence[str], twins: dict[str, str], pins: ExitStack, progress: Progress
    ) -> None:
        """Have a layer with the same bytes for the first of these.

        It is a flat one; but where there is a twin for one further below, it stands on that, with what was sealed since.
        """
        place = self._nearest_twin(below, twins)
        if place is None:
            twins[below[0]] = await self._copy(below[0], pins, progress)
            return
        if below[place] not in twins:
            twins[below[place]] = known = self._content_twins()[below[place]]
            pins.enter_context(self._layers.pinned(known))
        for upper, lower in reversed(list(pairwise(below[: place + 1]))):
            twins[upper] = await self._copy(upper, pins, progress, upon=twins[lower])

    def _nearest_twin(self, below: Sequence[str], twins: Mapping[str, str]) -> int | None:
        """The place of the first layer with a twin, if standing on that makes for a much shorter chain."""
        if twins:
            return next((place for place, layer in enumerate(below) if layer in twins), None)
        known = self._content_twins()
        for place, layer in enumerate(below):
            if layer in known:
                depth = place + len(self._layers.chain(known[layer]))
                return place if depth < len(below) and (place == 0 or depth <= len(below) // 2) else None
        return None

    def _content_twins(self) -> dict[str, str]:
        """Layers, and those with the same bytes that compaction has put in the place of contents."""
        return {record.former: record.layer for record in self._records.contents.values() if record.former}

    async def _move_contents(self, twins: Mapping[str, str]) -> None:
        """Have contents stand on the short chain, too: nobody needs both for long."""
        for content_id, seen in list(self._records.contents.items()):
            if seen.layer not in twins:
                continue
            async with self._content_locks.held(content_id):
                if self._records.contents.get(content_id) == seen:
                    record = replace(seen, layer=twins[seen.layer], former=seen.layer)
                    await to_the_end(self._records.put_contents({content_id: record}))

    @asynccontextmanager
    async def _pins(self) -> AsyncIterator[ExitStack]:
        """Keep layers meanwhile; at the end, those that nothing reaches go, whatever came of it."""
        try:
            with ExitStack() as pins:
                yield pins
        finally:
            await self._layers.sweep(self._records.roots)

    def _record_layer(self, content_id: UUID) -> str:
        try:
            return self._records.contents[content_id].layer
        except KeyError:
            raise NotFound(f"no content {content_id}") from None

    async def _copy(self, layer: str, pins: ExitStack, progress: Progress, *, upon: str | None = None) -> str:
        name = self._layers.new_name()
        pins.enter_context(self._layers.pinned(name))
        size = self._layers.allocated_bytes(layer) if upon else self._layers.chain_bytes(layer)
        source = self._layers.path(layer)
        self._room.require(source.parent, size)
        work = self._layers.convert(
            source, format="qcow2", name=name, progress=progress, total_bytes=size, is_modest=True, backing=upon
        )
        await self._room.keep(source.parent, work)
        return name

    async def _put_below(self, active: str, flat: str, running: Running | None) -> None:
        if running is None:
            await self._layers.rebase(active, flat)
            return
        async with running.monitor.sequence() as monitor:
            await monitor.run("blockdev-add", {**block_node(flat), "read-only": True})
            try:
                await monitor.run("blockdev-reopen", {"options": [{**block_node(active), "backing": node_of(flat)}]})
            except MonitorRefused:
                await close_node(monitor, node_of(flat))
                raise
            node = node_of(active)
            names = {"device": node, "image-node-name": node, "backing-file": flat + SUFFIX}
            await monitor.run("change-backing-file", names)
            await self._layers.note_rebased(active)
            await close_unused_nodes(monitor)
