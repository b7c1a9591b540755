"""Whom to kill, and at which point of the work: armed from outside, carried out inside the service's own process.

Points are audit events (docs.python.org/3/library/audit_events.html), which the interpreter raises just before a file is renamed or a
tool is started, and SQLite's own trace of statements; the service has no hooks for them. Every one that comes after arming is written
down, so that a run in which nobody is killed says how many points there are.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

DONE = "KILLED "
EVENTS = {
    "os.mkdir",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "shutil.rmtree",
    "subprocess.Popen",
    "socket.connect",
}
STATEMENT = re.compile(r"(COMMIT|ROLLBACK|INSERT INTO|UPDATE|DELETE FROM)\W*(\w*)")
TOOL = "subprocess.Popen"
CHANCE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{8,}")
"""What is different in every run: ids, and random names."""
LIMIT_S = 2.0
"""A tool that was about to start is there by then."""


class Victim(StrEnum):
    """Who dies."""

    NOBODY = "nobody"
    SERVICE = "service"
    MACHINE = "machine"
    TOOL = "tool"


@dataclass(frozen=True)
class Aim:
    """Just before the nth point; of a tool, so long after its start."""

    victim: Victim
    nth: int = 0
    delay_s: float = 0.0
    pid: int = 0
    """Of the machine."""

    def write(self, folder: Path) -> None:
        """Lay it where the service's process looks when it is told to, by SIGUSR1."""
        (folder / "aim.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Aim:
        """The inverse of `write`."""
        kept = json.loads((folder / "aim.json").read_text())
        return cls(**kept | {"victim": Victim(kept["victim"])})


def points(folder: Path) -> list[str]:
    """All points since arming, in words; where there was a kill, a line that begins with DONE."""
    path = folder / "points"
    return path.read_text().splitlines() if path.exists() else []


class Watch:
    """Looks on inside the service's process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.RLock()
        self._aim = Aim(Victim.NOBODY)
        self._left = 0
        self._points = -1

    def install(self, *, is_armed: bool) -> None:
        """From now on; it cannot be undone. `is_armed`: without being told to."""
        if is_armed:
            self._arm()
        signal.signal(signal.SIGUSR1, lambda *_: self._arm())
        sys.addaudithook(self._hear)
        connect = sqlite3.connect

        def traced(*arguments: Any, **more: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **more)
            connection.set_trace_callback(self._hear_statement)
            return connection

        sqlite3.connect = traced

    def _arm(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        with self._lock:
            self._points, before = -1, self._points  # what is done here is no point
            if before >= 0:
                os.close(before)
            self._aim = Aim.read(self._folder)
            self._left = self._aim.nth
            self._points = os.open(self._folder / "points", flags, 0o600)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._points >= 0 and (event in EVENTS or (event == "open" and _writes(arguments))):
            self._meet(event, _words(arguments))
        elif self._points >= 0 and event == "monitor":
            self._meet(event, str(arguments[0]))

    def _hear_statement(self, statement: str) -> None:
        if self._points >= 0 and (found := STATEMENT.match(statement)):
            self._meet("sql", " ".join(found.groups()))

    def _meet(self, event: str, words: str) -> None:
        with self._lock:
            is_target = False
            if self._left and (self._aim.victim is not Victim.TOOL or event == TOOL):
                self._left -= 1
                is_target = not self._left
            if is_target and self._aim.victim is not Victim.TOOL:
                self._write(f"{DONE}{self._aim.victim} before {event} {words}")
                with suppress(ProcessLookupError):
                    os.kill(self._aim.pid or os.getpid(), signal.SIGKILL)
            elif is_target:
                threading.Thread(target=self._kill_next_child, args=(_children(), words), daemon=True).start()
            self._write(f"{event} {words}")

    def _kill_next_child(self, before: set[int], words: str) -> None:
        end = time.monotonic() + LIMIT_S
        while not (new := _children() - before) and time.monotonic() < end:
            time.sleep(0.0005)
        time.sleep(self._aim.delay_s)
        for pid in new:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._write(f"{DONE}tool {words} after {self._aim.delay_s * 1000:.0f} ms")

    def _write(self, line: str) -> None:
        os.write(self._points, CHANCE.sub("*", line).replace("\n", " ").encode() + b"\n")


def _writes(arguments: tuple[object, ...]) -> bool:
    """Whether a file is opened by its name, to be written."""
    path, _, flags = arguments
    is_name = isinstance(path, (str, bytes, Path)) and path != os.devnull
    return is_name and isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _words(arguments: tuple[object, ...]) -> str:
    """The names of files, and of a tool with its first words."""
    found = []
    for argument in arguments[:2]:
        if isinstance(argument, (list, tuple)):
            words = [str(word) for word in argument]
            begin = next((number for number, word in enumerate(words) if "qemu" in word or "python" in word), 0)
            found.append(" ".join(words[begin : begin + 2]))
        elif isinstance(argument, (str, bytes, Path)):
            found.append("/".join(Path(os.fsdecode(argument)).parts[-2:]))
    return " ".join(dict.fromkeys(found))


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found
