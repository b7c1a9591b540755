"""What has to be known of a stranger's disk file before it is converted, and why one is refused.

First the bytes are looked at by a program that opens nothing else. Only then is the engine shown the file, and told its format: one
that it detects by itself may name other files of this host.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.engines.base import Contents
from app.engines.qemu.tools import ENVIRONMENT, guarded
from app.enums import DiskFormat, ErrorCode, ImageKind
from app.errors import EngineError, Refused
from app.images import rules

DETECTING = Path(__file__).with_name("detecting.py")
DETECTING_LIMITS = ("--as=1073741824", "--cpu=300", "--fsize=0", "--nofile=64:64")
LIMIT_S = 600.0
ENGINE_NAMES: Mapping[DiskFormat, str] = {
    DiskFormat.QCOW2: "qcow2",
    DiskFormat.RAW: "raw",
    DiskFormat.VMDK: "vmdk",
    DiskFormat.VHD: "vpc",
    DiskFormat.VHDX: "vhdx",
    DiskFormat.VDI: "vdi",
    DiskFormat.QED: "qed",
    DiskFormat.QCOW: "qcow",
    DiskFormat.ISO: "raw",
}
"""What the engine calls a format."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file that can be converted."""

    format: DiskFormat
    virtual_bytes: int
    needed_bytes: int
    """What it takes at most once it is converted."""

    @property
    def size_gib(self) -> int:
        """The least disk that holds it."""
        return max(1, -(-self.virtual_bytes >> 30))


async def inspect(engine: Contents, path: Path, *, declared: DiskFormat | None, kind: ImageKind) -> Inspected:
    """Look at a file, which nobody trusts yet.

    Raises: Refused: FORMAT_MISMATCH, UNSAFE_FILE, DISK_TOO_LARGE, TIMED_OUT. EngineError: as the engine's inspect, but for DAMAGED.
    """
    try:
        async with asyncio.timeout(LIMIT_S):
            detected = await _detect(path)
    except TimeoutError:
        raise Refused(ErrorCode.TIMED_OUT, "It took too long to look at the file.") from None
    _check_kind(detected, declared, kind)
    most = rules.max_disk_gib(kind)
    with blaming_file():
        facts = await engine.inspect(path, format=ENGINE_NAMES[detected], max_bytes=most << 30)
    if facts.needed_bytes is None:
        message = f"The disk in the file has {-(-facts.virtual_bytes >> 30)} GiB; such an image has at most {most}."
        raise Refused(ErrorCode.DISK_TOO_LARGE, message, otc="IMG.0111")
    return Inspected(detected, facts.virtual_bytes, facts.needed_bytes)


def unsafe(reason: str) -> Refused:
    """A file that is not let in."""
    return Refused(ErrorCode.UNSAFE_FILE, f"The file cannot be taken in: {reason}.")


@contextmanager
def blaming_file() -> Iterator[None]:
    """Where the engine reads a stranger's file: what is damaged is that.

    Raises: Refused: UNSAFE_FILE.
    """
    try:
        yield
    except EngineError as error:
        if error.code != ErrorCode.DAMAGED:
            raise
        raise unsafe(f"it is damaged ({error.message})") from error


def _check_kind(detected: DiskFormat, declared: DiskFormat | None, kind: ImageKind) -> None:
    """Raises: Refused: FORMAT_MISMATCH: it is not what was said, or makes no such image."""
    message = None
    if declared not in (None, detected):
        message = f"The file is {detected.value}, not {declared} as was said."
    elif kind is ImageKind.ISO and detected is not DiskFormat.ISO:
        message = f"The file is {detected.value}, and no disc: say kind SYSTEM_DISK or DATA_DISK."
    elif kind is not ImageKind.ISO and detected is DiskFormat.ISO:
        message = "The file is a disc: say kind ISO."
    if message:
        raise Refused(ErrorCode.FORMAT_MISMATCH, message)


async def _detect(path: Path) -> DiskFormat:
    process = await asyncio.create_subprocess_exec(
        *guarded(*DETECTING_LIMITS),
        *(sys.executable, "-I", "-B", str(DETECTING), str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise unsafe("it cannot be looked at within limits")
    found: dict[str, str] = json.loads(said)
    if "unsafe" in found:
        raise unsafe(found["unsafe"])
    try:
        return DiskFormat(found["format"].upper())
    except ValueError:
        raise unsafe(f"disk files of format {found['format']} are not") from None
