"""A machine's two monitors: one for commands, one for events."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError, Runstate

COMMAND_LIMIT_S = 10.0

# The library reports every end of a connection as an error, and a machine's end is one; what matters is raised anyway.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class MonitorFailed(Exception):
    """A command was refused, took too long, or lost its machine."""


class MonitorRefused(MonitorFailed):
    """A command was refused, so it has done nothing."""


class Monitor:
    """A monitor for commands: one sequence at a time, each command with a time limit."""

    def __init__(self, name: str) -> None:
        self._client = QMPClient(name)
        self._sequence = asyncio.Lock()

    async def connect(self, folder: Path, name: str = "qmp.sock") -> None:
        """Connect to a machine whose folder this is. Raises: OSError, QMPError."""
        await connect(self._client, folder, name)

    @asynccontextmanager
    async def sequence(self) -> AsyncIterator[Monitor]:
        """Have the monitor for several commands that belong together."""
        async with self._sequence:
            yield self

    async def run(
        self, command: str, arguments: Mapping[str, object] | None = None, *, limit_s: float = COMMAND_LIMIT_S
    ) -> object:
        """Run one command of a sequence.

        Raises: MonitorFailed.
        """
        try:
            async with asyncio.timeout(limit_s):
                return await self._client.execute(command, dict(arguments) if arguments else None)
        except ExecuteError as error:
            raise MonitorRefused(f"{command}: {error}") from error
        except TimeoutError as error:
            raise MonitorFailed(f"{command}: no answer for {limit_s:g} s") from error
        except (QMPError, OSError, EOFError) as error:
            raise MonitorFailed(f"{command}: the machine is gone") from error

    async def ask(
        self, command: str, arguments: Mapping[str, object] | None = None, *, limit_s: float = COMMAND_LIMIT_S
    ) -> object:
        """Run one command by itself. Raises: MonitorFailed."""
        async with self.sequence():
            return await self.run(command, arguments, limit_s=limit_s)

    async def status(self) -> str:
        """What the machine says it is doing: "running", "shutdown", "io-error", "internal-error", … Raises: MonitorFailed."""
        answer = await self.ask("query-status")
        return str(answer["status"]) if isinstance(answer, dict) else ""

    async def close(self) -> None:
        """Disconnect; the machine goes on."""
        await disconnect(self._client)


class EventMonitor:
    """A monitor that only listens."""

    def __init__(self, name: str) -> None:
        self._client = QMPClient(name)
        self._listener = EventListener()
        self._client.register_listener(self._listener)

    async def connect(self, folder: Path) -> None:
        """Connect to a machine whose folder this is. Raises: OSError, QMPError."""
        await connect(self._client, folder, "events.sock")

    async def events(self) -> AsyncIterator[Message]:
        """Events as they come. It does not end when the machine does: the library's queue just stays empty."""
        while True:
            yield await self._listener.get()

    async def close(self) -> None:
        """Disconnect; the machine goes on."""
        await disconnect(self._client)


async def connect(client: QMPClient, folder: Path, name: str) -> None:
    """Connect a client to a socket in a folder. Raises: OSError, QMPError."""
    connection = await open_socket(folder, name)
    try:
        await client.connect(connection)
    except BaseException:
        connection.close()  # the client may have failed before it took it over
        raise


async def open_socket(folder: Path, name: str) -> socket.socket:
    """Connect to a socket in a folder, however long its path is: a socket address has room for 107 characters only."""
    # The descriptor stands for the folder in a path that is always short.
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(connection, f"/proc/self/fd/{folder_fd}/{name}")
        except BaseException:
            connection.close()
            raise
    finally:
        os.close(folder_fd)
    return connection


async def disconnect(client: QMPClient) -> None:
    """End a connection in whatever state it is."""
    if client.runstate != Runstate.IDLE:
        # EOFError and its kin say once more that the machine ended first.
        with suppress(QMPError, OSError, EOFError):
            await client.disconnect()
