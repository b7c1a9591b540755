"""Disk files from outside, shown to qemu-img: never without being told their format, and within limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.engines.base import FileFacts
from app.engines.qemu.tools import Limits, Tools
from app.enums import ErrorCode
from app.errors import EngineError

FORMATS = frozenset({"raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi", "qed", "qcow"})
CHECKED = frozenset({"qcow2", "vmdk", "vhdx", "vdi", "qed"})
"""Formats whose tables qemu-img can check."""
SOUND = frozenset({0, 3})
"""Nothing is wrong, or only space is wasted."""


async def inspect(tools: Tools, path: Path, *, format: str, max_bytes: int) -> FileFacts:
    """See `app.engines.base.Contents.inspect`."""
    try:
        limits = tools.limits_of((await asyncio.to_thread(path.stat)).st_size)
    except FileNotFoundError:
        raise EngineError(ErrorCode.ENGINE_FAILED, f"there is no file {path.name}") from None
    facts = await _json(tools, limits, "info", "-f", format, str(path))
    _check_alone(facts, path)
    virtual_bytes = int(facts["virtual-size"])
    if virtual_bytes > max_bytes:
        return FileFacts(virtual_bytes=virtual_bytes, needed_bytes=None)
    if format in CHECKED:
        command = ("check", "-q", "-f", format, str(path))
        await tools.run(*command, accept=SOUND, limits=limits, failure=ErrorCode.DAMAGED)
    needed = await _json(tools, limits, "measure", "-f", format, "-O", "qcow2", str(path))
    return FileFacts(virtual_bytes=virtual_bytes, needed_bytes=int(needed["required"]))


def _check_alone(facts: Mapping[str, Any], path: Path) -> None:
    special = (facts.get("format-specific") or {}).get("data") or {}
    others = {extent["filename"] for extent in special.get("extents", ())} - {str(path)}
    if others or special.get("data-file") or any("backing" in name for name in facts):
        raise EngineError(ErrorCode.DAMAGED, "it is not whole without another file")
    if facts.get("encrypted"):
        raise EngineError(ErrorCode.DAMAGED, "it is encrypted")


async def _json(tools: Tools, limits: Limits, verb: str, *arguments: str) -> Any:
    return json.loads(await tools.said(verb, "--output=json", *arguments, failure=ErrorCode.DAMAGED, limits=limits))
