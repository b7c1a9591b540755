"""Receiving the bytes of an upload: what its row counts is durable, and never becomes less.

The offset moves forward only over bytes that were synced before. Whatever else is in the file is cut off when the next sender comes:
after a crash, after a wrong checksum, after more bytes than were declared.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from app import db, faults, policy, states
from app.enums import ErrorCode, TokenScope, UploadStatus
from app.errors import Busy, Conflict, InvalidInput, InvalidState, LimitExceeded, NotFound, Refused, ServiceError
from app.files import BLOCK_BYTES, Part
from app.policy import Caller
from app.uploads import intake
from app.uploads.intake import Intake
from app.uploads.models import Upload

log = structlog.get_logger(__name__)

ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
"""Of the checksum of one request."""
COMMIT_BYTES, COMMIT_S = 64 << 20, 5.0
"""So much is sent again at most after a crash in the middle of a request."""


class Cut(Exception):
    """The sender is gone, or silent."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request says of the bytes that it brings."""

    offset: int
    length: int | None
    algorithm: str | None = None
    checksum: bytes = b""


@dataclass(frozen=True, slots=True)
class Received:
    """What the service has of an upload."""

    offset_bytes: int
    expires_at: datetime


async def look(caller: Caller, upload_id: UUID) -> Upload:
    """An upload of the caller's, as it is now.

    Raises: Forbidden, NotFound. InvalidState: it has failed, and has to be begun anew.
    """
    policy.require(caller, TokenScope.IMAGES)
    row = await policy.visible_uploads(caller).get_or_none(id=upload_id)
    if row is None:
        raise NotFound("There is no such upload.")
    if row.status is UploadStatus.FAILED:
        raise InvalidState(f"{row.fault_message or 'The upload failed.'} Begin anew.")
    return row


async def receive(caller: Caller, upload_id: UUID, sent: Sent, chunks: AsyncIterator[bytes]) -> Received:
    """Add bytes to an upload. Without a checksum, what has come before a mishap is kept.

    Raises: Forbidden, NotFound, InvalidState. Conflict: it does not go on at this offset. LimitExceeded: more bytes than it has.
    Busy: another request is sending it. InvalidInput: an unknown checksum. Refused: CHECKSUM_MISMATCH, INSUFFICIENT_STORAGE.
    Cut: from `chunks`.
    """
    if sent.algorithm is not None and sent.algorithm not in ALGORITHMS:
        raise InvalidInput(f"Checksums can be {', '.join(ALGORITHMS)}.")
    _check(await look(caller, upload_id), sent)
    place = intake.current()
    try:
        part = await place.open(upload_id)
    except BlockingIOError:
        raise Busy("Another request is sending this upload.") from None
    try:
        row = await look(caller, upload_id)  # again: from here on nobody else changes its offset
        _check(row, sent)
        if row.status is UploadStatus.RECEIVING and row.offset_bytes < row.size_bytes:
            await _Reception(place, row, part, sent).take(chunks)
    except NotFound:
        await place.remove(upload_id)  # it was deleted just now: opening may have made the file anew
        raise
    finally:
        await place.run(part.close)
    if row.status is UploadStatus.RECEIVING:
        if part.end >= row.size_bytes:
            await complete(upload_id)
        row = await _outcome(caller, upload_id)
    return Received(row.offset_bytes, row.expires_at)


async def _outcome(caller: Caller, upload_id: UUID) -> Upload:
    """The same as look, where a failure is told to whoever sent the last byte.

    Raises: NotFound; Refused: why it failed.
    """
    row = await policy.visible_uploads(caller).get_or_none(id=upload_id)
    if row is None:
        raise NotFound("There is no such upload.")
    if row.status is UploadStatus.FAILED:
        raise Refused(row.fault_code or ErrorCode.INTERNAL, row.fault_message or "The upload failed.")
    return row


def _check(row: Upload, sent: Sent) -> None:
    if sent.offset != row.offset_bytes:
        raise Conflict(f"The upload goes on at {row.offset_bytes}, not at {sent.offset}.")
    if sent.length is not None and sent.offset + sent.length > row.size_bytes:
        raise LimitExceeded(f"The upload has {row.size_bytes} bytes; {sent.offset + sent.length} are too many.")


class _Reception:
    """One request's bytes on their way into the file."""

    def __init__(self, place: Intake, row: Upload, part: Part, sent: Sent) -> None:
        self._place, self._row, self._part, self._sent = place, row, part, sent
        self._durable = row.offset_bytes
        self._committed_at = time.monotonic()
        self._check = hashlib.new(sent.algorithm, usedforsecurity=False) if sent.algorithm else None

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """Raises: as receive."""
        await self._begin()
        try:
            await self._take(chunks)
            self._verify()
        except (Cut, asyncio.CancelledError, ServiceError) as error:
            spoilt = self._check is not None or isinstance(error, (LimitExceeded, NotFound))
            if spoilt:
                await self._place.run(self._part.cut, self._durable)
            else:
                await asyncio.shield(self._commit())
            raise
        await self._commit()

    async def _begin(self) -> None:
        if self._part.end < self._durable:
            lost = Refused(ErrorCode.INTERNAL, "The service has lost what it had received.")
            await _fail(self._place, self._row.id, lost)
            raise InvalidState(f"{lost.message} Begin anew.")
        if self._part.digest.offset > self._durable:
            raise AssertionError("a hash is remembered of bytes that are not durable")
        await self._place.run(self._part.cut, self._durable)

    async def _take(self, chunks: AsyncIterator[bytes]) -> None:
        """Writes one block while the next comes in."""
        writing: asyncio.Future[None] | None = None
        try:
            async with aclosing(_blocks(chunks)) as blocks:
                async for block in blocks:
                    if writing:
                        await asyncio.shield(writing)
                        writing = None
                        await self._commit_if_due()
                    if self._part.end + len(block) > self._row.size_bytes:
                        raise LimitExceeded(f"The upload has {self._row.size_bytes} bytes; more have come.")
                    check = self._check.update if self._check else None
                    writing = asyncio.ensure_future(self._place.run(self._part.add, block, check))
        finally:
            if writing:
                await asyncio.shield(writing)

    async def _commit_if_due(self) -> None:
        if self._check or self._part.end == self._row.size_bytes:
            return  # a checksum is of all the bytes; and the last byte may be followed by one too many
        late = time.monotonic() - self._committed_at > COMMIT_S
        if late or self._part.end - self._durable >= COMMIT_BYTES:
            await self._commit()

    def _verify(self) -> None:
        if self._check and not hmac.compare_digest(self._check.digest(), self._sent.checksum):
            raise Refused(ErrorCode.CHECKSUM_MISMATCH, "The bytes are not those of the checksum; send them again.")

    async def _commit(self) -> None:
        """Count what is in the file.

        Raises: NotFound: the upload was deleted meanwhile.
        """
        end = self._part.end
        if end > self._durable:
            await self._place.run(self._part.sync)
            counted = Upload.filter(id=self._row.id, status=UploadStatus.RECEIVING, offset_bytes=self._durable)
            if not await counted.update(offset_bytes=end, expires_at=db.now() + self._place.kept):
                raise NotFound("There is no such upload.")
            self._durable = end
            self._place.remember(self._row.id, self._part.digest)
        self._committed_at = time.monotonic()


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in fewer pieces; what came before the sender was cut off, too."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= BLOCK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except Cut:
        if size:
            yield b"".join(pieces)
        raise
    if size:
        yield b"".join(pieces)


# ---------------------------------------------------------------- once all bytes are here


async def complete(upload_id: UUID) -> None:
    """See that an upload that has all its bytes becomes COMPLETE, or FAILED. It goes on when its caller does not wait for it."""
    place = intake.current()
    task = place.completing.get(upload_id)
    if task is None:
        task = place.completing[upload_id] = asyncio.create_task(_complete(place, upload_id))
        task.add_done_callback(lambda _: place.completing.pop(upload_id, None))
    await asyncio.shield(task)


async def _complete(place: Intake, upload_id: UUID) -> None:
    row = await Upload.get_or_none(id=upload_id, status=UploadStatus.RECEIVING)
    if row is None or row.offset_bytes < row.size_bytes:
        return
    try:
        part = await place.open(upload_id)
    except BlockingIOError:
        return  # another process is at it
    try:
        if part.end < row.size_bytes:
            await _fail(place, upload_id, Refused(ErrorCode.INTERNAL, "The service has lost what it had received."))
            return
        await place.run(part.cut, row.size_bytes)
        while not await place.run(part.hash_on):
            pass
        sha256 = part.digest.hexdigest()
    finally:
        await place.run(part.close)
    if row.expected_sha256 not in (None, sha256):
        message = f"The file's SHA-256 is {sha256}, not {row.expected_sha256} as was said."
        await _fail(place, upload_id, Refused(ErrorCode.CHECKSUM_MISMATCH, message), sha256=sha256)
        return
    await states.UPLOAD.move(upload_id, UploadStatus.COMPLETE, sha256=sha256)
    log.info("upload_complete", upload_id=str(upload_id), size_bytes=row.size_bytes)


async def _fail(place: Intake, upload_id: UUID, error: ServiceError, **columns: Any) -> None:
    if await states.UPLOAD.move(upload_id, UploadStatus.FAILED, **columns, **faults.columns(error)):
        log.warning("upload_failed", upload_id=str(upload_id), code=error.code)
        await place.remove(upload_id)
