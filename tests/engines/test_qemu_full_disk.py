"""A full disk of the host pauses guests, and they go on by themselves."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MOUNT = 'mount -t tmpfs -o size=6m tmpfs "$1" && exec "$0" -m tests.engines.full_disk "$1"'


def can_mount(folder: Path) -> bool:
    """Whether a file system of our own can be had here, in a namespace that ends with its process."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def test_a_guest_waits_for_space_and_goes_on(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("no namespaces for users here")

    command = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, sys.executable, str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)

    words = said.decode().split()
    assert process.returncode == 0, said.decode()
    assert [word for word in words if word in {"PAUSED_NO_SPACE", "INSUFFICIENT_STORAGE", "RESUMED"}] == [
        "PAUSED_NO_SPACE",
        "INSUFFICIENT_STORAGE",
        "RESUMED",
    ]
