"""What is found out of the system on a disk, and that what cannot be read is no harm."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from app.enums import Architecture, ImageKind
from app.images.models import Image
from app.sources.os_detection import missing_columns
from tests.engines.lab import QemuLab
from tests.sources.systems import BASIC_DATA, DEBIAN, ESP, LINUX_DATA, MIB, ext4, fat, gpt, linux, mbr, ntfs

Making = Callable[[Path], bytes]
IS_DEBIAN = {"os_type": "LINUX", "os_platform": "Debian GNU/Linux", "os_version": "13", "os_bits": 64}
IS_LINUX = {"os_type": "LINUX", "os_platform": None, "os_version": None, "os_bits": None}
IS_WINDOWS = IS_LINUX | {"os_type": "WINDOWS"}
X86, UEFI = {"architecture": "X86_64"}, {"firmware": "UEFI"}
LOADER, WINDOWS_LOADER = "EFI/BOOT/BOOTX64.EFI", "EFI/Microsoft/BOOT/BOOTMGFW.EFI"
XFS = b"XFSB".ljust(MIB, b"\0")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[QemuLab]:
    made = QemuLab(tmp_path / "lab")
    made.folder.mkdir()
    await made.open()
    yield made
    await made.clear()


async def found(lab: QemuLab, disk: bytes, **said: object) -> dict[str, object]:
    """What is found on a disk, beside what was said of it."""
    content_id = await lab.ingest(disk)
    image = Image(kind=ImageKind.SYSTEM_DISK, **said)
    columns = await missing_columns(lab.engine.contents, content_id, image, virtual_bytes=len(disk))
    return {name: value for name, value in columns.items() if value is not None}


KNOWN: dict[str, tuple[Making, dict[str, object]]] = {
    "Linux in a partition": (lambda folder: mbr((0x83, linux(folder))), IS_DEBIAN | X86),
    "Linux in the second partition, beside one for booting": (
        lambda folder: gpt((ESP, fat("GRUB")), (LINUX_DATA, linux(folder))),
        IS_DEBIAN | X86,
    ),
    "Linux on the whole disk": (linux, IS_DEBIAN | X86),
    "Linux of 32 bits": (lambda folder: linux(folder, machine=3, bits=32), IS_DEBIAN | X86 | {"os_bits": 32}),
    "Linux of another processor": (
        lambda folder: linux(folder, machine=183),
        IS_DEBIAN | {"architecture": "ARM64"},
    ),
    "Linux of a processor that we have no word for": (
        lambda folder: linux(folder, machine=243),
        IS_DEBIAN | {"os_bits": None},
    ),
    "Linux that starts from UEFI only": (
        lambda folder: gpt((ESP, fat(LOADER)), (LINUX_DATA, linux(folder))),
        IS_DEBIAN | X86 | UEFI,
    ),
    "Linux that starts from both": (
        lambda folder: gpt((ESP, fat(LOADER)), (LINUX_DATA, linux(folder)), boot_code=b"\xfa"),
        IS_DEBIAN | X86,
    ),
    "Linux without a version": (
        lambda folder: linux(folder, "# rolling\nNAME='Arch Linux'\nBROKEN='\nID=arch\n"),
        IS_DEBIAN | X86 | {"os_platform": "Arch Linux", "os_version": None},
    ),
    "Linux on a file system that is not read": (lambda folder: mbr((0x83, XFS)), IS_LINUX),
    "Windows": (lambda folder: mbr((0x07, ntfs())), IS_WINDOWS),
    "Windows that starts from UEFI": (
        lambda folder: gpt((ESP, fat(LOADER, WINDOWS_LOADER)), (BASIC_DATA, ntfs())),
        IS_WINDOWS | X86 | UEFI,
    ),
}
UNKNOWN: dict[str, Making] = {
    "nothing": lambda folder: bytes(MIB),
    "data in a file system": lambda folder: mbr((0x83, ext4(folder, {"notes.txt": "hello"}))),
    "both systems": lambda folder: mbr((0x07, ntfs()), (0x83, ext4(folder, {"usr/lib/os-release": DEBIAN}))),
    "text that nobody would be allowed to say": lambda folder: linux(folder, f'NAME="{"x" * 65}"\n'),
    "text that cannot be printed": lambda folder: linux(folder, 'NAME="a\x1b[31mb"\n'),
    "a folder of that name": lambda folder: ext4(folder, {"usr/lib/os-release/file": "x"}),
}


@pytest.mark.parametrize("name", KNOWN)
async def test_system_is_found(name, lab, tmp_path):
    make, expected = KNOWN[name]

    said = await found(lab, make(tmp_path))

    assert said == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_what_is_not_certain_is_not_said(name, lab, tmp_path):
    said = await found(lab, UNKNOWN[name](tmp_path))

    assert "os_type" not in said


async def test_what_the_user_has_said_stays(lab, tmp_path):
    disk = gpt((ESP, fat(LOADER)), (LINUX_DATA, linux(tmp_path)))

    assert await found(lab, disk, os_type="OTHER") == X86 | UEFI
    assert await found(lab, disk, architecture=Architecture.ARM64, firmware="BIOS") == IS_DEBIAN
    assert await found(lab, disk, os_type="OTHER", architecture=Architecture.ARM64) == {}


async def test_broken_file_systems_are_no_harm(lab, tmp_path):
    whole = linux(tmp_path)
    dice = random.Random(4)
    broken = []
    for _ in range(12):
        disk = bytearray(whole)
        for _ in range(40):
            place = dice.choice([dice.randrange(1024, 65536), dice.randrange(len(disk))])
            disk[place] = dice.randrange(256)
        broken.append(bytes(disk))
    broken += [whole[: len(whole) // 8], mbr((0x83, b"")), mbr((0x05, ntfs()), (0x0F, b"")), os.urandom(MIB)]

    said = await asyncio.gather(*(found(lab, disk) for disk in broken))

    assert all(set(one) <= set(IS_DEBIAN) | {"architecture"} for one in said)


async def test_nobody_is_asked_for_a_disk_that_is_gone(lab):
    with pytest.raises(Exception, match="no content"):
        await missing_columns(lab.engine.contents, uuid4(), Image(kind=ImageKind.SYSTEM_DISK), virtual_bytes=MIB)
