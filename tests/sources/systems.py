"""Disks with systems on them, as far as one can see: partition tables, file systems, and a few files that give a system away."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

SECTOR = 512
MIB = 1 << 20
ESP, LINUX_DATA, BASIC_DATA = (
    UUID(text)
    for text in (
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    )
)
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\nID=debian\n'


def ext4(folder: Path, files: Mapping[str, bytes | str], *, links: Mapping[str, str] | None = None) -> bytes:
    """A file system with these files, made without being root."""
    tree, image = folder / "tree", folder / "ext4"
    tree.mkdir()
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content.encode() if isinstance(content, str) else content)
    for name, target in (links or {}).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "4M"]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": f"{os.defpath}:/usr/sbin:/sbin"})
    return image.read_bytes()


def linux(folder: Path, release: str = DEBIAN, *, machine: int = 62, bits: int = 64) -> bytes:
    """A file system with a Linux of some processor."""
    program = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)
    files = {"usr/lib/os-release": release, "usr/bin/env": program}
    return ext4(folder, files, links={"etc/os-release": "../usr/lib/os-release", "bin": "usr/bin"})


def ntfs() -> bytes:
    """A file system with one file, `bootmgr`; made by mkntfs and ntfscp of ntfs-3g, its table of capitals left out."""
    return gzip.decompress(Path(__file__).with_name("ntfs.img.gz").read_bytes())


def fat(*paths: str) -> bytes:
    """A FAT12 of 128 KiB with these files, each of a few bytes (Microsoft, FAT: General Overview of On-Disk Format)."""
    clusters: list[bytes] = []

    def long_name(name: str, short: bytes) -> bytes:
        check = 0
        for byte in short:
            check = ((check >> 1) + ((check & 1) << 7) + byte) & 0xFF
        text = (name + "\0").encode("utf-16-le").ljust(26, b"\xff")
        return struct.pack("<B10sBBB12sH4s", 0x41, text[:10], 0x0F, 0, check, text[10:22], 0, text[22:])

    def entry(name: str, attributes: int, content: bytes) -> bytes:
        clusters.append(content.ljust(SECTOR, b"\0"))
        stem, _, extension = name.partition(".")
        short = (f"{stem[:6]}~1" if len(stem) > 8 else stem).upper().ljust(8).encode() + extension.ljust(3).encode()
        length = 0 if attributes == 0x10 else len(content)
        fields = struct.pack("<B14xHI", attributes, len(clusters) + 1, length)
        return (long_name(name, short) if len(stem) > 8 else b"") + short + fields

    def folder(paths: list[list[str]]) -> bytes:
        names = dict.fromkeys(path[0] for path in paths)
        entries = []
        for name in names:
            below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
            entries.append(entry(name, 0x10, folder(below)) if below else entry(name, 0x20, b"loader"))
        return b"".join(entries)

    root = folder([path.strip("/").split("/") for path in paths]).ljust(SECTOR, b"\0")
    total = 256
    fields = struct.pack("<HBHBHHBHHHIIBBBI", SECTOR, 1, 1, 1, 16, total, 0xF8, 1, 63, 255, 0, 0, 0x80, 0, 0x29, 1)
    boot = (b"\xeb\x3c\x90mkfs.fat" + fields + b"NO NAME    FAT12   ").ljust(510, b"\0") + b"\x55\xaa"
    table = (b"\xf8\xff\xff" + b"\xff" * (3 * len(clusters))).ljust(SECTOR, b"\0")[:SECTOR]
    return (boot + table + root + b"".join(clusters)).ljust(total * SECTOR, b"\0")


def mbr(*partitions: tuple[int, bytes], boot_code: bytes = b"\xfa") -> bytes:
    """A disk with partitions of a type and a content, the first of which is active."""
    disk, entries = b"", b""
    for number, (kind, content) in enumerate(partitions):
        start = MIB + len(disk)
        flag = 0 if number else 0x80
        entries += struct.pack("<B3xB3xII", flag, kind, start // SECTOR, len(content) // SECTOR)
        disk += content.ljust(-(-len(content) // MIB) * MIB, b"\0")
    sector = boot_code.ljust(446, b"\0") + entries.ljust(64, b"\0") + b"\x55\xaa"
    return sector.ljust(MIB, b"\0") + disk


def gpt(*partitions: tuple[UUID, bytes], boot_code: bytes = b"") -> bytes:
    """A disk with partitions of a type and a content (UEFI 2.10, 5.3)."""
    disk, entries = b"", b""
    for number, (kind, content) in enumerate(partitions):
        first = (MIB + len(disk)) // SECTOR
        last = first + len(content) // SECTOR - 1
        entries += struct.pack("<16s16sQQQ72x", kind.bytes_le, UUID(int=number + 1).bytes_le, first, last, 0)
        disk += content.ljust(-(-len(content) // MIB) * MIB, b"\0")
    size = 2 * MIB + len(disk)
    entries = entries.ljust(128 * 128, b"\0")
    sectors = size // SECTOR

    def header(own: int, other: int, table: int) -> bytes:
        def packed(crc: int) -> bytes:
            places = (own, other, 34, sectors - 34, UUID(int=99).bytes_le, table, 128, 128, zlib.crc32(entries))
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, *places)

        return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")

    protective = struct.pack("<B3xB3xII", 0, 0xEE, 1, sectors - 1)
    first = boot_code.ljust(446, b"\0") + protective.ljust(64, b"\0") + b"\x55\xaa"
    start = (first + header(1, sectors - 1, 2) + entries).ljust(MIB, b"\0")
    return start + disk + (entries + header(sectors - 1, 1, sectors - 33)).rjust(MIB, b"\0")
