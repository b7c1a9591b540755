"""A process that owns an engine and is killed at a named point of its work.

The points are the system's own audit events (docs.python.org/3/library/audit_events.html), so the engine has no hooks for them: a point
"os.rename seal.json" is the moment just before a file of that name appears. The process is forked by a server that has everything
imported, which makes it cheap.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import UUID

from app.engines.base import MachineSpec
from app.engines.qemu import running
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.engines.qemu.qmp import COMMAND_LIMIT_S, Monitor

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.engines.victim"])


@dataclass(frozen=True)
class Point:
    """Just before the nth event of a kind whose arguments have a text in them."""

    event: str
    text: str = ""
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.event} {self.text} {self.nth}"

    def arm(self) -> None:
        left = self.nth

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event == self.event and self.text in str(arguments):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)


@dataclass(frozen=True)
class Launch:
    machine_id: UUID
    spec: MachineSpec

    async def run(self, engine: QemuEngine) -> None:
        await engine.machines.launch(self.machine_id, self.spec)


@dataclass(frozen=True)
class Delete:
    machine_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.machines.delete(self.machine_id)


@dataclass(frozen=True)
class Seal:
    contents: dict[UUID, UUID]
    machine_id: UUID | None

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.seal(self.contents, machine_id=self.machine_id)


@dataclass(frozen=True)
class Copy:
    content_id: UUID
    new_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.copy(self.content_id, self.new_id, audited)


async def audited(done: int, total: int) -> None:
    sys.audit("progress", "some" if done else "none")


@dataclass(frozen=True)
class Export:
    content_id: UUID
    path: Path

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.export(self.content_id, self.path, format="raw", progress=audited)


@dataclass(frozen=True)
class Compact:
    content_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.compact(self.content_id, audited)


@dataclass(frozen=True)
class CompactDisk:
    disk_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.compact_disk(self.disk_id, audited)


@dataclass(frozen=True)
class Attach:
    machine_id: UUID
    disk_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.machines.attach(self.machine_id, self.disk_id)


@dataclass(frozen=True)
class Extend:
    disk_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.extend(self.disk_id, 8 << 20)


@dataclass(frozen=True)
class CreateDisk:
    disk_id: UUID
    content_id: UUID

    async def run(self, engine: QemuEngine) -> None:
        await engine.contents.create_disk(self.disk_id, size_bytes=4 << 20, content_id=self.content_id)


class AuditedMonitor(Monitor):
    """Commands to machines are no audit events of the system's."""

    async def run(
        self, command: str, arguments: Mapping[str, object] | None = None, *, limit_s: float = COMMAND_LIMIT_S
    ) -> object:
        sys.audit("monitor", command)
        return await super().run(command, arguments, limit_s=limit_s)


Verb = Launch | Delete | Seal | Copy | Export | Compact | CompactDisk | Attach | Extend | CreateDisk


def work(root: Path, verb: Verb, point: Point) -> None:
    async def run() -> None:
        running.Monitor = AuditedMonitor  # type: ignore[misc]
        engine = QemuEngine(QemuSettings(root=root, accelerator="tcg", reserve_disk_bytes=0, reserve_memory_mib=0))
        await engine.open()
        point.arm()
        await verb.run(engine)
        os._exit(0)

    asyncio.run(run())


async def kill_at(root: Path, verb: Verb, point: Point) -> None:
    """Have a process do something and die in the middle; that it gets there is asserted."""
    process: ForkServerProcess = CONTEXT.Process(target=work, args=(root, verb, point))
    process.start()
    await asyncio.to_thread(process.join, 30)
    status = process.exitcode
    if status is None:
        process.kill()
        process.join()
    process.close()
    assert status == -signal.SIGKILL, f"{point} was not reached: {status}"
