"""The block nodes of a running machine: what it has opened, by the names that we gave."""

from __future__ import annotations

import asyncio
import re

from app.engines.qemu.qmp import Monitor, MonitorRefused

CLOSE_TRIES = 50
CLOSE_EVERY_S = 0.01
"""A device that is gone may hold its disk for some milliseconds more."""
# As command.node_of makes them.
_LAYER = re.compile(r"n[0-9a-f]{24}")


async def node_names(monitor: Monitor) -> set[str]:
    """The names of all nodes. Raises: MonitorFailed."""
    nodes = await monitor.run("query-named-block-nodes", {"flat": True})
    return {str(node["node-name"]) for node in nodes} if isinstance(nodes, list) else set()


async def close_node(monitor: Monitor, name: str) -> None:
    """Have a machine close a node that no device uses; one that it has not is a success. Raises: MonitorFailed."""
    for tries_left in reversed(range(CLOSE_TRIES)):
        if name not in await node_names(monitor):
            return
        try:
            await monitor.run("blockdev-del", {"node-name": name})
        except MonitorRefused as error:
            if "in use" not in str(error) or not tries_left:
                raise
            await asyncio.sleep(CLOSE_EVERY_S)


async def close_unused_nodes(monitor: Monitor) -> None:
    """Have a machine close the layers that neither a device nor another layer of its needs. Raises: MonitorFailed."""
    is_done = False
    while not is_done:
        is_done = True
        for name in filter(_LAYER.fullmatch, await node_names(monitor)):
            try:
                await monitor.run("blockdev-del", {"node-name": name})
            except MonitorRefused:
                continue  # it is in use, or closed with another
            # What was below it may be unused now.
            is_done = False
