"""A connection to a server that breaks or stalls where a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 64 << 10


class Wire:
    """Forwards bytes both ways; what is counted are those of all connections since it was told what to do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.port = 0
        self.stalled = asyncio.Event()
        """Set once bytes to the server are held back."""
        self.cuts = 0
        """Connections that were cut."""
        self._connections: set[asyncio.Task[None]] = set()
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._cut_at: int | None = None
        self._stall_at: int | None = None

    def cut_after(self, size: int) -> None:
        """Cut the connection once the server has sent so much."""
        self._cut_at = size

    def stall_after(self, size: int) -> None:
        """Hold back what comes after so much to the server, until `go_on`."""
        self._stall_at = size
        self._goes_on.clear()

    def go_on(self) -> None:
        """Hold nothing back any more."""
        self._stall_at = None
        self._goes_on.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [
            asyncio.create_task(self._send(reader, far_writer)),
            asyncio.create_task(self._answer(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, far_writer):
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()
            self._connections.discard(task)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._stall_at is not None:
                self._stall_at -= len(chunk)
                if self._stall_at <= 0:
                    self.stalled.set()
                    await self._goes_on.wait()
            writer.write(chunk)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._cut_at is not None:
                self._cut_at -= len(chunk)
                if self._cut_at <= 0:
                    self._cut_at = None
                    self.cuts += 1
                    return
            writer.write(chunk)
            await writer.drain()

    async def close(self) -> None:
        for task in list(self._connections):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def wired(port: int) -> AsyncIterator[Wire]:
    """A wire to a port of this host."""
    wire = Wire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        await wire.close()
