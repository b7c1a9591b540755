"""Writing down what an opener reads, within limits, and going on where it was cut off: after a drop, and after a restart."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from app.enums import ErrorCode
from app.errors import LimitExceeded, Refused
from app.fetching.base import Dropped, Opener, Stream
from app.fetching.folder import Note, read_note, write_note
from app.files import BLOCK_BYTES, Digest, Part, free_bytes

log = structlog.get_logger(__name__)

COMMIT_BYTES, COMMIT_S = 64 << 20, 5.0
"""So much is fetched again at most after a restart."""
BEAT_S = 0.5
STEP_BYTES = 1 << 20
"""A try that brings less than this has failed."""

Beat = Callable[[int, int | None], Awaitable[None]]
"""How many bytes are here, and of how many. What it raises ends the fetching; what is here stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What is borne of the other side."""

    tries: int = 8
    """In a row that bring less than STEP_BYTES more."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    silent_s: float = 40.0
    """Between bytes; an opener may have less, and its own words for it."""
    slow_s: float = 60.0
    slow_bytes: int = 256 << 10
    """What has to come in `slow_s`, on average."""
    total_s: float = 12 * 3600.0

    def wait_s(self, tries: int) -> float:
        """Before the next try, after so many in a row."""
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** (tries - 1))


async def fetch(
    opener: Opener,
    url: str,
    path: Path,
    *,
    max_bytes: int,
    reserve_bytes: int,
    beat: Beat,
    patience: Patience | None = None,
) -> str:
    """See that a file is at `path`, and nowhere else; its SHA-256. What is there of an earlier call is gone on with.

    Raises: BlockingIOError: another call writes it. Refused: FETCH_FAILED, INSUFFICIENT_STORAGE, TIMED_OUT. LimitExceeded: it has more
    than `max_bytes`. As opener.open, and what `beat` raises.
    """
    patience = patience or Patience()
    await asyncio.to_thread(path.parent.mkdir, mode=0o700, exist_ok=True)
    part = Part(
        path, Digest(), reserve_bytes=reserve_bytes
    )  # in no thread, which could come back with a locked file to nobody
    fetching = _Fetching(opener, url, path, part, max_bytes=max_bytes, reserve_bytes=reserve_bytes, patience=patience)
    try:
        async with asyncio.timeout(patience.total_s):
            await _with(beat, fetching)
    except TimeoutError:
        hours = f"{patience.total_s / 3600:.3g}"
        raise Refused(ErrorCode.TIMED_OUT, f"The file has not come within {hours} hours.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full() from None
        raise
    finally:
        await asyncio.to_thread(part.close)
    assert fetching.note.sha256
    return fetching.note.sha256


async def _with(beat: Beat, fetching: _Fetching) -> None:
    """Fetch, and meanwhile say how far it is; however silent the other side, that is also where it is stopped."""
    task = asyncio.create_task(fetching.run())
    try:
        while not (await asyncio.wait({task}, timeout=BEAT_S))[0]:
            await beat(fetching.end, fetching.note.total_bytes)
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


class _Fetching:
    """A file on its way."""

    def __init__(
        self,
        opener: Opener,
        url: str,
        path: Path,
        part: Part,
        *,
        max_bytes: int,
        reserve_bytes: int,
        patience: Patience,
    ) -> None:
        self._opener, self._url, self._path, self._part = opener, url, path, part
        self._max_bytes, self._reserve_bytes, self._patience = max_bytes, reserve_bytes, patience
        self._committed_at = time.monotonic()
        self.note = Note()

    @property
    def end(self) -> int:
        """How much is here."""
        return self._part.end

    async def run(self) -> None:
        """Raises: as fetch."""
        self.note = await asyncio.to_thread(read_note, self._path)
        if self.note.offset > self.end:
            self.note = Note()  # the file was lost
        if self.note.sha256:
            return
        await asyncio.to_thread(self._part.cut, self.note.offset)
        await self._gather()
        if not self.end:
            raise Refused(ErrorCode.FETCH_FAILED, "The file at this address is empty.")
        while not await asyncio.to_thread(self._part.hash_on):
            pass
        await self._commit(sha256=self._part.digest.hexdigest())

    async def _gather(self) -> None:
        """All bytes, in as many pieces as it takes while each brings it further."""
        furthest, tries = self.end, 0
        while self.end == 0 or self.end != self.note.total_bytes:
            try:
                await self._try()
            except Dropped as error:
                tries = 1 if self.end >= furthest + STEP_BYTES else tries + 1
                furthest = max(furthest, self.end)
                log.info("fetch_dropped", reason=str(error), offset=self.end, tries=tries)
                if tries >= self._patience.tries:
                    raise Refused(ErrorCode.FETCH_FAILED, f"{error} It was tried {tries} times.") from None
            else:
                return
            await asyncio.sleep(self._patience.wait_s(tries))

    async def _try(self) -> None:
        async with self._opener.open(self._url, offset=self.end, validator=self.note.validator) as stream:
            if stream.offset not in (0, self.end):
                raise AssertionError("an opener begins where it is told, or at the beginning")
            self._check_size(stream)
            self.note = Note(stream.offset, stream.total_bytes, stream.validator)
            if not stream.offset:
                await asyncio.to_thread(write_note, self._path, self.note)  # before what was noted is overwritten
                await asyncio.to_thread(self._part.cut, 0)
                self._part.digest = Digest()
            try:
                async with aclosing(_blocks(stream.chunks, self._patience)) as blocks:
                    await self._take(blocks)
            finally:
                await self._commit()
        if stream.total_bytes is not None and self.end < stream.total_bytes:
            raise Dropped(f"The file ended after {self.end} of {stream.total_bytes} bytes.")

    def _check_size(self, stream: Stream) -> None:
        if stream.total_bytes is None:
            return
        self._check_most(stream.total_bytes)
        if free_bytes(self._path.parent) < self._reserve_bytes + stream.total_bytes - stream.offset:
            raise full()

    def _check_most(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise LimitExceeded(f"A file has at most {self._max_bytes} bytes; the one at this address has more.")

    async def _take(self, blocks: AsyncIterator[bytes]) -> None:
        """Writes one block while the next comes in."""
        writing: asyncio.Future[None] | None = None
        try:
            async for block in blocks:
                if writing:
                    await asyncio.shield(writing)
                    writing = None
                    await self._commit_if_due()
                self._check_most(self.end + len(block))
                writing = asyncio.ensure_future(asyncio.to_thread(self._part.add, block))
        finally:
            if writing:
                await asyncio.shield(writing)

    async def _commit_if_due(self) -> None:
        if self.end - self.note.offset >= COMMIT_BYTES or time.monotonic() - self._committed_at > COMMIT_S:
            await self._commit()

    async def _commit(self, sha256: str | None = None) -> None:
        """Have the next attempt go on from here."""
        await asyncio.to_thread(self._part.sync)
        self.note = replace(self.note, offset=self.end, sha256=sha256)
        await asyncio.to_thread(write_note, self._path, self.note)
        self._committed_at = time.monotonic()


async def _blocks(chunks: AsyncIterator[bytes], patience: Patience) -> AsyncGenerator[bytes]:
    """The same bytes in fewer pieces, as long as they come fast enough; what came before they ended, too."""
    pieces: list[bytes] = []
    size = recent = 0
    since = time.monotonic()
    try:
        while True:
            try:
                async with asyncio.timeout(patience.silent_s):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise Dropped("The server sends nothing any more.") from None
            if chunk is None:
                break
            pieces.append(chunk)
            size, recent = size + len(chunk), recent + len(chunk)
            if time.monotonic() - since > patience.slow_s:
                if recent < patience.slow_bytes:
                    raise Dropped("The server sends too slowly.")
                recent, since = 0, time.monotonic()
            if size >= BLOCK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except Dropped:
        if size:
            yield b"".join(pieces)
        raise
    if size:
        yield b"".join(pieces)


def full() -> Refused:
    """There is no space for what is to be written."""
    return Refused(ErrorCode.INSUFFICIENT_STORAGE, "The service has no room for the file.")
