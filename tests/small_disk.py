"""A small file system of one's own, to fill up: a tmpfs in a mount namespace, which ends with the process that has it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MOUNT = 'mount -t tmpfs -o "size=$2" tmpfs "$1" && shift 2 && exec "$0" -m "$@"'
LIMIT_S = 120.0


async def run(folder: Path, size: str, module: str, *arguments: str) -> tuple[int, str]:
    """Run a module where a file system of a size (6m) lies in a folder; its exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *_namespace(),
        *("sh", "-c", MOUNT, sys.executable, str(folder), size, module, *arguments),
        cwd=REPOSITORY,
        stdout=PIPE,
        stderr=STDOUT,
    )
    async with asyncio.timeout(LIMIT_S):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@cache
def _namespace() -> tuple[str, ...]:
    """What begins a command with mounts of its own: root needs no other users for that."""
    if shutil.which("unshare") is None:
        pytest.fail("unshare is not installed; install the package util-linux")
    ways = [("unshare", "--mount"), ("unshare", "--map-root-user", "--mount")]
    for way in ways if os.geteuid() == 0 else ways[1:]:
        trying = [*way, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(trying, capture_output=True, check=False).returncode == 0:
            return way
    pytest.fail(
        "no file system can be mounted here, not even in a namespace; run the tests as root, or let users have namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container: --privileged)"
    )


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """Take all space of a file system but so much, at once, while others may write; the file that has it."""
    path = folder / "filling"
    with path.open("ab") as file:  # what it has, it keeps
        while (more := _free(folder) - leave_bytes) > 0:
            with suppress(OSError):  # somebody was faster
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + more)
    return path


def _free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
