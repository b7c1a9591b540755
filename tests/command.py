"""The command line as people call it: processes of `python -m app`, on SQLite, with caches of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
DEADLINE_S = 60.0
SETTINGS = {
    "IMAGE_SERVICE_RESERVE_MEMORY_MIB": "128",
    "IMAGE_SERVICE_RESERVE_DISK_MIB": "64",
    "XDG_CACHE_HOME": str(CACHE),  # of Tiny Linux
    "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"),  # most of a start without it is compiling
}


def environment(**more: str) -> dict[str, str]:
    """Ours, without settings of whoever runs the tests."""
    strangers = ("IMAGE_SERVICE_", "DATABASE_URL", "PYTHONDONTWRITEBYTECODE", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if not name.startswith(strangers)} | SETTINGS | more


@dataclass
class Ended:
    """What a command left behind."""

    status: int
    output: str
    errors: str

    def refusal(self) -> str:
        """The one sentence that it ended with, and nothing else."""
        assert (self.status, self.output) == (1, ""), self
        assert self.errors.count("\n") == 1, self.errors
        return self.errors.strip()


@dataclass
class Running:
    """A command that is at work."""

    process: Process
    output: str = ""
    errors: str = ""
    machines: set[int] = field(default_factory=set)

    async def read_until(self, text: str, *, errors: bool = False) -> None:
        """Read its output, or its errors, up to the line with a text."""
        stream = self.process.stderr if errors else self.process.stdout
        assert stream is not None
        async with asyncio.timeout(DEADLINE_S):
            line = ""
            while text not in line:
                line = (await stream.readline()).decode()
                assert line, await self.end()
                if errors:
                    self.errors += line
                else:
                    self.output += line

    async def end(self) -> Ended:
        """What it ended with."""
        async with asyncio.timeout(DEADLINE_S):
            output, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(self.process.returncode, self.output + output.decode(), self.errors + errors.decode())

    async def stop(self, number: signal.Signals = signal.SIGINT) -> Ended:
        """Stop it as Ctrl-C does, and what it ended with."""
        self.process.send_signal(number)
        return await self.end()


@asynccontextmanager
async def started(*arguments: str | Path, **settings: str) -> AsyncIterator[Running]:
    """A command; killed if it still runs at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app",
        *map(str, arguments),
        cwd=ROOT,
        env=environment(**settings),
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(*arguments: str | Path, **settings: str) -> Ended:
    """A command from its beginning to its end."""
    async with started(*arguments, **settings) as running:
        return await running.end()


def machines_of(data: Path) -> set[int]:
    """Processes of the machines of a data folder: each works in its own folder there."""
    store = str((data / "engine").resolve())
    found = set()
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(store):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def remove_machines(data: Path) -> None:
    """See that a test leaves no machine behind."""
    for pid in machines_of(data):
        psutil.Process(pid).kill()
