"""An installation of its own, run by the command line in a process that can be killed at any point."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from app.engines.qemu.process import find_machines
from tests.client import DEADLINE_S, Client
from tests.e2e.aim import Aim
from tests.migrated import migrated_folder

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {
    "ACCELERATOR": "tcg",
    "RESERVE_MEMORY_MIB": "128",
    "RESERVE_DISK_MIB": "64",
    "STOP_TIMEOUT_S": "5",
    "FETCH_NETWORKS": '["127.0.0.0/8"]',
    "UPKEEP_PERCENT": "0",  # it would hash the GiBs of zeros that most machines have
}


class Died(AssertionError):
    """The service ended before it was open, with what it said."""


class Installation:
    """`python -m app serve --demo` on a folder, with SQLite whatever the environment says."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one, with a short path: sockets have at most 107 bytes."""
        self.folder = folder
        self.data = folder.resolve() / "data"
        self.engine = self.data / "engine"
        self.said: list[str] = []
        """What its processes told people, a line each."""
        self._pid: int | None = None
        self._ended: asyncio.Task[int] | None = None

    async def open(self) -> None:
        """Be ready to start it, any number of times."""
        shutil.copytree(await migrated_folder(), self.data)
        environment = {name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")}
        environment |= {f"IMAGE_SERVICE_{name}": value for name, value in SETTINGS.items()}
        # Compiled once for all runs of the tests.
        environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONPYCACHEPREFIX": str(REPOSITORY / ".cache" / "python")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._zygote = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.zygote", str(self.folder)),
            cwd=self.folder,
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        assert self._zygote.stderr is not None
        self._orders, self._answers, self._words = self._zygote.stdin, self._zygote.stdout, self._zygote.stderr
        self._is_open = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while line := (await self._words.readline()).decode():
            self.said.append(line)
            if line.startswith("Serving at "):
                self._is_open.set()

    async def close(self) -> None:
        """Leave no process and no file behind, however far a test got."""
        if self._pid is not None:
            await self.kill()
        for pid in self.machines().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._orders.close()
        await self._zygote.wait()
        await self._listening
        await self._answers.read()
        shutil.rmtree(self.folder)

    async def start(self, aim: Aim | None = None, **settings: str) -> Client:
        """Begin to serve, with other settings in this life, armed from the beginning or not; a client of alice.

        Raises: Died.
        """
        if aim:
            aim.write(self.folder)
        self._is_open.clear()
        order = ["serve", "--demo", "--no-linux", "--port", "0", "--data", str(self.data)]
        changed = {f"IMAGE_SERVICE_{name}": value for name, value in settings.items()}
        self._orders.write(json.dumps([order, changed, aim is not None]).encode() + b"\n")
        self._pid = int(await self._answers.readline())
        self._ended = asyncio.create_task(self._end())
        opening = asyncio.create_task(self._is_open.wait())
        await asyncio.wait({opening, self._ended}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            raise Died("".join(self.said)[-3000:])
        given = json.loads((self.data / "demo.json").read_bytes())
        url = given["url"].removesuffix("/graphql")
        return Client(url, given["tokens"]["alice"], project_id=given["projects"]["alice"], name="alice")

    async def _end(self) -> int:
        status = int(await self._answers.readline())
        self._pid = None
        return status

    def arm(self, aim: Aim) -> None:
        """Have something killed at a point of what the service does from now on."""
        assert self._pid is not None
        aim.write(self.folder)
        os.kill(self._pid, signal.SIGUSR1)

    @property
    def lives(self) -> bool:
        """Whether the service runs."""
        return self._pid is not None

    async def dead(self) -> int:
        """The service's exit status, once it has ended."""
        assert self._ended is not None
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """Have the service die as by accident; it may be dead already."""
        assert await self._signal(signal.SIGKILL) == -signal.SIGKILL

    async def stop(self) -> None:
        """End the service in good order."""
        assert await self._signal(signal.SIGTERM) == 0

    async def _signal(self, how: signal.Signals) -> int:
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, how)
        async with asyncio.timeout(DEADLINE_S):
            return await self.dead()

    def machines(self) -> dict[UUID, int]:
        """Machines that run, with their processes."""
        return find_machines(self.engine / "machines")

    def machine(self, ecs: dict[str, Any]) -> int:
        """The process of a machine that runs."""
        return self.machines()[UUID(ecs["uuid"])]
