"""A plain client of the API for the command line: it sends files so that they can be continued, and lists images.

It knows the service's address, a token and the protocols, and nothing of ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

BLOCK_BYTES = 1 << 20
PAUSES_S = (0.2, 0.4, 0.8, 1.6, 3.0, 5.0, 10.0, 10.0, 10.0)
"""Before each new attempt, of those in a row that get nothing across."""
MAX_FILE_NAME = 255
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)
"""The answer to the last byte may take as long as hashing what was sent before a restart of the service."""

Answer = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with the bytes that are across, and all of them."""

UPLOADS = "{ uploads(first: 100) { nodes { id url status fileName sizeBytes createdAt } } }"
UPLOAD = """query ($id: ID!) { node(id: $id) { ... on Upload {
  id status checksum { value } fault { message } } } }"""
CREATE = """mutation ($input: CreateUploadInput!) { createUpload(input: $input) {
  upload { id url } userErrors { code message } } }"""
IMAGES = """query ($after: String) { images(first: 100, after: $after) {
  nodes { id name kind status visibility sizeBytes owner { name } } pageInfo { hasNextPage endCursor } } }"""


class TransferFailed(Exception):
    """Why it did not work, and what to do about it, in one sentence."""


class _Again(Exception):
    """Something passing was in the way."""


class Client:
    """One token at one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession, pauses_s: Sequence[float]) -> None:
        self._url, self._session, self._pauses_s = url, session, pauses_s

    async def ask(self, document: str, /, **variables: object) -> Any:
        """The value of the only root field.

        Raises: TransferFailed: the service is not there, or refused it.
        """
        body = {"query": document, "variables": variables}
        try:
            async with self._session.post(f"{self._url}/graphql", json=body) as response:
                result = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TransferFailed(f"Nothing of an image service answers at {self._url} ({error}); see --url.") from error
        errors = result.get("errors") or []
        value = None if errors else next(iter(result["data"].values()))
        if isinstance(value, dict):
            errors = value.get("userErrors") or []
        if errors:
            raise TransferFailed("The service refused: " + "; ".join(error["message"] for error in errors))
        return value

    async def images(self) -> AsyncIterator[Answer]:
        """All images that the token can see."""
        after = None
        while True:
            page = await self.ask(IMAGES, after=after)
            for node in page["nodes"]:
                yield node
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    async def upload(self, path: Path, on_progress: Progress = lambda done, total: None) -> Answer:
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
            begun = await self._unfinished(path.name, before) or await self._begin(path.name, before.st_size)
            transfer = _Transfer(self._session, begun["url"], file, before.st_size, on_progress)
            await transfer.run(self._pauses_s)
            after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            await transfer.delete()
            raise TransferFailed(f"{path} was changed while it was sent; run the command again.")
        upload: Answer = await self.ask(UPLOAD, id=begun["id"]) or {"status": "gone"}
        if upload["status"] not in ("COMPLETE", "USED"):
            raise TransferFailed(f"The upload is {upload['status']}; run the command again.")
        if upload["checksum"]["value"] != transfer.sha256:
            await transfer.delete()
            raise TransferFailed("What has arrived is not this file, and was removed; run the command again.")
        return upload

    async def _unfinished(self, name: str, facts: os.stat_result) -> Answer | None:
        """An upload that an earlier run has begun of a file as it is now."""
        for upload in (await self.ask(UPLOADS))["nodes"]:
            same = (upload["fileName"], upload["sizeBytes"]) == (_file_name(name), facts.st_size)
            unchanged = datetime.fromisoformat(upload["createdAt"]) >= datetime.fromtimestamp(facts.st_mtime, UTC)
            if upload["status"] == "RECEIVING" and same and unchanged:
                found: Answer = upload
                return found
        return None

    async def _begin(self, name: str, size_bytes: int) -> Answer:
        payload = await self.ask(CREATE, input={"sizeBytes": size_bytes, "fileName": _file_name(name)})
        upload: Answer = payload["upload"]
        return upload


def _file_name(name: str) -> str | None:
    return "".join(filter(str.isprintable, name))[:MAX_FILE_NAME] or None


class _Transfer:
    """A file on its way over tus 1.0, however often the connection breaks."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, file: BinaryIO, size_bytes: int, on_progress: Progress
    ) -> None:
        self._session, self._url, self._file, self._size = session, url, file, size_bytes
        self._on_progress = on_progress
        self._hash, self._hashed = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """Of what was sent."""
        return self._hash.hexdigest()

    async def run(self, pauses_s: Sequence[float]) -> None:
        """Raises: TransferFailed."""
        furthest, failures = -1, 0
        while True:
            try:
                offset = await self._offset()
                if offset > furthest:
                    furthest, failures = offset, 0
                await self._hash_up_to(offset)
                await self._send(offset)
            except (aiohttp.ClientError, OSError, TimeoutError, _Again) as error:
                if os.fstat(self._file.fileno()).st_size < self._size:
                    raise TransferFailed("The file became shorter while it was sent; run the command again.") from error
                if failures == len(pauses_s):
                    message = f"The upload does not get on ({error}); the same command goes on where it is."
                    raise TransferFailed(message) from error
                await asyncio.sleep(pauses_s[failures])
                failures += 1
            else:
                return

    async def delete(self) -> None:
        """Have the service forget it."""
        async with self._session.delete(self._url, headers={"Tus-Resumable": "1.0.0"}):
            pass

    async def _offset(self) -> int:
        async with self._session.head(self._url, headers={"Tus-Resumable": "1.0.0"}) as response:
            await _check(response)
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
            await _check(response)

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


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raises: _Again: it may work in a moment. TransferFailed: it will not."""
    if response.ok:
        return
    message = (await response.text()).strip() or str(response.reason)
    passing = {HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
    if response.status in passing or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Again(message)
    if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise TransferFailed(f"The upload is gone ({message}); run the command again to begin anew.")
    raise TransferFailed(f"The service refused ({response.status}): {message}")


@asynccontextmanager
async def connected(url: str, token: str, *, pauses_s: Sequence[float] = PAUSES_S) -> AsyncIterator[Client]:
    """A client of the service at this address, with or without /graphql at its end."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
        yield Client(url.rstrip("/").removesuffix("/graphql"), session, pauses_s)
