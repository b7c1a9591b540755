"""The store's folder: where things lie, durable small files, and the lock of the one process that owns it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from app.errors import StartupError


def write_durably(files: Mapping[Path, object]) -> None:
    """Replace JSON files so that a crash at any point leaves each either as it was or whole, and none lost once this returns."""
    pending = []
    for path, value in files.items():
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(descriptor)
        pending.append((temporary, path))
    for temporary, path in pending:
        temporary.replace(path)
    for folder in {path.parent for path in files}:
        sync_folder(folder)


def remove_durably(*paths: Path) -> None:
    """Remove files so that they stay removed; those that are gone already are fine."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        if folder.exists():
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_record(path: Path) -> dict[str, object] | None:
    """A JSON object from a file; None when it is not there, or not whole (a loss of power can leave it so where nothing was synced)."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def as_id(name: str) -> UUID | None:
    """The id that a file or folder is named by, if it is one in its usual form."""
    try:
        value = UUID(name)
    except ValueError:
        return None
    return value if str(value) == name else None


class Store:
    """The folders of one store."""

    def __init__(self, root: Path) -> None:
        # Resolved: the kernel names a machine's working directory that way.
        self.root = root.resolve()
        self.layers, self.disks, self.contents = (
            self.root / "layers",
            self.root / "disks",
            self.root / "contents",
        )
        self.seals, self.machines = self.root / "seals", self.root / "machines"
        self.exports = self.root / "exports"
        self._lock: int | None = None

    def machine(self, machine_id: UUID) -> Path:
        """The folder of a machine."""
        return self.machines / str(machine_id)

    def take(self) -> None:
        """Make the folders and own them.

        Raises: StartupError: the folder cannot be used, or another process owns it.
        """
        try:
            for folder in (self.layers, self.disks, self.contents, self.seals, self.machines, self.exports):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartupError(
                f"The store {self.root} cannot be used: {error.strerror}; choose another folder."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StartupError(
                f"Another process owns the store {self.root}; stop it first, or choose another folder."
            ) from error
        self._lock = lock

    def let_go(self) -> None:
        """Let another process own the store."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def free_bytes(self) -> int:
        """What the store's file system has left for us."""
        return shutil.disk_usage(self.layers).free

    def conceal(self, message: str) -> str:
        """A tool's message without our paths, for a machine's owner."""
        return message.replace(f"{self.root}/", "…/").replace(str(self.root), "…").replace("../../layers/", "…/layers/")

    def clear_temporary(self) -> None:
        """Remove what interrupted writes of small files have left."""
        for folder in (self.disks, self.contents, self.seals, self.exports, self.root):
            for path in folder.glob(".*"):
                path.unlink()
        for path in self.machines.glob("*/.*"):
            path.unlink()
