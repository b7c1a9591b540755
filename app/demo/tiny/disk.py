"""The disk: a partition table, a FAT partition from which syslinux loads the kernel, and the root file system.

Each is made as a file of its own, by tools that need no privileges for that, and laid behind each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.demo.tiny.running import Unavailable, run

SECTOR_BYTES = 512
MIB = 1 << 20
FIRST_PARTITION = MIB
STAMP = "1700000000"
"""The time of everything on the disk, so that the same packages give the same bytes."""
SERIAL = "74696e79"
UUIDS = ("74696e79-0000-4000-8000-000000000001", "74696e79-0000-4000-8000-000000000002")
"""Of the root file system, and what its directories are hashed with."""
MAX_ROOT_BLOCKS = (2 << 40) // 4096
"""What the file system can grow to: as far as a partition table of this kind reaches."""
_ACTIVE, _FAT16, _LINUX = 0x80, 0x06, 0x83
_NO_CHS = b"\xfe\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, a symbolic link or a directory of the root file system; everything belongs to root."""

    mode: int = 0o755
    source: Path | None = None
    link: str | None = None


class Toolbox:
    """Tools in a folder into which their packages were unpacked."""

    def __init__(self, unpacked: Path) -> None:
        self.root = unpacked
        self._libraries = [unpacked / part for part in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")]

    def loaded(self, path: str, *more: str) -> list[str]:
        """The command that runs a program with the libraries of its own distribution, whatever this system has."""
        loader = next(path for path in self.root.glob("**/ld-linux-x86-64.so.2") if path.is_file())
        return [str(loader), *more, "--library-path", ":".join(map(str, self._libraries)), str(self.program(path))]

    def program(self, name: str) -> Path:
        """Where it lies. Raises: Unavailable."""
        for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
            if (path := self.root / folder / name).is_file():
                return path
        raise Unavailable(f"its package has no {name}")

    async def libraries_of(self, name: str) -> list[Path]:
        """The shared libraries that a program is loaded with, the loader among them."""
        listed = await run(*self.loaded(name, "--list"))
        return sorted({Path(word) for word in listed.split() if word.startswith(str(self.root))})

    async def make_fat(self, target: Path, files: Mapping[str, Path]) -> None:
        """A FAT16 file system from which syslinux boots."""
        size = _whole(sum(path.stat().st_size for path in files.values()) + MIB)
        sectors = str(size // SECTOR_BYTES)
        hidden = str(FIRST_PARTITION // SECTOR_BYTES)  # the boot sector counts from the disk's beginning
        path = f"{self.root}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # syslinux calls mtools
        quiet = {
            "PATH": path,
            "MTOOLSRC": "/dev/null",
            "MTOOLS_SKIP_CHECK": "1",
            "SOURCE_DATE_EPOCH": STAMP,
            "TZ": "UTC",
        }
        geometry = ("-T", sectors, "-h", "255", "-s", "63", "-H", hidden, "-N", SERIAL, "-v", "TINYBOOT")
        await run("mformat", "-C", "-i", str(target), *geometry, "::", environment=quiet)
        await run("mcopy", "-m", "-i", str(target), *map(str, files.values()), "::", environment=quiet)
        await run("syslinux", "--install", str(target), environment=quiet)
        _forget_times(target)

    async def make_ext4(self, target: Path, entries: Mapping[str, Entry], work: Path) -> None:
        """An ext4 file system with these entries by path; folders come before what is in them."""
        used = sum(entry.source.stat().st_size for entry in entries.values() if entry.source)
        with target.open("wb") as file:
            file.truncate(_whole(used + 24 * MIB))  # with the journal, what growing needs, and room to live
        fixed = {"E2FSPROGS_FAKE_TIME": STAMP, "MKE2FS_CONFIG": str(self.root / "etc/mke2fs.conf")}
        extended = (
            f"hash_seed={UUIDS[1]},root_owner=0:0,resize={MAX_ROOT_BLOCKS},lazy_itable_init=0,lazy_journal_init=0"
        )
        features = ("-t", "ext4", "-b", "4096", "-i", "16384", "-J", "size=16", "-m", "0")
        await run(
            *self.loaded("mke2fs"),
            "-q",
            *features,
            "-L",
            "tiny",
            "-U",
            UUIDS[0],
            "-E",
            extended,
            str(target),
            environment=fixed,
        )
        script = work / "debugfs.txt"
        script.write_text("".join(f"{line}\n" for line in _orders(entries)))
        said = await run(*self.loaded("debugfs"), "-w", "-f", str(script), str(target), environment=fixed)
        wrong = [line for line in said.splitlines() if line and not line.startswith(("debugfs:", "Allocated inode:"))]
        if wrong:
            raise Unavailable(f"debugfs failed: {wrong[0]}")
        await run(*self.loaded("e2fsck"), "-fn", str(target), environment=fixed)

    def assemble(self, target: Path, fat: Path, ext4: Path) -> None:
        """The whole disk, sparse."""
        sizes = [path.stat().st_size for path in (fat, ext4)]
        starts = [FIRST_PARTITION, FIRST_PARTITION + sizes[0]]
        program = (self.root / "usr/lib/syslinux/mbr/mbr.bin").read_bytes().ljust(440, b"\0")
        table = b"".join(
            struct.pack("<B3sB3sII", flag, _NO_CHS, kind, _NO_CHS, start // SECTOR_BYTES, size // SECTOR_BYTES)
            for flag, kind, start, size in zip((_ACTIVE, 0), (_FAT16, _LINUX), starts, sizes, strict=True)
        )
        with target.open("wb") as disk:
            disk.write(program + bytes.fromhex(SERIAL) + b"\0\0" + table.ljust(64, b"\0") + b"\x55\xaa")
            for start, path in zip(starts, (fat, ext4), strict=True):
                _copy_sparsely(path, disk, start)
            disk.truncate(sum(sizes) + FIRST_PARTITION)


def _copy_sparsely(source: Path, target: BinaryIO, start: int) -> None:
    with source.open("rb") as file:
        while block := file.read(1 << 16):
            if any(block):
                target.seek(start)
                target.write(block)
            start += len(block)


def _forget_times(fat: Path) -> None:
    """Give all entries of the root directory the same time, as syslinux cannot be told one (FAT specification, 3 and 6)."""
    data = bytearray(fat.read_bytes())
    reserved, tables, entries = struct.unpack_from("<HBH", data, 14)
    (sectors,) = struct.unpack_from("<H", data, 22)
    start = (reserved + tables * sectors) * SECTOR_BYTES
    for at in range(start, start + entries * 32, 32):
        if data[at]:
            data[at + 13 : at + 20] = bytes(7)  # made, read
            data[at + 22 : at + 26] = bytes(4)  # changed
    fat.write_bytes(data)


def _whole(size: int) -> int:
    """Whole MiB."""
    return -(-size // MIB) * MIB


def _orders(entries: Mapping[str, Entry]) -> Iterable[str]:
    """What debugfs is told."""
    for path, entry in entries.items():
        if entry.link is not None:
            yield f"symlink {path} {entry.link}"
        elif entry.source is not None:
            yield f"write {entry.source} {path}"
            yield f"set_inode_field {path} mode 0{0o100000 | entry.mode:o}"
        else:
            yield f"mkdir {path}"
            yield f"set_inode_field {path} mode 0{0o040000 | entry.mode:o}"
