"""One content looked at: its checksums worked out when it is new, and compared when it is not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from uuid import UUID

import structlog

from app import db, states
from app.contents.models import Content
from app.engines.base import Chains, Engine
from app.enums import ContentState, DiskFormat, ErrorCode, ImageStatus
from app.errors import EngineError, NotFound, Unsupported
from app.images.models import Image, ImageDisk
from app.upkeep import damage
from app.upkeep.damage import Change
from app.upkeep.pace import Pace, modest_thread
from app.upkeep.standing import above, below

log = structlog.get_logger(__name__)

SLICE_BYTES = 16 << 20
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a content's bytes come to; `wrong` says why they are not what they were."""

    guest: str | None = None
    """SHA-256 of all bytes as a guest sees them; None when that of the file told enough."""
    file: str | None = None
    """SHA-256 of the file that it is lent as, if it is an image's download."""
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of it: whether a content is right, and which others ought to be looked at now."""

    is_right: bool
    others: set[UUID] = field(default_factory=set)


async def look_at(engine: Engine, content_id: UUID, pace: Pace) -> Looked:
    """Read a content, and write down what came of it.

    One that is released meanwhile is no error.

    Raises: EngineError: it could not be looked at, for a reason that is not its own.
    """
    content = await Content.get_or_none(id=content_id, state=ContentState.SEALED)
    if content is None:
        return Looked(is_right=False)
    pace.begin()
    try:
        found = await _read(engine, content, pace)
        if found.wrong:  # once more: it takes more than one bad moment to condemn an image
            found = await _read(engine, content, pace)
    except NotFound:
        return Looked(is_right=False)
    chains = await engine.contents.chains()
    async with db.transaction():
        looked, change = await _keep(content, found, chains)
    change.tell()
    return looked


async def _read(engine: Engine, content: Content, pace: Pace) -> Found:
    images = Image.filter(disks__content_id=content.id, status=ImageStatus.ACTIVE, disk_format=DiskFormat.QCOW2)
    known: list[Any] = list(await images.values_list("sha256", flat=True))
    try:
        file = await _sha256_of_file(engine, content.id, pace) if known else None
        expected = next(filter(None, known), None)
        if file and expected and content.sha256:
            # The file is all there is: when it is the same, so is what a guest sees.
            return Found(file=file, wrong=None if file == expected else "its file has other bytes")
        guest = await engine.contents.verify(content.id, pace.progress)
    except EngineError as error:
        if error.code != ErrorCode.DAMAGED:
            raise
        return Found(wrong=error.message)
    is_other = content.sha256 is not None and guest != content.sha256
    return Found(guest=guest, file=file, wrong="it has other bytes" if is_other else None)


async def _sha256_of_file(engine: Engine, content_id: UUID, pace: Pace) -> str | None:
    """Of the file that a content is lent as; None where it has none of its own."""
    try:
        lent = await engine.files.lend(content_id)
    except Unsupported:
        return None
    if lent.format != DiskFormat.QCOW2.value.lower():
        lent.file.close()
        return None
    digest = hashlib.sha256()
    with lent.file, modest_thread() as thread:
        while await asyncio.get_running_loop().run_in_executor(thread, _add, digest.update, lent.file):
            await pace.rest()
    return digest.hexdigest()


def _add(add: Callable[[bytes], None], file: BinaryIO) -> bool:
    """Hash the next slice; whether there was any."""
    for number in range(SLICE_BYTES // PIECE_BYTES):
        piece = file.read(PIECE_BYTES)
        if not piece:
            return number > 0
        add(piece)
    return True


async def _keep(content: Content, found: Found, chains: Chains) -> tuple[Looked, Change]:
    """In a transaction: what was found, and what follows for others."""
    wrong = found.wrong or ("it stands on damaged bytes" if await damage.is_doubtful(content, chains) else None)
    if wrong and content.damaged_at is not None:
        return Looked(is_right=False), Change()
    if wrong:
        # Those below may be the reason; those above may show that they are not hit.
        hit = await damage.condemn(content, chains, wrong) - {content.id}
        return Looked(False, hit | below(content.id, chains)), await damage.assess(chains)
    await _note(content, found)
    if content.damaged_at is None:
        return Looked(is_right=True), Change()
    log.info("content_sound_again", content_id=str(content.id))
    waiting = Content.filter(id__in=list(above(content.id, chains)), damaged_at__isnull=False)
    others: list[Any] = list(await waiting.values_list("id", flat=True))
    return Looked(True, set(others)), await damage.assess(chains)


async def _note(content: Content, found: Found) -> None:
    """In a transaction: it is right, and these are its checksums; images that lacked theirs are announced."""
    columns = {"sha256": found.guest} if found.guest else {}
    await Content.filter(id=content.id).update(verified_at=db.now(), damaged_at=None, **columns)
    told: list[Any] = []
    if found.guest and content.sha256 is None:
        told += await ImageDisk.filter(content_id=content.id).values_list("image_id", flat=True)
    if found.file:
        of_file = Image.filter(id__in=await _images_without(content.id))
        told += list(await of_file.values_list("id", flat=True))
        await of_file.update(sha256=found.file)
    for image_id in sorted(set(told)):
        await states.tell("Image", image_id)


async def _images_without(content_id: UUID) -> list[Any]:
    images = Image.filter(disks__content_id=content_id, status=ImageStatus.ACTIVE, disk_format=DiskFormat.QCOW2)
    return list(await images.filter(sha256__isnull=True).values_list("id", flat=True))
