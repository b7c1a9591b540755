"""What happens to running machines: events, ends, pauses, and finding them again after a restart of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import structlog
from qemu.qmp import Message

from app.engines.base import MachineEventKind
from app.engines.qemu.accelerator import Accelerator
from app.engines.qemu.agent import Agent
from app.engines.qemu.consoles import trim
from app.engines.qemu.news import News
from app.engines.qemu.plugging import Plugs
from app.engines.qemu.process import Process, find_machines, host_boot_id, machine_of
from app.engines.qemu.qmp import MonitorFailed
from app.engines.qemu.running import Running, last_words
from app.engines.qemu.settings import QemuSettings
from app.engines.qemu.starting import Starter, read_spec, write_process
from app.engines.qemu.store import Store, as_id, read_record
from app.errors import EngineError, NotFound

HOUSEKEEPING_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class Supervision:
    """All running machines of one store."""

    def __init__(
        self, settings: QemuSettings, store: Store, starter: Starter, *, accelerator: Accelerator, plugs: Plugs
    ) -> None:
        self._settings, self._store, self._starter, self._accelerator = settings, store, starter, accelerator
        self._plugs = plugs
        self.running: dict[UUID, Running] = {}
        self.news = News()
        self.host_rebooted = False
        self.lock_of: Callable[[UUID], asyncio.Lock] = lambda _: asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()
        starter.all_running = self.running.values

    def open(self) -> None:
        """Begin to look after consoles and pauses."""
        self._chore(self._keep_house())

    async def close(self) -> None:
        """Let go of all machines; they run on."""
        tasks = [*self._chores, *(r.supervisor for r in self.running.values() if r.supervisor)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for running in self.running.values():
            await running.disconnect()
            running.process.let_go()
        self.running.clear()

    def take(self, running: Running) -> None:
        """Look after a machine that answers."""
        self.running[running.machine_id] = running
        running.supervisor = asyncio.create_task(self._supervise(running))

    @asynccontextmanager
    async def attended(self, running: Running) -> AsyncIterator[None]:
        """While a verb has a guest switch itself off: that is no news, unless the verb is given up half-way."""
        running.is_attended = True
        try:
            yield
        finally:
            running.is_attended = False
            if running.guest_off.is_set() and running.process.is_running:
                self._chore(self._see_off(running))

    async def end(self, running: Running) -> None:
        """Cut a machine's power, and have everything put away when this returns."""
        await running.end()
        await self._wait_for_supervisor(running)

    async def settle(self, running: Running) -> None:
        """Have a machine put away and its end told, when it has ended by itself; the caller holds its lock."""
        if running.process.is_running and self.running.get(running.machine_id) is running:
            await self.end(running)
            self.news.tell(running.machine_id, MachineEventKind.GUEST_OFF)
        await self._wait_for_supervisor(running)

    async def _wait_for_supervisor(self, running: Running) -> None:
        if running.supervisor:
            await asyncio.wait({running.supervisor})

    async def _supervise(self, running: Running) -> None:
        await self._look(running)
        async for message in running.messages():
            await self._react(running, message)
        await running.disconnect()
        await asyncio.to_thread(self._put_away, running.folder, running.has_quit)
        if self.running.get(running.machine_id) is running:
            del self.running[running.machine_id]
        if not running.is_ending:
            words = [str(running.process.exit.result()), self._store.conceal(last_words(running.folder))]
            detail = running.why_ended or ": ".join(filter(None, words))
            self.news.tell(running.machine_id, MachineEventKind.DIED, detail)

    async def _react(self, running: Running, message: Message) -> None:
        data = message.get("data", {})
        assert isinstance(data, dict)
        match message["event"]:
            case "SHUTDOWN" if data["guest"]:
                self._guest_went_off(running)
            case "BLOCK_IO_ERROR" if data.get("nospace") and data["action"] == "stop":
                self._pause(running)
            case "STOP":
                await self._look(running)
            case "DEVICE_UNPLUG_GUEST_ERROR" if "device" in data:
                running.unplugged(str(data["device"]), is_gone=False)
            # Of one that nobody waits for any longer the machine's spec still has the disk.
            case "DEVICE_DELETED" if "device" in data and not running.unplugged(str(data["device"]), is_gone=True):
                self._chore(self._plug_back(running))

    async def _look(self, running: Running) -> None:
        """Ask a machine what it is doing: after it stood still, and for what it did before its events were listened to."""
        with suppress(MonitorFailed):
            match await running.monitor.status():
                case "shutdown":
                    self._guest_went_off(running)
                case "io-error":
                    self._pause(running)
                case "internal-error":
                    self._chore(self._replace(running))

    def _guest_went_off(self, running: Running) -> None:
        if not running.guest_off.is_set():
            running.guest_off.set()
            if not running.is_attended:
                self._chore(self._see_off(running))

    async def _see_off(self, running: Running) -> None:
        async with self.lock_of(running.machine_id):
            if running.guest_off.is_set():
                await self.settle(running)

    def _pause(self, running: Running) -> None:
        if not running.waits_for_space:
            running.waits_for_space = True
            self.news.tell(running.machine_id, MachineEventKind.PAUSED_NO_SPACE, "the host is out of disk space")

    async def _resume(self, running: Running) -> None:
        with suppress(MonitorFailed):
            await running.monitor.ask("cont")
            # The write is tried again at once; when it fails the machine stands still within milliseconds.
            await asyncio.sleep(0.1)
            if await running.monitor.status() != "io-error":
                running.waits_for_space = False
                self.news.tell(running.machine_id, MachineEventKind.RESUMED)

    async def _replace(self, running: Running) -> None:
        """A guest that KVM cannot run is started again without it; one that nothing can run has died."""
        async with self.lock_of(running.machine_id):
            if not running.process.is_running:
                return
            running.why_ended = f"the guest cannot run under {running.accelerator}"
            running.is_ending = running.accelerator == "kvm" and self._accelerator.may_fall_back
            if running.is_ending:
                await self._accelerator.remember("tcg")
            running.process.kill()
            await self._wait_for_supervisor(running)
            if running.is_ending:
                try:
                    self.take(await self._starter.start(running.machine_id, running.spec))
                except EngineError as error:
                    self.news.tell(running.machine_id, MachineEventKind.DIED, error.message)

    async def thaw(self, running: Running) -> None:
        """Have a guest's file systems work again when a seal has not seen to that; the caller holds the machine's lock."""
        agent = Agent(running.folder)
        if agent.may_be_frozen and running.process.is_running:
            await agent.thaw()

    async def _thaw_later(self, running: Running) -> None:
        async with self.lock_of(running.machine_id):
            await self.thaw(running)

    async def plug_missing(self, running: Running) -> bool:
        """Have a machine get the disks of its spec that it has not, as far as it can; the caller holds its lock."""
        try:
            missing = await self._plugs.plug_missing(running)
        except (EngineError, MonitorFailed) as error:
            log.warning("a disk was not plugged in again", machine_id=str(running.machine_id), error=str(error))
            return False
        if missing:
            log.info("disks were plugged in again", machine_id=str(running.machine_id), disks=len(missing))
        return bool(missing)

    async def _plug_back(self, running: Running) -> None:
        async with self.lock_of(running.machine_id):
            if running.process.is_running:
                await self.plug_missing(running)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            for running in list(self.running.values()):
                try:
                    await trim(running.folder / "console.log", self._settings.console_max_bytes)
                    if running.waits_for_space and self._store.free_bytes() > self._settings.reserve_disk_bytes:
                        await self._resume(running)
                    if Agent(running.folder).may_be_frozen and not self.lock_of(running.machine_id).locked():
                        self._chore(self._thaw_later(running))
                except OSError as error:
                    log.warning("housekeeping failed", machine_id=str(running.machine_id), error=str(error))

    def _chore(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)

    def _chore_done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("an engine's chore failed", error=repr(error), exc_info=error)

    @staticmethod
    def _put_away(folder: Path, is_clean: bool) -> None:
        """Note that a machine does not run, and whether its disks need a look before it runs again."""
        Agent(folder).forget()
        process = folder / "process.json"
        with suppress(FileNotFoundError):
            if is_clean:
                process.unlink()
            else:
                process.replace(folder / "crashed")

    async def find_again(self) -> None:
        """Take the machines that run on from an earlier service, and tell of those that ended meanwhile."""
        found = await asyncio.to_thread(find_machines, self._store.machines)
        folders = await asyncio.to_thread(lambda: list(self._store.machines.iterdir()))
        gate = asyncio.Semaphore(16)

        async def look_at(folder: Path, machine_id: UUID) -> None:
            async with gate:
                await self._find_again(folder, machine_id, found.get(machine_id))

        machines = [(folder, machine_id) for folder in folders if (machine_id := as_id(folder.name))]
        await asyncio.gather(*(look_at(folder, machine_id) for folder, machine_id in machines))

    async def _find_again(self, folder: Path, machine_id: UUID, pid: int | None) -> None:
        record = await asyncio.to_thread(read_record, folder / "process.json")
        if record and record.get("boot_id") != host_boot_id():
            self.host_rebooted = True
        if pid is not None:
            with suppress(ProcessLookupError):
                if await self._reconnect(folder, machine_id, pid):
                    return
        if (folder / "process.json").exists():
            await asyncio.to_thread(self._put_away, folder, False)
            why = "the host was started anew" if self.host_rebooted else "it ended while nobody watched"
            words = self._store.conceal(last_words(folder))
            self.news.tell(machine_id, MachineEventKind.DIED, ": ".join(filter(None, [why, words])))

    async def _reconnect(self, folder: Path, machine_id: UUID, pid: int) -> bool:
        """Whether a process is this machine and answers. One that is and does not is killed: it could be neither used nor replaced."""
        process = Process(pid)
        # Looked at once more now that the process is held: its number cannot be given to another any longer.
        if machine_of(pid, self._store.machines) != machine_id:
            process.let_go()
            return False
        try:
            running = Running(machine_id, await asyncio.to_thread(read_spec, folder), folder=folder, process=process)
            await running.connect(self._settings.start_timeout_s)
            uuid = await running.monitor.ask("query-uuid")
            if not isinstance(uuid, dict) or uuid["UUID"] != str(machine_id):
                raise MonitorFailed("another machine answers in its place")
        except (EngineError, MonitorFailed, NotFound) as error:
            log.warning("a machine was not found again", machine_id=str(machine_id), error=str(error))
            process.kill()
            await process.wait(5)
            return False
        await asyncio.to_thread(write_process, folder, process)
        self.take(running)
        return True
