"""Disks that come and go while their machine runs.

A machine's spec says which disks it has, and the running machine follows: disks that its spec names and it has not are plugged in. Only
the guest's operating system can let a disk go. One without, like hello, does not, and QEMU then takes the disk out at the next reset;
when its detach was given up by then, it is plugged in again.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from app.engines.qemu.command import block_node, device_of, disk_device, node_of
from app.engines.qemu.journal import active_nodes
from app.engines.qemu.layers import Layers
from app.engines.qemu.qmp import Monitor, MonitorRefused
from app.engines.qemu.records import Records
from app.engines.qemu.running import Running, first_of
from app.enums import ErrorCode
from app.errors import EngineError

RELEASE_TRIES = 50
RELEASE_EVERY_S = 0.01
"""A device that is gone may hold its disk for some milliseconds more."""

log = structlog.get_logger(__name__)


class Plugs:
    """Plugging and unplugging. A caller holds the machine's lock."""

    def __init__(self, layers: Layers, records: Records) -> None:
        self._layers, self._records = layers, records

    async def plug_missing(self, running: Running) -> list[UUID]:
        """Plug in the disks that a machine should have and has not; answers them.

        Raises: MonitorFailed.
        """
        async with running.monitor.sequence() as monitor:
            there = active_nodes(await monitor.run("query-block"))
            missing = [disk_id for disk_id in running.spec.disk_ids if device_of(disk_id) not in there]
            for disk_id in missing:
                await self._plug(monitor, running, disk_id)
        return missing

    async def unplug(self, running: Running, disk_id: UUID, deadline_s: float) -> None:
        """Have the guest let a disk go; one whose machine ends meanwhile is let go, too.

        Raises: EngineError: TIMED_OUT: it does not. MonitorFailed.
        """
        device = device_of(disk_id)
        with running.awaiting_unplug(device) as gone:
            async with running.monitor.sequence() as monitor:
                if device in active_nodes(await monitor.run("query-block")):
                    await monitor.run("device_del", {"id": device})
                else:
                    gone.set_result(True)
            await first_of(gone, running.process.exit, limit_s=deadline_s)
            if not running.process.is_running:
                return
            if not gone.done() or not gone.result():
                message = "the guest does not let go of the disk; stop the machine, then detach the disk"
                raise EngineError(ErrorCode.TIMED_OUT, message)
        async with running.monitor.sequence() as monitor:
            await self._close(monitor, self._records.disks[disk_id])

    async def _plug(self, monitor: Monitor, running: Running, disk_id: UUID) -> None:
        layer = self._records.disks[disk_id]
        await self._close(monitor, layer)
        await monitor.run("blockdev-add", block_node(layer))
        try:
            boot_index = await self._last_boot_index(monitor, running) + 1
            await monitor.run("device_add", disk_device(disk_id, layer, boot_index))
        except MonitorRefused:
            await self._close(monitor, layer)
            raise

    async def _last_boot_index(self, monitor: Monitor, running: Running) -> int:
        there = active_nodes(await monitor.run("query-block"))
        devices = [device for device in map(device_of, running.spec.disk_ids) if device in there]
        indexes = [
            await monitor.run("qom-get", {"path": f"/machine/peripheral/{device}", "property": "bootindex"})
            for device in devices
        ]
        return max(index for index in indexes if isinstance(index, int))

    async def _close(self, monitor: Monitor, layer: str) -> None:
        """Have a machine close a layer that no device of its uses, and those below that it was told to open by name."""
        nodes = await monitor.run("query-named-block-nodes", {"flat": True})
        names = {node["node-name"] for node in nodes} if isinstance(nodes, list) else set()
        for name in map(node_of, self._layers.chain(layer)):
            if name in names:
                await _close_node(monitor, name)


async def _close_node(monitor: Monitor, name: str) -> None:
    for tries_left in reversed(range(RELEASE_TRIES)):
        try:
            await monitor.run("blockdev-del", {"node-name": name})
        except MonitorRefused as error:
            if "in use" not in str(error) or not tries_left:
                raise
            await asyncio.sleep(RELEASE_EVERY_S)
        else:
            return
