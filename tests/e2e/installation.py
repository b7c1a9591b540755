"""An installation of its own, run by the command line in a process that can be killed; and what is left in its folder then."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from app.engines.qemu.layers import SUFFIX, read_header
from app.engines.qemu.process import find_machines
from tests.client import DEADLINE_S, Client

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {"ACCELERATOR": "tcg", "RESERVE_MEMORY_MIB": "128", "RESERVE_DISK_MIB": "64", "STOP_TIMEOUT_S": "5"}


class Installation:
    """`python -m app serve --demo` on a folder, with SQLite whatever the environment says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine = folder, folder.resolve() / "engine"
        self.pid: int | None = None
        self.said: list[str] = []
        """What its processes told people, a line each."""

    async def open(self) -> None:
        """Be ready to start it, any number of times."""
        environment = {name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")}
        environment |= {f"IMAGE_SERVICE_{name}": value for name, value in SETTINGS.items()}
        # Compiled once for all runs of the tests.
        environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONPYCACHEPREFIX": str(REPOSITORY / ".cache" / "python")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._zygote = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.zygote"),
            cwd=self.folder.parent,
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
        """Leave no process behind, however far a test got."""
        if self.pid is not None:
            await self.kill()
        for pid in self.machines().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._orders.close()
        await self._zygote.wait()
        await self._listening
        await self._answers.read()

    async def start(self) -> Client:
        """Begin to serve; a client of alice."""
        self._is_open.clear()
        order = ["serve", "--demo", "--port", "0", "--data", str(self.folder)]
        self._orders.write(json.dumps(order).encode() + b"\n")
        self.pid = int(await self._answers.readline())
        async with asyncio.timeout(DEADLINE_S):
            await self._is_open.wait()
        given = json.loads((self.folder / "demo.json").read_bytes())
        url = given["url"].removesuffix("/graphql")
        return Client(url, given["tokens"]["alice"], project_id=given["projects"]["alice"], name="alice")

    async def kill(self) -> None:
        """Have the service die as by accident."""
        assert await self._end(signal.SIGKILL) == -signal.SIGKILL

    async def stop(self) -> None:
        """End the service in good order."""
        assert await self._end(signal.SIGTERM) == 0

    async def _end(self, how: signal.Signals) -> int:
        assert self.pid is not None
        os.kill(self.pid, how)
        async with asyncio.timeout(DEADLINE_S):
            status = int(await self._answers.readline())
        self.pid = None
        return status

    def machines(self) -> dict[UUID, int]:
        """Machines that run, with their processes."""
        return find_machines(self.engine / "machines")

    def kill_machine(self, ecs: dict[str, Any]) -> None:
        """Have a machine die as by accident."""
        os.kill(self.machines()[UUID(ecs["uuid"])], signal.SIGKILL)

    # ------------------------------------------------------------ when it was stopped

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database, as they were left."""
        with closing(sqlite3.connect(f"file:{self.folder / 'service.sqlite'}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def column(self, sql: str) -> list[Any]:
        """The only column of rows, in order."""
        return sorted(value for (value,) in self.rows(sql))

    def contradictions(self) -> list[str]:
        """Where rows, files and processes do not say the same, in words."""
        names = {kind: sorted(path.stem for path in (self.engine / kind).iterdir()) for kind in ("disks", "contents")}
        names["machines"] = sorted(path.name for path in (self.engine / "machines").iterdir())
        names["processes"] = sorted(str(machine_id) for machine_id in self.machines())
        names["layers"] = sorted(path.name for path in (self.engine / "layers").iterdir())
        names["held contents"] = names["contents"]
        wanted = {
            "machines": self.column("SELECT id FROM ecs_instance WHERE status IN ('ACTIVE', 'SHUTOFF')"),
            "processes": self.column("SELECT id FROM ecs_instance WHERE status = 'ACTIVE'"),
            "disks": self.column("SELECT id FROM evs_disk WHERE status = 'IN_USE'"),
            "contents": self.column("SELECT id FROM content WHERE state = 'SEALED'"),
            "held contents": self.column("SELECT DISTINCT content_id FROM image_disk"),
            "layers": sorted(self._layers()),
        }
        found = [f"{kind}: {names[kind]} but {wanted[kind]}" for kind in wanted if names[kind] != wanted[kind]]
        none = {
            "job that has not ended": "SELECT id FROM job WHERE status NOT IN ('SUCCESS', 'FAIL')",
            "machine that is still held": "SELECT id FROM ecs_instance WHERE job_id IS NOT NULL",
            "machine in between": "SELECT id FROM ecs_instance WHERE status NOT IN ('ACTIVE', 'SHUTOFF', 'ERROR', 'DELETED')",
            "disk in between": "SELECT id FROM evs_disk WHERE status <> 'IN_USE'",
            "content in between": "SELECT id FROM content WHERE state <> 'SEALED'",
            "image in between": "SELECT id FROM image WHERE status NOT IN ('ACTIVE', 'KILLED')",
        }
        found += [f"{what}: {ids}" for what, sql in none.items() if (ids := self.column(sql))]
        hidden = [
            path for path in self.folder.rglob("*") if path.name.startswith(".") or path.suffix in (".raw", ".tmp")
        ]
        found += [
            f"left behind: {path}" for path in (*hidden, *self.engine.glob("seals/*"), *self.engine.rglob("seal.json"))
        ]
        return found + self._quotas()

    def _layers(self) -> set[str]:
        reached: set[str] = set()
        for path in (*self.engine.glob("disks/*.json"), *self.engine.glob("contents/*.json")):
            name: str | None = json.loads(path.read_bytes())["layer"] + SUFFIX
            while name and name not in reached:
                reached.add(name)
                header = read_header(self.engine / "layers" / name)
                name = header.backing if header else None
        return reached

    def _quotas(self) -> list[str]:
        """Quotas that are not what the rows of their project come to."""
        counted: Counter[tuple[str, str]] = Counter()
        kept = "FROM ecs_instance e JOIN flavor f ON f.id = e.flavor_id WHERE e.status IN ('ACTIVE', 'SHUTOFF')"
        sums = {
            "ECS_INSTANCES": f"SELECT e.project_id, 1 {kept}",
            "VCPUS": f"SELECT e.project_id, f.vcpus {kept}",
            "RAM_MIB": f"SELECT e.project_id, f.ram_mib {kept}",
            "DISKS": "SELECT project_id, 1 FROM evs_disk",
            "DISK_GIB": "SELECT project_id, size_gib FROM evs_disk",
            "IMAGES": "SELECT project_id, 1 FROM image",
        }
        for resource, sql in sums.items():
            for project_id, amount in self.rows(sql):
                counted[project_id, resource] += amount
        quotas = self.rows("SELECT project_id, resource, used FROM quota")
        return [
            f"quota {resource}: {used} but {counted[project_id, resource]}"
            for project_id, resource, used in quotas
            if used != counted[project_id, resource]
        ]
