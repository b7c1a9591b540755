"""What is known of a stranger's disk file before it is converted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.engines.base import Contents
from app.enums import DiskFormat, ErrorCode, ImageKind
from app.errors import Refused
from app.sources.detecting import detect
from app.sources.inspection import inspect
from tests.engines.lab import QemuLab
from tests.sources.corpus import GOOD, HARMLESS, HOSTILE, disc, good, qemu_img


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Contents]:
    """An engine that need not be open: a look at a file needs no store."""
    return QemuLab(tmp_path / "engine").new_engine().contents


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder / "file"


@pytest.mark.parametrize("sort", GOOD)
async def test_good_file_is_of_the_format_that_was_said_and_of_the_one_that_was_not(sort, engine, tmp_path):
    path, expected = good(sort, tmp_path), DiskFormat(sort.partition("-")[0])

    said = await inspect(engine, path, declared=expected, kind=ImageKind.SYSTEM_DISK)

    assert (said.format, said.size_gib) == (expected, 1)
    assert 0 < said.needed_bytes < 64 << 20


@pytest.mark.parametrize("name", HARMLESS)
async def test_odd_file_is_as_good_as_others(name, engine, path):
    expected, make = HARMLESS[name]
    make(path)

    said = await inspect(engine, path, declared=DiskFormat(expected), kind=ImageKind.DATA_DISK)

    assert (said.format, said.virtual_bytes) == (expected, 2 << 20)


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_file_is_refused(name, engine, path):
    declared, code, make = HOSTILE[name]
    make(path)

    # What the first look refuses needs no process of its own to be refused; those of the others are tried all the same.
    if "unsafe" in (seen := detect(path)):
        assert code == ErrorCode.UNSAFE_FILE
        assert str(path.parent) not in seen["unsafe"]
        return
    with pytest.raises(Refused) as refused:
        await inspect(engine, path, declared=declared and DiskFormat(declared), kind=ImageKind.SYSTEM_DISK)

    assert refused.value.code == code, refused.value.message
    assert str(path.parent) not in refused.value.message
    assert "root:" not in refused.value.message


@pytest.mark.parametrize("is_hybrid", [False, True])
@pytest.mark.parametrize("declared", [None, DiskFormat.ISO])
async def test_disc_makes_an_image_of_its_kind_only(is_hybrid, declared, engine, path):
    disc(path, is_hybrid=is_hybrid)

    said = await inspect(engine, path, declared=declared, kind=ImageKind.ISO)

    assert (said.format, said.virtual_bytes) == (DiskFormat.ISO, path.stat().st_size)
    with pytest.raises(Refused) as refused:
        await inspect(engine, path, declared=declared, kind=ImageKind.DATA_DISK)
    assert (refused.value.code, "kind ISO" in refused.value.message) == (ErrorCode.FORMAT_MISMATCH, True)


@pytest.mark.parametrize("sort", ["RAW", "QCOW2"])
async def test_disk_is_no_disc(sort, engine, tmp_path):
    with pytest.raises(Refused) as refused:
        await inspect(engine, good(sort, tmp_path), declared=None, kind=ImageKind.ISO)

    assert (refused.value.code, "SYSTEM_DISK" in refused.value.message) == (ErrorCode.FORMAT_MISMATCH, True)


async def test_the_largest_disk_is_of_the_image_s_kind_and_sizes_are_rounded_up(engine, path):
    qemu_img("create", "-q", "-f", "qcow2", path, (1024 << 30) + 512)

    data = await inspect(engine, path, declared=None, kind=ImageKind.DATA_DISK)

    assert (data.format, data.size_gib) == (DiskFormat.QCOW2, 1025)
    with pytest.raises(Refused) as refused:
        await inspect(engine, path, declared=None, kind=ImageKind.SYSTEM_DISK)
    assert refused.value.code is ErrorCode.DISK_TOO_LARGE
