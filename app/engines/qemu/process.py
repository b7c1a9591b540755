"""Machines' processes: started in sessions of their own, watched by pidfd, found again, and never mistaken for another."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.engines.qemu.store import as_id
from app.engines.qemu.tools import ENVIRONMENT

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_boot_id() -> str:
    """What this start of the host is known by."""
    return BOOT_ID.read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When a process was started, in clock ticks since the host's start; None when it is gone or only waits to be reaped."""
    try:
        # The name may hold spaces and parentheses; what follows it does not (proc_pid_stat(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def resident_bytes(pid: int) -> int:
    """Memory that a process has by now; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def available_memory_bytes() -> int:
    """Memory that the kernel could give out without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def machine_of(pid: int, machines: Path) -> UUID | None:
    """Which machine of a store a process is, by what it says of itself: its working directory and the -uuid it was given."""
    prefix = f"{machines}/"
    with suppress(OSError):
        folder = str(Path(f"/proc/{pid}/cwd").readlink())
        machine_id = as_id(folder.removeprefix(prefix)) if folder.startswith(prefix) else None
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if machine_id else []
        if b"-uuid" in arguments and str(machine_id).encode() in arguments:
            return machine_id
    return None


def find_machines(machines: Path) -> dict[UUID, int]:
    """Machines of a store that run, with their processes."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]
    return {machine_id: pid for pid in pids if (machine_id := machine_of(pid, machines))}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    status: int | None
    """As waitstatus_to_exitcode: negative for a signal; None when it was not our child."""

    def __str__(self) -> str:
        if self.status is None:
            return "the machine's process has ended"
        if self.status < 0:
            return f"the machine's process was killed by {signal.Signals(-self.status).name}"
        return f"the machine's process ended with status {self.status}"


class Process:
    """A process held by its pidfd: the number may be given to another, the descriptor cannot."""

    def __init__(self, pid: int) -> None:
        """Raises: ProcessLookupError: it is gone."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        started = start_ticks(pid)
        self.start_ticks = -1 if started is None else started
        self._loop = asyncio.get_running_loop()
        self.exit: asyncio.Future[Exit] = self._loop.create_future()
        self._loop.add_reader(self._fd, self._ended)

    @classmethod
    def spawn(cls, command: Sequence[str], *, folder: Path, errors: Path) -> Process:
        """Start a command in a session of its own, its standard error appended to a file."""
        # Not subprocess: its objects complain about children that outlive them, which these are meant to.
        arguments = [f"--chdir={folder}" if argument == "--chdir=." else argument for argument in command]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(errors), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 2, 1),
        ]
        pid = os.posix_spawnp(arguments[0], arguments, ENVIRONMENT, file_actions=actions, setsid=True)
        return cls(pid)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.exit.done()

    def kill(self) -> None:
        """End it at once."""
        if self.is_running:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    async def wait(self, limit_s: float) -> bool:
        """Wait for its end; False when it takes longer."""
        await asyncio.wait([self.exit], timeout=limit_s)
        return self.exit.done()

    def let_go(self) -> None:
        """Watch it no longer."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self.exit.cancel()

    def _ended(self) -> None:
        status = None
        # ChildProcessError: started by an earlier run of the service, so another process has reaped it.
        with suppress(ChildProcessError):
            info = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
            if info is not None:
                status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if not self.exit.done():
            self.exit.set_result(Exit(status))
