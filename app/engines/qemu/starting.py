"""Starting a machine: a place, memory, sound disks, a process that answers."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import structlog

from app.engines.base import MachineSpec
from app.engines.qemu.accelerator import Accelerator
from app.engines.qemu.command import build_command
from app.engines.qemu.layers import Layers
from app.engines.qemu.process import Process, available_memory_bytes, host_boot_id, resident_bytes
from app.engines.qemu.records import Records
from app.engines.qemu.running import Running, last_words
from app.engines.qemu.settings import QemuSettings
from app.engines.qemu.store import Store, read_record, write_durably
from app.enums import ErrorCode, Firmware
from app.errors import EngineError, NotFound

OVERHEAD_MIB = 64
"""What a machine takes beside its guest's memory: measured 45 to 110 MiB."""
MAX_FILES = 8192
"""Room for long chains on many disks."""

log = structlog.get_logger(__name__)


def write_spec(folder: Path, spec: MachineSpec) -> None:
    """Keep what a machine needs at each start. What its seed holds stays there: some of it is secret."""
    kept = {
        "hostname": spec.hostname,
        "vcpus": spec.vcpus,
        "ram_mib": spec.ram_mib,
        "disks": [str(disk_id) for disk_id in spec.disk_ids],
        "firmware": spec.firmware,
        "expose_ports": list(spec.expose_ports),
    }
    write_durably({folder / "spec.json": kept})


def read_spec(folder: Path) -> MachineSpec:
    """The inverse of `write_spec`. Raises: NotFound: never launched."""
    kept = read_record(folder / "spec.json")
    if kept is None:
        raise NotFound(f"no machine {folder.name}")
    disks, ports, vcpus, ram_mib = kept["disks"], kept["expose_ports"], kept["vcpus"], kept["ram_mib"]
    assert isinstance(disks, list)
    assert isinstance(ports, list)
    assert isinstance(vcpus, int)
    assert isinstance(ram_mib, int)
    return MachineSpec(
        hostname=str(kept["hostname"]),
        vcpus=vcpus,
        ram_mib=ram_mib,
        disk_ids=[UUID(disk) for disk in disks],
        firmware=Firmware(str(kept["firmware"])),
        expose_ports=ports,
    )


class Starter:
    """Starts machines, a few at a time."""

    def __init__(
        self,
        settings: QemuSettings,
        store: Store,
        layers: Layers,
        *,
        records: Records,
        accelerator: Accelerator,
    ) -> None:
        self._settings, self._store, self._layers = settings, store, layers
        self._records, self._accelerator = records, accelerator
        self._places = asyncio.Semaphore(settings.max_starting)
        self._starting_bytes = 0
        self.all_running: Callable[[], Collection[Running]] = lambda: ()

    async def start(self, machine_id: UUID, spec: MachineSpec) -> Running:
        """Start a process for a machine that has none, and wait until it answers.

        Raises: EngineError: NO_CAPACITY, TIMED_OUT, ENGINE_FAILED; then no process is left.
        """
        missing = [disk_id for disk_id in spec.disk_ids if disk_id not in self._records.disks]
        if missing:
            raise EngineError(ErrorCode.ENGINE_FAILED, f"disk {missing[0]} is not there")
        async with self._places:
            with self._memory(spec.ram_mib):
                await self._repair(machine_id, spec)
                name = self._accelerator.name
                try:
                    return await self._attempt(machine_id, spec, name)
                except EngineError as error:
                    if not self._accelerator.may_fall_back:
                        raise
                    log.warning("a machine did not start under KVM", machine_id=str(machine_id), error=error.message)
                running = await self._attempt(machine_id, spec, "tcg")
                await self._accelerator.remember("tcg")
                return running

    async def _attempt(self, machine_id: UUID, spec: MachineSpec, accelerator: str) -> Running:
        folder = self._store.machine(machine_id)
        command = build_command(
            qemu=self._settings.qemu,
            machine_id=machine_id,
            spec=spec,
            layers=self._records.disks,
            accelerator=accelerator,
            expose_host=self._settings.expose_host,
            restrict_network=self._settings.restrict_network,
            max_files=max_files(),
        )
        (folder / "qemu.err").unlink(missing_ok=True)
        process = Process.spawn(command, folder=folder, errors=folder / "qemu.err")
        running = Running(machine_id, spec, folder=folder, process=process)
        try:
            await asyncio.to_thread(write_process, folder, process)
            await running.connect(self._settings.start_timeout_s)
            if await running.monitor.status() == "internal-error":
                raise EngineError(ErrorCode.ENGINE_FAILED, f"the guest cannot run under {accelerator}")
        except BaseException as error:
            process.kill()
            await process.wait(5)
            await running.disconnect()
            (folder / "process.json").unlink(missing_ok=True)
            if isinstance(error, EngineError) and (said := last_words(folder)):
                raise EngineError(
                    ErrorCode(error.code), f"{error.message}: {self._store.conceal(said)}"[:400]
                ) from error
            raise
        return running

    async def _repair(self, machine_id: UUID, spec: MachineSpec) -> None:
        """A killed machine leaves clusters that nothing uses in the layers it wrote to: give them back."""
        mark = self._store.machine(machine_id) / "crashed"
        if mark.exists():
            for disk_id in spec.disk_ids:
                await self._layers.repair(self._records.disks[disk_id])
            mark.unlink(missing_ok=True)

    @contextmanager
    def _memory(self, ram_mib: int) -> Iterator[None]:
        """Set memory aside while a machine starts.

        A guest touches its memory bit by bit, so what running machines may still touch counts as taken: a launch that is refused is
        better than a guest that is killed later.
        """
        needed = (ram_mib + OVERHEAD_MIB) << 20
        untouched = sum(max(0, (r.spec.ram_mib << 20) - resident_bytes(r.process.pid)) for r in self.all_running())
        free = available_memory_bytes() - untouched - self._starting_bytes - (self._settings.reserve_memory_mib << 20)
        if needed > free:
            raise EngineError(ErrorCode.NO_CAPACITY, f"the host has no {ram_mib} MiB of memory for another machine")
        self._starting_bytes += needed
        try:
            yield
        finally:
            self._starting_bytes -= needed


def write_process(folder: Path, process: Process) -> None:
    """Keep by what a machine's process is found again."""
    kept = {"pid": process.pid, "start_ticks": process.start_ticks, "boot_id": host_boot_id()}
    write_durably({folder / "process.json": kept})


def max_files() -> int:
    """How many files a machine may have open: what we ask for, where we may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
