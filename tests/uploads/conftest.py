"""What tests of uploads share: beginning one, and speaking tus by hand."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from app.files import path_of
from tests.client import Client

MIB = 1 << 20
SEED = random.randrange(1 << 32)

CREATE = """mutation($input: CreateUploadInput!) { createUpload(input: $input) {
  upload { id url protocol status sizeBytes offsetBytes fileName createdAt expiresAt checksum { algorithm value } }
  userErrors { code otcCode field message } } }"""
UPLOAD = """query($id: ID!) { node(id: $id) { ... on Upload {
  status offsetBytes sizeBytes fileName expiresAt checksum { algorithm value } fault { code message } } } }"""
SHOWN = "{ uploads(first: 100) { totalCount nodes { id status offsetBytes } } viewer { quotas { resource used } } }"


@dataclass
class Sender:
    """A client that speaks tus as a test wants it."""

    client: Client
    data_dir: Path

    async def begin(self, size: int, **more: object) -> dict[str, Any]:
        """An upload."""
        payload = await self.client.one(CREATE, input={"sizeBytes": size} | more)
        assert payload["userErrors"] == [], payload
        upload: dict[str, Any] = payload["upload"]
        return upload

    async def refusal(self, **input: object) -> tuple[str, list[str] | None, str | None]:
        """The code, field and OTC code of a createUpload that is refused, and makes nothing."""
        before = await self.client.ask(SHOWN)
        payload = await self.client.one(CREATE, input=input)
        (error,) = payload["userErrors"]
        assert payload["upload"] is None
        assert await self.client.ask(SHOWN) == before
        return error["code"], error["field"], error["otcCode"]

    async def call(self, method: str, url: str, content: Any = None, **headers: str | int) -> httpx2.Response:
        """A request with what every tus request has; `upload_offset=3` is a header."""
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        named = {"tus-resumable": "1.0.0"} | named
        return await self.client.http.request(method, url, content=content, headers=named)

    async def patch(self, url: str, offset: int, content: Any, **headers: str | int) -> httpx2.Response:
        """Bytes."""
        given = {"content_type": "application/offset+octet-stream", "upload_offset": offset}
        return await self.call("PATCH", url, content, **given | headers)

    async def offset(self, url: str) -> int:
        """How much is here."""
        response = await self.call("HEAD", url)
        assert response.status_code == 200, response
        return int(response.headers["upload-offset"])

    async def state(self, upload: dict[str, Any]) -> Any:
        """The upload as the API shows it; None when it is gone."""
        return await self.client.one(UPLOAD, id=upload["id"])

    def file(self, upload: dict[str, Any]) -> Path:
        """Where its bytes lie."""
        return path_of(self.data_dir, plain_id(upload))

    async def used(self) -> int:
        """What the quota counts."""
        quotas = await self.client.one("{ viewer { quotas { resource used } } }")
        return next((q["used"] for q in quotas["quotas"] if q["resource"] == "UPLOADS"), 0)


def plain_id(upload: dict[str, Any]) -> str:
    """The UUID in an opaque id."""
    return b64decode(upload["id"]).decode().partition(":")[2]


def base64(data: bytes) -> str:
    """As headers have it."""
    return b64encode(data).decode()


@pytest.fixture
async def sender(project, service) -> Sender:
    """A project that uploads."""
    return Sender(await project("alice"), service.settings.data_dir)


@pytest.fixture
def chance() -> random.Random:
    """Random places, told when a test fails."""
    print(f"seed {SEED}")
    return random.Random(SEED)


@asynccontextmanager
async def cutting(
    url: str, places: Iterable[int], *, answers: bool = False, stalled: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """The address of a network that breaks: each connection after so many bytes of the client's, or of its answers; later ones never.

    With an event, which is set then, such a connection is only silent until the client goes away.
    """
    parts, left = urlsplit(url), list(places)

    async def forward(reader, writer, most):
        with suppress(ConnectionError):
            while most is None or most > 0:
                data = await reader.read(1 << 16 if most is None else min(1 << 16, most))
                if not data:
                    break
                most = None if most is None else most - len(data)
                writer.write(data)
                await writer.drain()

    async def connect(reader, writer):
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        most = left.pop() if left else None
        ways = [
            asyncio.create_task(forward(reader, back, None if answers else most)),
            asyncio.create_task(forward(there, writer, most if answers else None)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if stalled and most is not None:
            stalled.set()
            await asyncio.wait(ways)
        for way in ways:
            way.cancel()
        for each in (writer, back):
            each.transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert not left, "there were fewer connections than places to cut"
