"""A server that speaks S3, checks signatures and keeps objects as files; and the service with it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from app import object_storage
from app.object_storage import ObjectStorage
from app.object_storage.leftovers import Signer
from app.settings import Settings
from tests.client import Client
from tests.disks.acting import image_of
from tests.object_storage.wire import Wire, wired
from tests.uploads.conftest import Sender

BUCKET, OTHER_BUCKET = "images-bucket", "golden-bucket"
KEY_ID, SECRET = "accesskey1", "a-secret-that-nobody-is-told"
MIB = 1 << 20


@dataclass(frozen=True)
class Storage:
    """The server."""

    port: int
    folder: Path

    def settings(self, **more: object) -> dict[str, Any]:
        """Those of a service that uses it."""
        return {
            "s3_endpoint": f"http://127.0.0.1:{self.port}",
            "s3_bucket": BUCKET,
            "s3_access_key_id": KEY_ID,
            "s3_secret_access_key": SECRET,
            "s3_allow_http": True,
        } | more

    async def put(self, key: str, content: bytes, bucket: str = BUCKET) -> str:
        """An object; its address."""
        signer = Signer(f"http://127.0.0.1:{self.port}/{bucket}", "us-east-1", KEY_ID, SecretStr(SECRET))
        async with httpx2.AsyncClient(verify=False) as client:
            answer = await client.put(signer.url("PUT", key, {}, at=datetime.now(UTC)), content=content)
        assert answer.status_code == 200, answer.text
        return f"s3://{bucket}/{key}"

    def exports(self) -> set[str]:
        """The names of all exports."""
        return {path.name for path in (self.folder / BUCKET / "exports").glob("*") if path.is_file()}

    def unfinished(self) -> set[str]:
        """Uploads in parts that are neither finished nor aborted."""
        return {path.name for path in (self.folder / ".nanio" / "multipart").glob("*")}


@pytest.fixture(scope="session")
async def storage(scratch: Path) -> AsyncIterator[Storage]:
    folder = scratch / "s3"
    for bucket in (BUCKET, OTHER_BUCKET):
        (folder / bucket).mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nanio", "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"),
        env=os.environ | {"NANIO_DATA_DIR": str(folder), "NANIO_ACCESS_KEY": KEY_ID, "NANIO_SECRET_KEY": SECRET},
        stderr=PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"running on" not in (line := await process.stderr.readline()):
            assert line, "the storage does not start"
    yield Storage(port, folder)
    process.terminate()
    await process.communicate()


Open = Callable[..., AbstractAsyncContextManager[ObjectStorage]]


@pytest.fixture
def opened(service, storage) -> Open:
    """Gives the running service an object storage, with more or other settings."""

    @asynccontextmanager
    async def opened(**more: object) -> AsyncIterator[ObjectStorage]:
        settings = Settings(**(service.settings.model_dump() | storage.settings(**more)))
        async with object_storage.opened(settings) as current:
            assert current is not None
            yield current

    return opened


@pytest.fixture
async def stored(opened) -> AsyncIterator[ObjectStorage]:
    """The running service has the object storage."""
    async with opened() as current:
        yield current


@pytest.fixture
async def wire(storage) -> AsyncIterator[Wire]:
    async with wired(storage.port) as wire:
        yield wire


@pytest.fixture
async def alice(project) -> Client:
    client: Client = await project("alice")
    return client


async def make_data_image(client: Client, data_dir: Path) -> dict[str, Any]:
    """An image of 24 MiB that no format makes smaller: more than one part."""
    sender = Sender(client, data_dir)
    content = random.randbytes(24 * MIB)
    upload = await sender.begin(len(content), fileName="data.raw")
    assert (await sender.patch(upload["url"], 0, content)).status_code == 204
    return await image_of(client, {"upload": {"uploadId": upload["id"], "format": "RAW", "kind": "DATA_DISK"}})


@pytest.fixture
async def data_image(alice, service) -> dict[str, Any]:
    return await make_data_image(alice, service.settings.data_dir)
