"""How the QEMU engine is set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuSettings:
    """Where the store lies, what machines may use, and how long things may take."""

    root: Path
    """The store's folder; made when missing."""
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    """"auto" boots a probe under KVM and takes TCG when that fails; the others are taken at their word."""
    probe_disk: Path | None = None
    """A raw disk whose guest says PROBE_MARKER on its console; without one, a built-in boot sector."""
    probe_marker: str = "READY"
    max_starting: int = 4
    """Machines in their starting phase at once; the others wait their turn."""
    reserve_memory_mib: int = 256
    """Memory of the host that no machine is given."""
    reserve_disk_bytes: int = 256 << 20
    """Free bytes that copies and imports leave in the store's file system."""
    start_timeout_s: float = 30.0
    """From the start of a process to its first QMP answer."""
    tool_timeout_s: float = 60.0
    """For a qemu-img run that copies nothing; copies have no limit but their progress callback."""
    file_cpu_s: int = 60
    """What a qemu-img run that is shown a file from outside may use of a processor, and again for each GiB of it. 5 s are usual."""
    file_wall_s: float = 600.0
    """The same by the clock: a disk that writes 2 MiB/s is a slow one."""
    expose_host: str = "127.0.0.1"
    """The IPv4 address of the host on which guests' ports are exposed."""
    restrict_network: bool = False
    """Cut guests off from everything but their exposed ports: the host's loopback services, and the internet with them."""
    console_max_bytes: int = 16 << 20
    """Kept of each console's output; older output goes, offsets stay."""
    qemu: str = "qemu-system-x86_64"
    qemu_img: str = "qemu-img"
