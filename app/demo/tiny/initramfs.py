"""The first file system, which Linux unpacks into memory: busybox, `boot/init`, and the drivers that find the disk.

The kernel's Documentation/driver-api/early-userspace/buffer-format.rst has the format: gzip over cpio's "newc".
"""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterable
from pathlib import Path

from app.demo.tiny.running import Unavailable

DRIVERS = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "button", "evdev", "af_packet",
    "ext4", "isofs", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859-1", "nls_utf8",
)  # fmt: skip
"""Modules, or built into the kernel: disks, network, the agent's port, the power button, file systems."""
FOLDERS = ("bin", "dev", "modules", "new", "proc", "run", "sys")
DIRECTORY, REGULAR, LINK = 0o040755, 0o100755, 0o120777

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def drivers(modules: Path) -> list[tuple[str, bytes]]:
    """Names and bytes of the modules to load, each behind those that it depends on; `modules` is a kernel's folder of them.

    Raises: Unavailable: there is no such driver.
    """
    paths = {_plain(path.name): path for path in modules.rglob("*.ko*")}
    built_in = {_plain(Path(line).name) for line in (modules / "modules.builtin").read_text().splitlines()}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in built_in or name in found:
            return
        if name not in paths:
            raise Unavailable(f"the kernel has no driver {name}")
        data = paths[name].read_bytes()
        if paths[name].suffix == ".xz":
            data = lzma.decompress(data)
        match = _DEPENDS.search(data)
        for other in (match[1] if match else b"").decode().split(","):
            if other:
                add(_plain(other))
        found[name] = data

    for driver in DRIVERS:
        add(_plain(driver))
    return list(found.items())


def _plain(name: str) -> str:
    """A module by its name, in which - and _ are the same."""
    return name.partition(".")[0].replace("-", "_")


def build(init: bytes, busybox: bytes, applets: Iterable[str], modules: Iterable[tuple[str, bytes]]) -> bytes:
    """The whole file system; the same input gives the same bytes."""
    entries: list[tuple[str, int, bytes]] = [(folder, DIRECTORY, b"") for folder in FOLDERS]
    entries += [("init", REGULAR, init), ("bin/busybox", REGULAR, busybox)]
    entries += [(f"bin/{applet}", LINK, b"busybox") for applet in applets]
    entries += [(f"modules/{number:02}-{name}.ko", REGULAR, data) for number, (name, data) in enumerate(modules)]
    entries.append(("TRAILER!!!", 0, b""))
    archive = b"".join(_entry(number, *entry) for number, entry in enumerate(entries, start=1))
    return gzip.compress(archive, mtime=0)


def _entry(number: int, name: str, mode: int, data: bytes) -> bytes:
    links = 2 if mode == DIRECTORY else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + name.encode() + b"\0") + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
