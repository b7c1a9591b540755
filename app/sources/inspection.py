"""What has to be known of a stranger's disk file before it is converted, and why one is refused.

First the bytes are looked at by a program that opens nothing else. Only then is qemu-img shown the file, under limits, and never
without being told the format: one that it detects by itself may name other files of this host.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engines.qemu.tools import ENVIRONMENT, Tools, guarded
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
}
"""What the engine calls a format."""
CHECKED = (DiskFormat.QCOW2, DiskFormat.VMDK, DiskFormat.VHDX, DiskFormat.VDI)
"""Formats whose tables qemu-img can check."""
SOUND = frozenset({0, 3})
"""Nothing is wrong, or only space is wasted."""


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


async def inspect(path: Path, *, declared: DiskFormat | None, kind: ImageKind) -> Inspected:
    """Look at a file, which nobody trusts yet.

    Raises: Refused: FORMAT_MISMATCH, UNSAFE_FILE, DISK_TOO_LARGE, TIMED_OUT.
    """
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _inspect(path, declared, kind)
    except TimeoutError:
        raise Refused(ErrorCode.TIMED_OUT, "It took too long to look at the file.") from None
    except EngineError as error:
        if error.code != ErrorCode.ENGINE_FAILED:
            raise
        raise unsafe(f"it is damaged ({error.message})") from error


def unsafe(reason: str) -> Refused:
    """A file that is not let in."""
    return Refused(ErrorCode.UNSAFE_FILE, f"The file cannot be taken in: {reason}.")


async def _inspect(path: Path, declared: DiskFormat | None, kind: ImageKind) -> Inspected:
    detected = await _detect(path)
    if declared not in (None, detected):
        raise Refused(ErrorCode.FORMAT_MISMATCH, f"The file is {detected.value}, not {declared} as was said.")
    tools, name = Tools("qemu-img", LIMIT_S), ENGINE_NAMES[detected]
    facts = await _json(tools, "info", name, path)
    _check_alone(facts)
    virtual_bytes = int(facts["virtual-size"])
    most = rules.max_disk_gib(kind)
    if virtual_bytes > most << 30:
        message = f"The disk in the file has {-(-virtual_bytes >> 30)} GiB; such an image has at most {most}."
        raise Refused(ErrorCode.DISK_TOO_LARGE, message, otc="IMG.0111")
    if detected in CHECKED:
        await tools.run("check", "-q", "-f", name, str(path), accept=SOUND)
    needed = await _json(tools, "measure", name, path, "-O", "qcow2")
    return Inspected(detected, virtual_bytes, int(needed["required"]))


def _check_alone(facts: Mapping[str, Any]) -> None:
    """What has been looked for before, once more as qemu-img sees it."""
    special = (facts.get("format-specific") or {}).get("data") or {}
    if any("backing" in name for name in facts):
        raise unsafe("it has a backing file")
    if special.get("data-file"):
        raise unsafe("it has an external data file")
    if facts.get("encrypted"):
        raise unsafe("it is encrypted")


async def _json(tools: Tools, verb: str, format: str, path: Path, *options: str) -> Any:
    lines = [line async for line in tools.lines(verb, "--output=json", "-f", format, *options, str(path))]
    return json.loads(b"".join(lines))


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
