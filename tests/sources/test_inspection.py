"""What is known of a stranger's disk file before it is converted."""

import pytest

from app.enums import DiskFormat, ErrorCode, ImageKind
from app.errors import Refused
from app.sources.inspection import inspect
from tests.sources.corpus import GOOD, HOSTILE, good, qemu_img


@pytest.mark.parametrize("sort", GOOD)
async def test_good_file_is_of_the_format_that_was_said_and_of_the_one_that_was_not(sort, tmp_path):
    path, expected = good(sort, tmp_path), DiskFormat(sort.partition("-")[0])

    said = await inspect(path, declared=expected, kind=ImageKind.SYSTEM_DISK)

    assert (said.format, said.size_gib) == (expected, 1)
    assert 0 < said.needed_bytes < 64 << 20


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_file_is_refused(name, tmp_path):
    declared, code, make = HOSTILE[name]
    path = tmp_path / "file"
    make(path)

    with pytest.raises(Refused) as refused:
        await inspect(path, declared=declared and DiskFormat(declared), kind=ImageKind.SYSTEM_DISK)

    assert refused.value.code == code, refused.value.message
    assert str(tmp_path) not in refused.value.message


async def test_the_largest_disk_is_of_the_image_s_kind_and_sizes_are_rounded_up(tmp_path):
    path = tmp_path / "file"
    qemu_img("create", "-q", "-f", "qcow2", path, (1024 << 30) + 512)

    data = await inspect(path, declared=None, kind=ImageKind.DATA_DISK)

    assert (data.format, data.size_gib) == (DiskFormat.QCOW2, 1025)
    with pytest.raises(Refused) as refused:
        await inspect(path, declared=None, kind=ImageKind.SYSTEM_DISK)
    assert refused.value.code is ErrorCode.DISK_TOO_LARGE
