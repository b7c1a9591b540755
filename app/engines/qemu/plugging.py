"""Disks that come and go while their machine runs.

A machine's spec says which disks it has, and the running machine follows: disks that its spec names and it has not are plugged in. Only
the guest's operating system can let a disk go. One without, like hello, does not, and QEMU then takes the disk out at the next reset;
when its detach was given up by then, it is plugged in again.
"""

from __future__ import annotations

from uuid import UUID

from app.engines.qemu.command import block_node, device_of, disk_device, node_of
from app.engines.qemu.journal import active_nodes
from app.engines.qemu.nodes import close_node, close_unused_nodes
from app.engines.qemu.qmp import Monitor, MonitorRefused
from app.engines.qemu.records import Records
from app.engines.qemu.running import Running, first_of
from app.enums import ErrorCode
from app.errors import EngineError


class Plugs:
    """Plugging and unplugging. A caller holds the machine's lock."""

    def __init__(self, records: Records) -> None:
        self._records = records

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
            await close_node(monitor, node_of(self._records.disks[disk_id]))
            await close_unused_nodes(monitor)

    async def _plug(self, monitor: Monitor, running: Running, disk_id: UUID) -> None:
        layer = self._records.disks[disk_id]
        await close_node(monitor, node_of(layer))
        await monitor.run("blockdev-add", block_node(layer))
        try:
            boot_index = await self._last_boot_index(monitor, running) + 1
            await monitor.run("device_add", disk_device(disk_id, layer, boot_index))
        except MonitorRefused:
            await close_node(monitor, node_of(layer))
            raise

    async def _last_boot_index(self, monitor: Monitor, running: Running) -> int:
        there = active_nodes(await monitor.run("query-block"))
        devices = [device for device in map(device_of, running.spec.disk_ids) if device in there]
        indexes = [
            await monitor.run("qom-get", {"path": f"/machine/peripheral/{device}", "property": "bootindex"})
            for device in devices
        ]
        return max(index for index in indexes if isinstance(index, int))
