"""What system is on a disk. A program of its own, under limits: file systems are a stranger's, and what reads them is written in C.

It opens nothing. What it wants of the disk it asks for on its standard output, and is told on its standard input: `ASK` and `TOLD` with
so many bytes. The last thing that it asks for is nothing; then it says what it found, in JSON.
"""

from __future__ import annotations

import json
import resource
import shlex
import struct
import sys
from collections.abc import Iterator

import pytsk3  # type: ignore[import-not-found]

ASK, TOLD = struct.Struct("<QI"), struct.Struct("<I")
SECTOR_BYTES = 512
BOOT_CODE_BYTES = 440
MOST_PARTITIONS = 32
MOST_TEXT_BYTES = 16384
LINUX_ONLY = ((0, b"XFSB"), (512, b"LABELONE"), (65600, b"_BHRfS_M"))
"""Where XFS, LVM and Btrfs are known by what: file systems from which nothing but Linux starts, and that are not read here."""
RELEASES = ("/usr/lib/os-release", "/etc/os-release")
"""os-release(5). One of them is a link, often; what is read is the other."""
PROGRAMS = (
    "/usr/bin/env",
    "/usr/bin/bash",
    "/bin/bash",
    "/bin/busybox",
    "/usr/bin/busybox",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/sbin/init",
)
"""Programs that a Linux has, which show what it runs on."""
MACHINES = {62: "X86_64", 3: "X86_64", 183: "ARM64"}
"""e_machine of elf(5); 3 is an i386, on which a 32-bit system runs."""
WINDOWS_FILES = ("/bootmgr", "/Windows/System32/ntoskrnl.exe")
WINDOWS_LOADER = "/EFI/Microsoft/Boot/bootmgfw.efi"
LOADERS = {"/EFI/BOOT/BOOTX64.EFI": "X86_64", "/EFI/BOOT/BOOTAA64.EFI": "ARM64"}
"""What a firmware starts when it knows nothing of the disk (UEFI 2.10, 3.5.1.1)."""


class Disk(pytsk3.Img_Info):  # type: ignore[misc] # no types
    """The disk, as far as one is told."""

    def __init__(self, size: int) -> None:
        self._size = size
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def read(self, offset: int, length: int) -> bytes:
        """Some bytes; none beyond the end."""
        length = min(length, max(0, self._size - offset))
        if not length:
            return b""
        sys.stdout.buffer.write(ASK.pack(offset, length))
        sys.stdout.buffer.flush()
        (told,) = TOLD.unpack(sys.stdin.buffer.read(TOLD.size))
        return sys.stdin.buffer.read(told)

    def get_size(self) -> int:
        """In bytes."""
        return self._size


class Found:
    """What signs there are; those that contradict each other count as none."""

    def __init__(self) -> None:
        self.linux: list[dict[str, str]] = []
        self.is_linux = self.is_windows = False
        self.architectures: set[str] = set()
        self.bits: set[int] = set()
        self.has_loader = False

    def told(self, *, has_boot_code: bool) -> dict[str, object]:
        """What is certain."""
        told: dict[str, object] = {}
        if self.is_linux and not self.is_windows:
            told["type"] = "LINUX"
            if len(self.linux) == 1:
                told |= self.linux[0]
        elif self.is_windows and not self.is_linux:
            told["type"] = "WINDOWS"
        if "type" in told and len(self.bits) == 1:
            told["bits"] = next(iter(self.bits))
        if len(self.architectures) == 1:
            told["architecture"] = next(iter(self.architectures))
        if self.has_loader and not has_boot_code:
            told["firmware"] = "UEFI"
        return told


def detect(disk: Disk) -> dict[str, object]:
    """What is certain of the system: type, platform, version, bits, architecture, firmware."""
    found = Found()
    for offset in _partitions(disk):
        start = disk.read(offset, 1 << 16)
        try:
            if start[1080:1082] == b"\x53\xef":
                _look_at_linux(pytsk3.FS_Info(disk, offset, pytsk3.TSK_FS_TYPE_EXT_DETECT), found)
            elif start[3:7] == b"NTFS":
                fs = pytsk3.FS_Info(disk, offset, pytsk3.TSK_FS_TYPE_NTFS_DETECT)
                found.is_windows |= any(_start_of(fs, path) is not None for path in WINDOWS_FILES)
            elif start[510:512] == b"\x55\xaa" and b"FAT" in start[:SECTOR_BYTES]:
                _look_at_loaders(pytsk3.FS_Info(disk, offset, pytsk3.TSK_FS_TYPE_FAT_DETECT), found)
        except OSError:
            continue  # broken, or with something that is not known: no sign
        found.is_linux |= any(disk.read(offset + where, len(sign)) == sign for where, sign in LINUX_ONLY)
    return found.told(has_boot_code=any(disk.read(0, BOOT_CODE_BYTES)))


def _partitions(disk: Disk) -> Iterator[int]:
    """Where they begin; the disk itself when it has none."""
    is_gpt = disk.read(SECTOR_BYTES, 8) == b"EFI PART"
    try:
        volumes = pytsk3.Volume_Info(disk, pytsk3.TSK_VS_TYPE_GPT if is_gpt else pytsk3.TSK_VS_TYPE_DOS)
        parts = [part for part in volumes if part.flags == pytsk3.TSK_VS_PART_FLAG_ALLOC]
    except OSError:
        parts = []
    yield from (part.start * SECTOR_BYTES for part in parts[:MOST_PARTITIONS])
    if not parts:
        yield 0


def _look_at_linux(fs: pytsk3.FS_Info, found: Found) -> None:
    releases = [text for path in RELEASES if (text := _start_of(fs, path))]
    if not releases:
        return
    found.is_linux = True
    found.linux.append(_release(releases[0].decode(errors="replace")))
    for path in PROGRAMS:
        start = _start_of(fs, path) or b""
        if start.startswith(b"\x7fELF") and start[5] == 1:
            (machine,) = struct.unpack_from("<H", start, 18)
            if machine in MACHINES:
                found.architectures.add(MACHINES[machine])
                found.bits.add(64 if start[4] == 2 else 32)
            return


def _look_at_loaders(fs: pytsk3.FS_Info, found: Found) -> None:
    found.is_windows |= _start_of(fs, WINDOWS_LOADER) is not None
    for path, architecture in LOADERS.items():
        if _start_of(fs, path) is not None:
            found.has_loader = True
            found.architectures.add(architecture)


def _start_of(fs: pytsk3.FS_Info, path: str) -> bytes | None:
    """The beginning of a file; None when there is none, or it is no file."""
    try:
        file = fs.open(path)
        meta = file.info.meta
        if meta is None or meta.type != pytsk3.TSK_FS_META_TYPE_REG or not meta.flags & pytsk3.TSK_FS_META_FLAG_ALLOC:
            return None
        length = min(meta.size, MOST_TEXT_BYTES)
        return bytes(file.read_random(0, length)) if length else b""
    except OSError:
        return None


def _release(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, is_there, value = line.strip().partition("=")
        try:
            words = shlex.split(value, comments=False)
        except ValueError:
            continue
        if is_there and len(words) == 1:
            values[name] = words[0]
    platform, version = values.get("NAME") or values.get("ID"), values.get("VERSION_ID") or values.get("VERSION")
    return {name: value for name, value in (("platform", platform), ("version", version)) if value}


if __name__ == "__main__":
    # From here on nothing can be opened, and nobody be talked to: no file, no connection.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    answer = json.dumps(detect(Disk(int(sys.argv[1])))).encode()
    sys.stdout.buffer.write(ASK.pack(0, 0) + answer)
    sys.stdout.buffer.flush()
