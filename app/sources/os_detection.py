"""What system is on a disk that was taken in, as far as that is certain. It never beats what a user has said."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from app.engines.base import Contents
from app.engines.qemu.tools import ENVIRONMENT, guarded
from app.enums import Architecture, Firmware, OsType
from app.errors import InvalidInput
from app.images import service as images
from app.images.models import Image
from app.images.reads import OperatingSystem

log = structlog.get_logger(__name__)

DETECTING = Path(__file__).with_name("os_detecting.py")
ASK, TOLD = struct.Struct("<QI"), struct.Struct("<I")
"""As there."""
LIMITS = ("--as=1073741824", "--cpu=20", "--fsize=0", "--nofile=64:64")
LIMIT_S = 60.0
MOST_AT_ONCE_BYTES, MOST_READ_BYTES = 1 << 20, 256 << 20
"""Of the disk. A Linux takes about 2 MiB."""
MOST_SAID_BYTES = 65536


async def missing_columns(engine: Contents, content_id: UUID, image: Image, *, virtual_bytes: int) -> dict[str, object]:
    """Columns of an image's system that its user left open, and that its disk says. None where it does not, or cannot be looked at."""
    if image.os_type is not None and image.architecture is not None:
        return {}
    try:
        async with asyncio.timeout(LIMIT_S):
            said = await _ask(engine, content_id, virtual_bytes)
        found = _columns(said)
    except (OSError, TimeoutError, ValueError, TypeError, EOFError, InvalidInput) as error:
        # A file system that no one can read is no reason to have no image of it.
        log.info("os_not_detected", content=str(content_id), reason=repr(error)[:300])
        return {}
    if image.os_type is not None:
        found = {name: value for name, value in found.items() if not name.startswith("os_")}
    return {name: value for name, value in found.items() if getattr(image, name) is None}


def _columns(said: Mapping[str, Any]) -> dict[str, object]:
    """Raises: ValueError: a word that is none of ours. InvalidInput: a text that nobody would be allowed to say."""
    columns: dict[str, object] = {}
    if "type" in said:
        system = OperatingSystem(OsType(said["type"]), said.get("platform"), said.get("version"), said.get("bits"))
        columns |= images.os_columns(system)
    if "architecture" in said:
        columns["architecture"] = Architecture(said["architecture"])
    if "firmware" in said:
        columns["firmware"] = Firmware(said["firmware"])
    return columns


async def _ask(engine: Contents, content_id: UUID, virtual_bytes: int) -> Mapping[str, Any]:
    """Have the program look, and read for it what it wants to see.

    Raises: OSError, EOFError, ValueError, TypeError: it has failed, or does not keep to what was agreed. EngineError.
    """
    process = await asyncio.create_subprocess_exec(
        *guarded(*LIMITS),
        *(sys.executable, "-I", "-B", str(DETECTING), str(virtual_bytes)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        left = MOST_READ_BYTES
        while True:
            offset, length = ASK.unpack(await process.stdout.readexactly(ASK.size))
            if not length:
                return await _answer(process.stdout)
            left -= length
            if length > MOST_AT_ONCE_BYTES or left < 0:
                raise ValueError("it wants to see too much")
            told = await engine.read(content_id, offset, length)
            process.stdin.write(TOLD.pack(len(told)) + told)
            await process.stdin.drain()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()


async def _answer(stream: asyncio.StreamReader) -> Mapping[str, Any]:
    said = b""
    while len(said) < MOST_SAID_BYTES and (chunk := await stream.read(MOST_SAID_BYTES)):
        said += chunk
    answer = json.loads(said)
    if not isinstance(answer, dict) or not all(isinstance(value, (str, int)) for value in answer.values()):
        raise TypeError("it says something else")
    return answer
