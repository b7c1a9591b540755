"""Runs of the tools that build Tiny Linux: none outlives who asked for it, and what goes wrong is one sentence."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from app.engines.qemu.tools import guarded

PASSED_ON = ("PATH", "APT_CONFIG", "http_proxy", "https_proxy", "no_proxy")
"""Of our environment, which may hold secrets: what apt needs to know of where it is."""


class Unavailable(Exception):
    """Tiny Linux cannot be had here; the message says why, as a clause."""


async def run(
    *command: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """What a tool writes to its standard output; each line is also told to `on_line` as it comes.

    Raises: Unavailable: it fails, with its last words.
    """
    given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *guarded(),
        *command,
        cwd=cwd,
        env={**given, "LC_ALL": "C", **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.ensure_future(process.stderr.read())
    lines = []
    try:
        async for line in process.stdout:
            lines.append(line.decode(errors="replace"))
            if on_line:
                on_line(lines[-1])
        said = (await errors).decode(errors="replace").strip()
        if await process.wait():
            raise Unavailable(f"{command[0]} failed: {' '.join(said[-300:].split()) or 'it does not say why'}")
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started, which would hold its pipes open
        await asyncio.gather(process.stdout.read(), errors, process.wait(), return_exceptions=True)
        raise
    return "".join(lines)
