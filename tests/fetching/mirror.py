"""A server of one file, which misbehaves as a test wants it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHANGED = "Mon, 02 Nov 2026 10:00:00 GMT"
NOW = "Mon, 23 Nov 2026 10:00:00 GMT"


@dataclass
class Asked:
    """A request, and the connection to answer on."""

    path: str
    headers: dict[str, str]
    writer: asyncio.StreamWriter

    @property
    def offset(self) -> int:
        """Where it wants the file to begin."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(match[1]) if match else 0

    async def head(self, status: str, **headers: object) -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Nothing more, until the other side has had enough."""
        await self.writer.wait_closed()


async def _hung_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


Answer = Callable[[Asked], Awaitable[None]]


@dataclass
class Mirror:
    """What it serves, and how: `answers` are used up one by one, the last one stays."""

    content: bytes = b""
    etag: str | None = '"one"'
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    def url(self, path: str = "/images/disk.img") -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{path}"

    @property
    def offsets(self) -> list[int]:
        """Where each request wanted it to begin."""
        return [request.offset for request in self.asked]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = [line.split(": ", 1) for line in head[1:] if line]
            asked = Asked(head[0].split(" ")[1], {name.lower(): value for name, value in fields}, writer)
            self.asked.append(asked)
            answer = (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]) if self.answers else self.good
            closing = asyncio.create_task(_hung_up(reader, writer))
            await answer(asked)
            closing.cancel()
        writer.close()

    async def good(self, asked: Asked) -> None:
        """As it should."""
        await self.cut(len(self.content))(asked)

    def cut(self, end: int, *, length: int | None = None) -> Answer:
        """The file up to here, after a head that promises all of it (or what is said)."""

        async def answer(asked: Asked) -> None:
            total = len(self.content) if length is None else length
            tag = {"ETag": self.etag} if self.etag else {}
            fits = asked.headers.get("if-range") == self.etag
            begin = asked.offset if fits else 0
            if begin > 0:
                span = f"bytes {begin}-{total - 1}/{total}"
                await asked.head("206 Partial", **tag, Content_Length=total - begin, Content_Range=span)
            else:
                await asked.head("200 OK", **tag, Content_Length=total)
            await asked.send(self.content[begin:end])

        return answer


def saying(status: str, body: bytes = b"", **headers: object) -> Answer:
    """One answer, always."""

    async def answer(asked: Asked) -> None:
        await asked.head(status, Content_Length=len(body), **headers)
        await asked.send(body)

    return answer


def redirect(to: str, status: str = "302 Found") -> Answer:
    return saying(status, Location=to)


async def endless(asked: Asked) -> None:
    """Bytes without end, and without a length."""
    await asked.head("200 OK", ETag='"one"')
    while True:
        await asked.send(b"x" * 65536)


def silent_after(content: bytes, of: int) -> Answer:
    """Some bytes, then none."""

    async def answer(asked: Asked) -> None:
        await asked.head("200 OK", ETag='"one"', Content_Length=of)
        await asked.send(content)
        await asked.hang()

    return answer


@asynccontextmanager
async def serving(mirror: Mirror, address: str = "127.0.0.1") -> AsyncIterator[Mirror]:
    """While open, it answers."""
    async with await asyncio.start_server(mirror._connected, address, 0, ssl=mirror.tls) as server:
        mirror.port = server.sockets[0].getsockname()[1]
        yield mirror
        for asked in mirror.asked:
            asked.writer.transport.abort()
