"""An engine under test and what its tests need around it: guests that answer, keys to type on, bytes to look at."""

import asyncio
import hashlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from app.demo.hello import disk_image
from app.engines.base import Engine, Known, MachineEvent, MachineSpec, MachineState, Report
from app.engines.qemu.engine import QemuEngine, QemuSettings
from app.engines.qemu.layers import SUFFIX, read_header
from app.engines.qemu.process import machine_of
from app.engines.qemu.qmp import open_socket

LIMIT_S = 15.0
MIB = 1 << 20


async def no_progress(done: int, total: int) -> None:
    assert 0 <= done <= total


class Lab(ABC):
    """What is the same for every engine. A new engine's lab says how to make it, type on its consoles and look into its store."""

    engine: Engine

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disks: set[UUID] = set()
        self.machines: set[UUID] = set()
        self.contents: set[UUID] = set()
        self._hello: UUID | None = None

    @abstractmethod
    def new_engine(self) -> Engine: ...

    @abstractmethod
    async def type_line(self, machine_id: UUID, line: str, *, end: bytes = b" ok\r\n") -> bytes:
        """Type a command and answer what the guest says to it, up to the end of its answer."""

    @abstractmethod
    async def reset(self, machine_id: UUID, *, until: asyncio.Task[None]) -> None:
        """Have the guest boot anew by itself, again and again until something is done."""

    @abstractmethod
    async def read(self, content_id: UUID) -> bytes:
        """All bytes of a content."""

    @abstractmethod
    def kill(self, machine_id: UUID) -> None:
        """Have a machine die as by accident."""

    @property
    @abstractmethod
    def store(self) -> Path:
        """The folder that all its bytes are in."""

    @abstractmethod
    def leavings(self) -> list[str]:
        """What lies in the store and is reachable from nothing that is known, in words."""

    async def open(self) -> Report:
        self.engine = self.new_engine()
        await self.engine.open()
        return await self.engine.reconcile(self.known())

    def known(self) -> Known:
        return Known(machines=set(self.machines), disks=set(self.disks), contents=set(self.contents))

    async def reopen(self) -> Report:
        await self.engine.close()
        return await self.open()

    async def clear(self) -> None:
        self.machines.clear()
        await self.reopen()
        await self.engine.close()

    async def hello(self) -> UUID:
        """A content that boots."""
        if self._hello is None:
            self._hello = await self.ingest(disk_image())
        return self._hello

    async def ingest(self, data: bytes) -> UUID:
        path = self.folder / f"{uuid4()}.raw"
        path.write_bytes(data)
        content_id = self.content()
        await self.engine.contents.ingest(path, format="raw", content_id=content_id, progress=no_progress)
        path.unlink()
        return content_id

    def content(self) -> UUID:
        """An id for a content to come."""
        content_id = uuid4()
        self.contents.add(content_id)
        return content_id

    async def disk(self, content_id: UUID | None = None, *, size_bytes: int = 4 * MIB) -> UUID:
        disk_id = uuid4()
        self.disks.add(disk_id)
        await self.engine.contents.create_disk(disk_id, size_bytes=size_bytes, content_id=content_id)
        return disk_id

    def spec(self, *disk_ids: UUID, user_data: str | None = None, expose_ports: Iterable[int] = ()) -> MachineSpec:
        ports = tuple(expose_ports)
        return MachineSpec(
            hostname="lab", vcpus=1, ram_mib=32, disk_ids=disk_ids, user_data=user_data, expose_ports=ports
        )

    def machine(self) -> UUID:
        """An id for a machine to come."""
        machine_id = uuid4()
        self.machines.add(machine_id)
        return machine_id

    async def launch(self, *data_disks: UUID, user_data: str | None = None) -> tuple[UUID, UUID]:
        """A machine that says it is ready, and its system disk."""
        system_disk, machine_id = await self.disk(await self.hello()), self.machine()
        await self.engine.machines.launch(machine_id, self.spec(system_disk, *data_disks, user_data=user_data))
        await self.until_ready(machine_id)
        return machine_id, system_disk

    async def until_ready(self, machine_id: UUID, *, boots: int = 1) -> bytes:
        return await self.until(machine_id, b"READY", after=b"HELLO boots=%d " % boots)

    async def until(self, machine_id: UUID, text: bytes, *, after: bytes = b"", from_offset: int = 0) -> bytes:
        """Console output up to a text, which comes after another."""
        said = b""
        async with asyncio.timeout(LIMIT_S):
            async for _, piece in self.engine.consoles.follow(machine_id, from_offset=from_offset):
                said += piece
                begin = said.find(after)
                if begin >= 0 and (end := said.find(text, begin)) >= 0:
                    return said[: end + len(text)]
        raise AssertionError(f"the console ended before {text!r}: {said!r}")

    async def until_off(self, machine_id: UUID) -> None:
        """Wait for the end of a machine without hearing its event."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.engine.machines.describe(machine_id)).state is MachineState.RUNNING:  # noqa: ASYNC110 - no event on purpose
                await asyncio.sleep(0.01)

    @staticmethod
    async def event_of(watching: AsyncIterator[MachineEvent], machine_id: UUID) -> MachineEvent:
        """What a machine did by itself."""
        async with asyncio.timeout(LIMIT_S):
            async for event in watching:
                if event.machine_id == machine_id:
                    return event
        raise AssertionError


class QemuLab(Lab):
    """The QEMU engine in a folder of its own, without KVM: what machines do is the same everywhere."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder)
        self.root = folder / "store"
        plain = QemuSettings(root=self.root, accelerator="tcg", reserve_disk_bytes=0, reserve_memory_mib=0)
        self.settings = replace(plain, **settings)  # type: ignore[arg-type]

    def new_engine(self) -> QemuEngine:
        return QemuEngine(self.settings)

    @property
    def store(self) -> Path:
        return self.root

    def machine_folder(self, machine_id: UUID) -> Path:
        return self.root / "machines" / str(machine_id)

    async def reset(self, machine_id: UUID, *, until: asyncio.Task[None]) -> None:
        assert isinstance(self.engine, QemuEngine)
        running = self.engine.machines._supervision.running[machine_id]
        while not until.done():
            await running.monitor.ask("system_reset")
            await asyncio.wait({until}, timeout=0.2)
        await until

    async def type_line(self, machine_id: UUID, line: str, *, end: bytes = b" ok\r\n") -> bytes:
        offset, _ = await self.engine.consoles.tail(machine_id, max_bytes=0)
        connection = await open_socket(self.machine_folder(machine_id), "console.sock")
        with connection:
            await asyncio.get_running_loop().sock_sendall(connection, line.encode() + b"\n")
            # Connected until the answer is there: what QEMU has not read by the end of a connection is lost.
            return await self.until(machine_id, b"BYE\r\n" if line == "off" else end, from_offset=offset)

    async def type_line_without_engine(self, machine_id: UUID, line: str) -> None:
        """As type_line, while no engine is open: a console needs none."""
        self.engine = self.new_engine()
        await self.type_line(machine_id, line)

    async def read(self, content_id: UUID) -> bytes:
        assert isinstance(self.engine, QemuEngine)
        layer = self.root / "layers" / (self.engine.layer_of(content_id) + SUFFIX)
        raw = self.folder / f"{uuid4()}.raw"
        command = ("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(layer), str(raw))
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        data = raw.read_bytes()
        raw.unlink()
        return data

    def pid(self, machine_id: UUID) -> int:
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        found = [pid for pid in pids if machine_of(pid, self.root.resolve() / "machines") == machine_id]
        assert len(found) == 1
        return found[0]

    def kill(self, machine_id: UUID) -> None:
        os.kill(self.pid(machine_id), signal.SIGKILL)

    def leavings(self) -> list[str]:
        kept = {path.name for path in self.root.glob("*/*")}
        known = {f"{disk}.json" for disk in self.disks} | {f"{content}.json" for content in self.contents}
        known |= {str(machine) for machine in self.machines} | self.layers_in_use()
        known |= {path.name for path in self.root.glob("machines/*/.*")}
        return sorted(kept - known) + [str(path) for path in self.root.glob("**/*") if path.name.startswith(".")]

    def layers_in_use(self) -> set[str]:
        found: set[str] = set()
        for path in [*self.root.glob("disks/*.json"), *self.root.glob("contents/*.json")]:
            name = path.read_text().partition('"layer": "')[2].partition('"')[0] + SUFFIX
            while name and name not in found:
                found.add(name)
                header = read_header(self.root / "layers" / name)
                assert header is not None, f"{path} stands on nothing"
                name = header.backing or ""
        return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
