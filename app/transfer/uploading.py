"""Files are sent so that they can be continued, over tus 1.0."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import aiohttp

from app.transfer.client import Again, Answer, Client, Patience, Progress, TransferFailed, check

BLOCK_BYTES = 1 << 20
MAX_FILE_NAME = 255

UPLOADS = "{ uploads(first: 100) { nodes { id url status fileName sizeBytes createdAt } } }"
UPLOAD = """query ($id: ID!) { node(id: $id) { ... on Upload {
  id status checksum { value } fault { message } } } }"""
CREATE = """mutation ($input: CreateUploadInput!) { createUpload(input: $input) {
  upload { id url } userErrors { code message } } }"""

MAKE = """mutation ($input: CreateImageInput!) { createImage(input: $input) {
  job { id } userErrors { code message } } }"""


async def upload(client: Client, path: Path, on_progress: Progress = lambda done, total: None) -> Answer:
    """Send a file, or what is left of it; the upload once it is complete.

    Raises: TransferFailed.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise TransferFailed(f"Cannot read {path}: {error.strerror}.") from error
    with file:
        before = os.fstat(file.fileno())
        if not before.st_size:
            raise TransferFailed(f"{path} is empty.")
        begun = await _unfinished(client, path.name, before) or await _begin(client, path.name, before.st_size)
        transfer = _Transfer(client, begun["url"], file, before.st_size, on_progress)
        await transfer.run()
        after = os.fstat(file.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        await transfer.delete()
        raise TransferFailed(f"{path} was changed while it was sent; run the command again.")
    sent: Answer = await client.ask(UPLOAD, id=begun["id"]) or {"status": "gone"}
    if sent["status"] not in ("COMPLETE", "USED"):
        raise TransferFailed(f"The upload is {sent['status']}; run the command again.")
    if sent["checksum"]["value"] != transfer.sha256:
        await transfer.delete()
        raise TransferFailed("What has arrived is not this file, and was removed; run the command again.")
    return sent


async def make_image(
    client: Client, name: str, source: Answer, on_progress: Progress = lambda done, total: None
) -> str:
    """An image, its id, once it is ACTIVE. `source` is an ImageSourceInput.

    Raises: TransferFailed.
    """
    payload = await client.ask(MAKE, input={"name": name, "source": source})
    job = await client.finish(payload["job"]["id"], on_progress)
    return str(job["image"]["id"])


async def _unfinished(client: Client, name: str, facts: os.stat_result) -> Answer | None:
    """An upload that an earlier run has begun of a file as it is now."""
    for one in (await client.ask(UPLOADS))["nodes"]:
        same = (one["fileName"], one["sizeBytes"]) == (_file_name(name), facts.st_size)
        unchanged = datetime.fromisoformat(one["createdAt"]) >= datetime.fromtimestamp(facts.st_mtime, UTC)
        if one["status"] == "RECEIVING" and same and unchanged:
            found: Answer = one
            return found
    return None


async def _begin(client: Client, name: str, size_bytes: int) -> Answer:
    payload = await client.ask(CREATE, input={"sizeBytes": size_bytes, "fileName": _file_name(name)})
    begun: Answer = payload["upload"]
    return begun


def _file_name(name: str) -> str | None:
    return "".join(filter(str.isprintable, name))[:MAX_FILE_NAME] or None


class _Transfer:
    """A file on its way, however often the connection breaks."""

    def __init__(self, client: Client, url: str, file: BinaryIO, size_bytes: int, on_progress: Progress) -> None:
        self._session, self._pauses_s = client.session, client.pauses_s
        self._url, self._file, self._size, self._on_progress = url, file, size_bytes, on_progress
        self._hash, self._hashed = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """Of what was sent."""
        return self._hash.hexdigest()

    async def run(self) -> None:
        """Raises: TransferFailed."""
        patience = Patience(self._pauses_s, "upload")
        while True:
            try:
                offset = await self._offset()
                patience.got_to(offset)
                await self._hash_up_to(offset)
                await self._send(offset)
            except (aiohttp.ClientError, OSError, TimeoutError, Again) as error:
                if os.fstat(self._file.fileno()).st_size < self._size:
                    raise TransferFailed("The file became shorter while it was sent; run the command again.") from error
                await patience.pause(error)
            else:
                return

    async def delete(self) -> None:
        """Have the service forget it."""
        async with self._session.delete(self._url, headers={"Tus-Resumable": "1.0.0"}):
            pass

    async def _offset(self) -> int:
        async with self._session.head(self._url, headers={"Tus-Resumable": "1.0.0"}) as response:
            await check(response, gone="The upload")
            return int(response.headers["Upload-Offset"])

    async def _send(self, offset: int) -> None:
        """All the rest in one request; of nothing it asks whether all has arrived."""
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self._size - offset),
        }
        async with self._session.patch(self._url, data=self._blocks(offset), headers=headers) as response:
            await check(response, gone="The upload")

    async def _blocks(self, offset: int) -> AsyncGenerator[bytes, None]:
        while offset < self._size:
            block = await asyncio.to_thread(self._read, offset, min(BLOCK_BYTES, self._size - offset))
            yield block
            offset += len(block)
            self._on_progress(offset, self._size)

    async def _hash_up_to(self, offset: int) -> None:
        """What an earlier run has sent."""
        while self._hashed < offset:
            await asyncio.to_thread(self._read, self._hashed, min(BLOCK_BYTES, offset - self._hashed))
        self._on_progress(offset, self._size)

    def _read(self, offset: int, length: int) -> bytes:
        """A block; hashed, unless it was before."""
        block = os.pread(self._file.fileno(), length, offset)
        if not block:
            raise OSError("the file has become shorter")
        if offset <= self._hashed:
            new = block[self._hashed - offset :]
            self._hash.update(new)
            self._hashed += len(new)
        return block
