"""Machines of the QEMU engine: the verbs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from app.engines.base import MachineEvent, MachineFacts, MachineSpec, MachineState, StopHow
from app.engines.qemu import seed
from app.engines.qemu.command import MAX_DATA_DISKS
from app.engines.qemu.failures import engine_errors, to_the_end
from app.engines.qemu.holding import Locks
from app.engines.qemu.journal import Seals
from app.engines.qemu.plugging import Plugs
from app.engines.qemu.qmp import MonitorRefused
from app.engines.qemu.records import Records
from app.engines.qemu.running import Running
from app.engines.qemu.starting import Starter, read_spec, write_spec
from app.engines.qemu.store import Store, as_id, read_record
from app.engines.qemu.supervision import Supervision
from app.enums import ErrorCode
from app.errors import EngineError, NotFound

log = structlog.get_logger(__name__)


class QemuMachines:
    """See `app.engines.base.Machines`. One verb at a time for each machine."""

    def __init__(
        self,
        store: Store,
        records: Records,
        seals: Seals,
        *,
        starter: Starter,
        supervision: Supervision,
        plugs: Plugs,
    ) -> None:
        self._store, self._records, self._seals = store, records, seals
        self._starter, self._supervision, self._plugs = starter, supervision, plugs
        self.disk_locks = Locks()
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        supervision.lock_of = self._lock

    async def launch(self, machine_id: UUID, spec: MachineSpec) -> MachineFacts:
        """Start a machine for the first time."""
        async with self._held(machine_id) as running:
            if running:
                return running.facts()
            try:
                await asyncio.to_thread(self._prepare, machine_id, spec)
                return (await self._boot(machine_id, spec)).facts()
            except BaseException:
                await asyncio.to_thread(self._remove, machine_id)
                raise

    async def start(self, machine_id: UUID) -> MachineFacts:
        """Start a machine that is off."""
        async with self._held(machine_id) as running:
            if running:
                return running.facts()
            spec = await asyncio.to_thread(read_spec, self._folder(machine_id))
            return (await self._boot(machine_id, spec)).facts()

    async def stop(self, machine_id: UUID, *, deadline_s: float, force: bool) -> StopHow:
        """Press the power button, or cut the power."""
        async with self._held(machine_id) as running:
            self._folder(machine_id)
            if not running:
                return StopHow.WAS_OFF
            async with self._supervision.attended(running):
                has_obeyed = not force and await running.press_power_button(deadline_s)
                await self._supervision.end(running)
            await self._recover(machine_id)
            return StopHow.GUEST if has_obeyed else StopHow.FORCED

    async def reboot(self, machine_id: UUID, *, force: bool, deadline_s: float) -> MachineFacts:
        """Have it boot again, in the same process: thus on the same ports."""
        async with self._held(machine_id) as running:
            self._folder(machine_id)
            if not running:
                raise EngineError(ErrorCode.ENGINE_FAILED, "the machine does not run")
            async with self._supervision.attended(running):
                if not force:
                    await running.press_power_button(deadline_s)
                await running.reset()
                # A reset takes away the disks that the guest had been asked in vain to let go.
                if await self._supervision.plug_missing(running):
                    await running.reset()
            return running.facts()

    async def delete(self, machine_id: UUID) -> None:
        """Cut its power and forget it."""
        async with self._held(machine_id) as running:
            if running:
                await self._supervision.end(running)
            await self._recover(machine_id)
            await asyncio.to_thread(self._remove, machine_id)

    async def attach(self, machine_id: UUID, disk_id: UUID) -> None:
        """Give a machine one more disk."""
        async with self._held(machine_id) as running:
            spec = await asyncio.to_thread(read_spec, self._folder(machine_id))
            if disk_id in spec.disk_ids:
                if running:
                    await self._plugs.plug_missing(running)
                return
            if disk_id not in self._records.disks:
                raise NotFound(f"no disk {disk_id}")
            if len(spec.disk_ids) > MAX_DATA_DISKS:
                raise EngineError(ErrorCode.ENGINE_FAILED, f"the machine has {MAX_DATA_DISKS} data disks already")
            async with self.disk_locks.held(disk_id):
                if await asyncio.to_thread(self._has_owner, disk_id):
                    raise EngineError(ErrorCode.ENGINE_FAILED, "another machine has this disk")
                # Written down first: a disk that is plugged in and not written down would be anybody's.
                await to_the_end(self._set_disks(machine_id, running, [*spec.disk_ids, disk_id]))
                if running:
                    try:
                        await self._plugs.plug_missing(running)
                    except MonitorRefused:
                        await to_the_end(self._set_disks(machine_id, running, spec.disk_ids))
                        raise

    async def detach(self, machine_id: UUID, disk_id: UUID, *, deadline_s: float) -> None:
        """Take a data disk away from a machine."""
        async with self._held(machine_id) as running:
            spec = await asyncio.to_thread(read_spec, self._folder(machine_id))
            if disk_id not in spec.disk_ids:
                return
            if disk_id == spec.disk_ids[0]:
                raise EngineError(ErrorCode.ENGINE_FAILED, "a machine's system disk cannot be detached")
            await self._recover(machine_id, running)
            async with self.disk_locks.held(disk_id):
                if running:
                    await self._plugs.unplug(running, disk_id, deadline_s)
                await to_the_end(
                    self._set_disks(machine_id, running, [other for other in spec.disk_ids if other != disk_id])
                )

    async def describe(self, machine_id: UUID) -> MachineFacts:
        """What it is doing now."""
        running = self._supervision.running.get(machine_id)
        if running and running.process.is_running and not running.guest_off.is_set():
            return running.facts()
        is_there = await asyncio.to_thread(self._store.machine(machine_id).is_dir)
        return MachineFacts(state=MachineState.OFF if is_there else MachineState.GONE)

    def watch(self) -> AsyncIterator[MachineEvent]:
        """What machines do by themselves."""
        return self._supervision.news.watch()

    def user_of(self, disk_id: UUID) -> UUID | None:
        """The running machine that has a disk."""
        for machine_id, running in self._supervision.running.items():
            if disk_id in running.spec.disk_ids:
                return machine_id
        return None

    @asynccontextmanager
    async def having(self, disk_id: UUID) -> AsyncIterator[Running | None]:
        """Work on a disk alone, with the machine that runs on it, if one does, neither started nor stopped meanwhile.

        Raises: NotFound: no such disk. EngineError: ENGINE_FAILED when an interrupted seal of it cannot be finished now.
        """
        while True:
            user = self.user_of(disk_id)
            async with self.held(user) as running, self.disk_locks.held(disk_id):
                if self.user_of(disk_id) != (running.machine_id if running else None):
                    continue
                if disk_id not in self._records.disks:
                    raise NotFound(f"no disk {disk_id}")
                if path := self._seals.open_for_disk(disk_id):
                    await self._seals.recover(path, running.monitor if running else None)
                yield running
                return

    @asynccontextmanager
    async def held(self, machine_id: UUID | None) -> AsyncIterator[Running | None]:
        """Keep a machine from being started or stopped meanwhile; None for disks without one."""
        if machine_id is None:
            yield None
            return
        async with self._held(machine_id) as running:
            yield running

    def known(self) -> list[UUID]:
        """All machines of the store."""
        names = (as_id(path.name) for path in self._store.machines.iterdir())
        return [name for name in names if name]

    async def remove_unknown(self, known: Collection[UUID]) -> list[UUID]:
        """Delete the machines that nobody knows, and what interrupted deletions have left."""
        unknown = [machine_id for machine_id in await asyncio.to_thread(self.known) if machine_id not in known]
        for machine_id in unknown:
            await self.delete(machine_id)
        await asyncio.to_thread(self._remove_leavings)
        return unknown

    async def recover_seals(self) -> None:
        """Finish or undo the seals that an earlier run left open."""
        for path, machine_id in self._seals.open_journals().items():
            async with self.held(machine_id) as running:
                try:
                    if running:
                        await self._supervision.thaw(running)
                    await self._seals.recover(path, running.monitor if running else None)
                except EngineError as error:
                    # Its layers are kept, and it is tried again before anything else happens to the machine.
                    log.warning("a seal could not be recovered", machine_id=str(machine_id), error=error.message)

    async def plug_missing(self) -> None:
        """Have machines get the disks that they lost while nobody watched."""
        for machine_id in list(self._supervision.running):
            async with self._held(machine_id) as running:
                if running:
                    await self._supervision.plug_missing(running)

    @asynccontextmanager
    async def _held(self, machine_id: UUID) -> AsyncIterator[Running | None]:
        async with self._lock(machine_id):
            running = self._supervision.running.get(machine_id)
            if running and (running.guest_off.is_set() or not running.process.is_running):
                # It has just ended by itself: let that be told first.
                await self._supervision.settle(running)
                running = None
            with engine_errors(self._store):
                yield running

    def _lock(self, machine_id: UUID) -> asyncio.Lock:
        return self._locks.setdefault(machine_id, asyncio.Lock())

    def _folder(self, machine_id: UUID) -> Path:
        folder = self._store.machine(machine_id)
        if not (folder / "spec.json").is_file():
            raise NotFound(f"no machine {machine_id}")
        return folder

    async def _boot(self, machine_id: UUID, spec: MachineSpec) -> Running:
        await self._recover(machine_id)
        async with self.disk_locks.held(*spec.disk_ids):
            running = await self._starter.start(machine_id, spec)
            self._supervision.take(running)
        return running

    async def _recover(self, machine_id: UUID, running: Running | None = None) -> None:
        """Finish or undo an interrupted seal of a machine."""
        path = self._store.machine(machine_id) / "seal.json"
        await self._seals.recover(path, running.monitor if running else None)

    async def _set_disks(self, machine_id: UUID, running: Running | None, disk_ids: Sequence[UUID]) -> None:
        folder = self._store.machine(machine_id)
        spec = replace(running.spec if running else read_spec(folder), disk_ids=list(disk_ids))
        await asyncio.to_thread(write_spec, folder, spec)
        if running:
            running.spec = spec

    def _has_owner(self, disk_id: UUID) -> bool:
        """Whether any machine has a disk, running or not."""
        records = (read_record(path) for path in self._store.machines.glob("*/spec.json"))
        return any(str(disk_id) in disks for record in records if record and isinstance(disks := record["disks"], list))

    def _prepare(self, machine_id: UUID, spec: MachineSpec) -> None:
        folder = self._store.machine(machine_id)
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            image = seed.build_seed(
                instance_id=str(machine_id),
                hostname=spec.hostname,
                user_data=spec.user_data,
                public_keys=spec.public_keys,
                password_hash=spec.password_hash,
            )
        except ValueError as error:
            raise EngineError(ErrorCode.ENGINE_FAILED, f"the seed cannot be made: {error}") from error
        seed.write_seed(folder / "seed.iso", image)
        (folder / "console.log").touch(mode=0o600)
        write_spec(folder, spec)

    def _remove(self, machine_id: UUID) -> None:
        folder = self._store.machine(machine_id)
        # Renamed first: a machine is there or it is not, also after a crash half-way.
        leavings = folder.with_name(f"removed-{machine_id}")
        with suppress(FileNotFoundError):
            folder.rename(leavings)
        shutil.rmtree(leavings, ignore_errors=True)

    def _remove_leavings(self) -> None:
        for path in self._store.machines.iterdir():
            if as_id(path.name) is None:
                shutil.rmtree(path, ignore_errors=True)
