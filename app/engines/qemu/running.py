"""One machine that runs: its process, its two monitors, and what can be asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from qemu.qmp import Message, QMPError

from app.engines.base import Endpoint, MachineFacts, MachineSpec, MachineState
from app.engines.qemu.command import read_endpoints
from app.engines.qemu.process import Process
from app.engines.qemu.qmp import EventMonitor, Monitor, MonitorFailed
from app.enums import ErrorCode
from app.errors import EngineError

CONNECT_EVERY_S = 0.005
QUIT_LIMIT_S = 5.0

One = TypeVar("One")
Other = TypeVar("Other")


class Running:
    """A machine with a process. Made for each start, and of no use after its end."""

    def __init__(self, machine_id: UUID, spec: MachineSpec, *, folder: Path, process: Process) -> None:
        self.machine_id, self.spec, self.folder, self.process = machine_id, spec, folder, process
        self.monitor = Monitor(str(machine_id))
        self._events = EventMonitor(str(machine_id))
        self.accelerator = ""
        self.endpoints: list[Endpoint] = []
        self.guest_off = asyncio.Event()
        """The guest has switched itself off; its process waits for us."""
        self.is_attended = False
        """A verb has it switch itself off, so that is nobody's news."""
        self.is_ending = False
        """Its power is being cut on purpose, so its end is nobody's news."""
        self.has_quit = False
        """It has agreed to end, so its disk files are closed in order."""
        self.why_ended = ""
        """Where the end of its process would not say."""
        self.waits_for_space = False
        self.supervisor: asyncio.Task[None] | None = None
        self._unplugs: dict[str, asyncio.Future[bool]] = {}

    async def connect(self, limit_s: float) -> None:
        """Wait until it answers, and learn what can be known only now.

        Raises: EngineError: TIMED_OUT, or ENGINE_FAILED when its process ends first.
        """
        try:
            async with asyncio.timeout(limit_s):
                await self._connect()
                async with self.monitor.sequence() as monitor:
                    is_kvm = await monitor.run("query-kvm", limit_s=limit_s)
                    usernet = await monitor.run("human-monitor-command", {"command-line": "info usernet"})
        except TimeoutError as error:
            raise EngineError(ErrorCode.TIMED_OUT, f"the machine did not answer for {limit_s:g} s") from error
        except MonitorFailed as error:
            raise EngineError(ErrorCode.ENGINE_FAILED, f"the machine did not start: {error}") from error
        self.accelerator = "kvm" if isinstance(is_kvm, dict) and is_kvm["enabled"] else "tcg"
        self.endpoints = read_endpoints(str(usernet))

    async def _connect(self) -> None:
        while True:
            if not self.process.is_running:
                raise EngineError(ErrorCode.ENGINE_FAILED, f"the machine did not start: {self.process.exit.result()}")
            try:
                await self._events.connect(self.folder)
                await self.monitor.connect(self.folder)
            except (QMPError, OSError, EOFError):
                await self.disconnect()
                self.monitor, self._events = Monitor(str(self.machine_id)), EventMonitor(str(self.machine_id))
            else:
                return
            await self.process.wait(CONNECT_EVERY_S)

    async def messages(self) -> AsyncIterator[Message]:
        """Its events, until its process ends."""
        events = self._events.events()
        while True:
            coming = asyncio.ensure_future(anext(events))
            try:
                await first_of(coming, self.process.exit)
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait({coming})
            if coming.cancelled():
                return
            yield coming.result()

    async def press_power_button(self, deadline_s: float) -> bool:
        """Ask the guest to switch itself off, and wait: whether it did. One that stands still is not waited for."""
        try:
            if await self.monitor.status() != "running":
                return self.guest_off.is_set()
            await self.monitor.ask("system_powerdown")
        except MonitorFailed:
            return False
        obeyed = asyncio.ensure_future(self.guest_off.wait())
        try:
            await first_of(obeyed, self.process.exit, limit_s=deadline_s)
        finally:
            obeyed.cancel()
        return self.guest_off.is_set()

    @contextmanager
    def awaiting_unplug(self, device: str) -> Iterator[asyncio.Future[bool]]:
        """What comes of asking the guest to let a device go: True once it is gone, False when the guest refuses."""
        coming: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._unplugs[device] = coming
        try:
            yield coming
        finally:
            del self._unplugs[device]

    def unplugged(self, device: str, *, is_gone: bool) -> bool:
        """Note how an unplug ended; answers whether anybody waits for it."""
        coming = self._unplugs.get(device)
        if coming and not coming.done():
            coming.set_result(is_gone)
        return coming is not None

    async def reset(self) -> None:
        """Have it boot anew in the same process, also out of the state of a guest that is off. Raises: MonitorFailed."""
        self.guest_off.clear()
        async with self.monitor.sequence() as monitor:
            await monitor.run("system_reset")
            # A running machine takes that as it is; one that stands still needs to be told.
            await monitor.run("cont")

    async def end(self) -> None:
        """Cut its power, with its disk files closed in order when it still answers."""
        self.is_ending = True
        if self.process.is_running:
            with suppress(MonitorFailed):
                await self.monitor.ask("quit", limit_s=QUIT_LIMIT_S)
                self.has_quit = True
                if await self.process.wait(QUIT_LIMIT_S):
                    return
        self.has_quit = False
        self.process.kill()
        await self.process.wait(QUIT_LIMIT_S)

    async def disconnect(self) -> None:
        """Let go of its monitors; it goes on."""
        await self.monitor.close()
        await self._events.close()

    def facts(self) -> MachineFacts:
        """As it is."""
        return MachineFacts(state=MachineState.RUNNING, endpoints=tuple(self.endpoints), accelerator=self.accelerator)


def last_words(folder: Path, limit: int = 300) -> str:
    """The end of what a machine's process wrote to its standard error."""
    with suppress(OSError):
        return (folder / "qemu.err").read_bytes()[-4096:].decode(errors="replace").strip()[-limit:]
    return ""


async def first_of(one: asyncio.Future[One], other: asyncio.Future[Other], *, limit_s: float | None = None) -> None:
    """Wait until one of two is done, or no longer than that."""
    both: list[asyncio.Future[Any]] = [one, other]
    await asyncio.wait(both, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
