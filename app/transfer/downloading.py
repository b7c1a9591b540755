"""Files are fetched so that they can be continued: in ranges, by HTTP, into a file beside the one that is wanted.

The name of that file says of which bytes it is the beginning, so what is there already is never continued with bytes of another.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import aiohttp

from app.transfer.client import Again, Answer, Client, Patience, Progress, TransferFailed, check

BLOCK_BYTES = 1 << 20
SILENCE_S = 60
"""A connection that brings nothing for so long is broken."""

SHOWN = """id name kind status visibility diskFormat checksum { value } ... on PrivateImage { downloadUrl }"""
BY_NAME = f"query ($name: String!) {{ images(first: 100, filter: {{name: {{eq: $name}}}}) {{ nodes {{ {SHOWN} }} }} }}"
BY_ID = f"query ($id: ID!) {{ image(id: $id) {{ {SHOWN} }} }}"
EXPORT = """mutation ($input: ExportImageInput!) { exportImage(input: $input) {
  job { id } userErrors { code message } } }"""


async def find_image(client: Client, text: str) -> Answer:
    """The image with this name or id, with all that is needed to fetch it.

    Raises: TransferFailed: there is none, there are several, or it cannot be downloaded.
    """
    found = (await client.ask(BY_NAME, name=text))["nodes"]
    own = [image for image in found if image.get("downloadUrl")]
    if len(own) > 1:
        raise TransferFailed(
            f"There are {len(own)} images named {text}; give one's id: {', '.join(i['id'] for i in own)}."
        )
    image: Answer | None = next(iter(own or found), None) or await client.ask(BY_ID, id=text)
    if image is None:
        raise TransferFailed(f"There is no image with the name or id {text}; `image list` shows those that there are.")
    if not image.get("downloadUrl"):
        what = f"{image['name']} is {image['visibility']}, {image['kind']}, {image['status']}"
        raise TransferFailed(
            f"Only ACTIVE system disk, data disk and ISO images of one's own can be downloaded; {what}."
        )
    return image


async def export(
    client: Client, image_id: str, format: str, on_progress: Progress = lambda done, total: None
) -> Answer:
    """An export of an image, once it is there: url, format, checksum.

    Raises: TransferFailed.
    """
    payload = await client.ask(EXPORT, input={"imageId": image_id, "format": format})
    job = await client.finish(payload["job"]["id"], on_progress)
    made: Answer | None = job["export"]
    if made is None:
        raise TransferFailed("The export has expired already; run the command again.")
    return made


async def download(
    client: Client,
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    on_progress: Progress = lambda done, total: None,
) -> str:
    """Fetch a file, or what is missing of it; its SHA-256. `sha256`: what it has to be, if that is known.

    Raises: TransferFailed.
    """
    wanted = await _look(client, url)
    part = path.with_name(f"{path.name}.{wanted.mark}.part")
    try:
        with part.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            transfer = _Transfer(client, url, wanted, file=file, on_progress=on_progress)
            await transfer.run()
            if sha256 not in (None, transfer.sha256):
                part.unlink()
                raise TransferFailed(
                    "What has arrived is not what the service has, and was removed; run the command again."
                )
            os.fsync(file.fileno())
            part.replace(path)
    except BlockingIOError as error:
        raise TransferFailed(f"Another run is fetching {path}.") from error
    except OSError as error:
        message = f"Cannot write {path}: {error.strerror}; the same command goes on where it is."
        raise TransferFailed(message) from error
    return transfer.sha256


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be fetched, as its server tells it."""

    etag: str
    size_bytes: int

    @property
    def mark(self) -> str:
        """Short, and another for other bytes."""
        return hashlib.sha256(f"{self.etag} {self.size_bytes}".encode()).hexdigest()[:12]


async def _look(client: Client, url: str) -> _Wanted:
    """By its first byte: an address may be good for GET alone."""
    patience = Patience(client.pauses_s, "download")
    while True:
        try:
            async with _get(client, url, {"Range": "bytes=0-0"}) as response:
                await check(response, gone="The file")
                if response.status != HTTPStatus.PARTIAL_CONTENT:
                    raise TransferFailed(f"What answers at {url} does not send parts of files.")
                await response.read()  # what is not read costs the connection
                return _Wanted(response.headers["ETag"], int(response.headers["Content-Range"].rpartition("/")[2]))
        except (aiohttp.ClientError, TimeoutError, Again) as error:
            await patience.pause(error)


def _get(client: Client, url: str, headers: dict[str, str]) -> aiohttp.client._RequestContextManager:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_S)
    return client.session_for(url).get(url, headers={"Accept-Encoding": "identity"} | headers, timeout=timeout)


class _Transfer:
    """A file on its way, however often the connection breaks."""

    def __init__(self, client: Client, url: str, wanted: _Wanted, *, file: BinaryIO, on_progress: Progress) -> None:
        self._client, self._url, self._wanted = client, url, wanted
        self._file, self._on_progress = file, on_progress
        self._hash, self._done = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """Of what has arrived."""
        return self._hash.hexdigest()

    async def run(self) -> None:
        """Raises: TransferFailed. OSError: it cannot be written."""
        await self._begin()
        patience = Patience(self._client.pauses_s, "download")
        while self._done < self._wanted.size_bytes:
            patience.got_to(self._done)
            try:
                await self._fetch()
            except (aiohttp.ClientError, TimeoutError, Again) as error:
                await patience.pause(error)

    async def _begin(self) -> None:
        """What an earlier run has fetched is hashed; it cannot be more than there is."""
        there = os.fstat(self._file.fileno()).st_size
        if there > self._wanted.size_bytes:
            os.ftruncate(self._file.fileno(), there := 0)
        while self._done < there:
            block = await asyncio.to_thread(os.pread, self._file.fileno(), BLOCK_BYTES, self._done)
            self._hash.update(block)
            self._done += len(block)
        self._on_progress(self._done, self._wanted.size_bytes)

    async def _fetch(self) -> None:
        headers = {"Range": f"bytes={self._done}-", "If-Range": self._wanted.etag}
        async with _get(self._client, self._url, headers) as response:
            await check(response, gone="The file")
            begin = f"bytes {self._done}-"
            if not response.headers.get("Content-Range", "").startswith(begin):
                raise TransferFailed("The file is another now; run the command again to begin anew.")
            async for block in response.content.iter_chunked(BLOCK_BYTES):
                await asyncio.to_thread(self._add, block)
                self._on_progress(self._done, self._wanted.size_bytes)

    def _add(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(block)
        self._done += len(block)
