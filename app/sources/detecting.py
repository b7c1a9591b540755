"""What a disk file is, by what is in it. A program of its own: the file is a stranger's, and it is read under limits."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from oslo_utils.imageutils import format_inspector

FINE_BYTES, COARSE_BYTES = 4096, 1 << 20
FOOTER_BYTES = 512
FOOTER = b"conectix"
"""What the last sector of a VHD begins with; a fixed one is known by nothing else."""
DISKS = frozenset({"raw", "gpt"})
"""What the bytes of a disk are: with or without a partition table."""
BOOTABLE_DISC = frozenset({"iso", "gpt"})
"""A disc that also starts from a stick has a partition table before its file system; no other file is two things at once."""
QCOW_HEADER = struct.Struct(">4sIQIIQBB2xIQ")
"""magic, version, offset and length of the backing file's name, time, size, bits of a cluster and of a table, encryption, table."""
QCOW_COMPRESSED = 1 << 63
VDI_HEADER_BYTES = 400
QED_HEADER = struct.Struct("<4sIIIQQQQQII")
"""magic, sizes of cluster, table (clusters) and header, features, compatible ones, others, table, size, backing file's name."""
QED_UNCLEAN = 2
"""The one feature that a file may have which is whole alone: its tables are to be checked, which qemu-img does."""


class Unsafe(Exception):
    """Why a file is not let in."""


def detect(path: Path) -> dict[str, str]:
    """Its `format`, or why it is `unsafe`."""
    try:
        with path.open("rb") as file:
            return {"format": _format(file)}
    except (Unsafe, format_inspector.ImageFormatError) as error:
        return {"unsafe": str(error)}
    except format_inspector.SafetyCheckFailed as error:
        return {"unsafe": "; ".join(str(failure) for failure in error.failures.values())}


def _format(file: BinaryIO) -> str:
    inspectors = {str(inspector): inspector for inspector in _inspectors(file)}
    is_vhd = _has_footer(file)
    if inspectors.keys() <= DISKS:
        return "vhd" if is_vhd else "raw"
    if is_vhd and "vhd" not in inspectors:
        raise Unsafe(f"it is of several formats at once: {', '.join(sorted([*inspectors, 'vhd']))}")
    if set(inspectors) == BOOTABLE_DISC:
        return "iso"
    if len(inspectors) > 1:
        raise Unsafe(f"it is of several formats at once: {', '.join(sorted(inspectors))}")
    ((name, inspector),) = inspectors.items()
    if name == "luks":
        raise Unsafe("it is encrypted")
    if name == "vhd" and not is_vhd:
        raise Unsafe("it was cut off")
    # The inspector refuses these two whatever is in them.
    if name == "qed":
        _check_qed(file)
    elif name == "vdi":
        _check_vdi(file)
    elif name == "qcow2" and _start(file, 8)[4:] == b"\0\0\0\1":
        _check_qcow(file)
        return "qcow"
    else:
        inspector.safety_check()
    return name


def _inspectors(file: BinaryIO) -> Collection[format_inspector.FileInspector]:
    """All formats that the file is of; the same as detect_file_format, which reads large files in small pieces."""
    wrapper = format_inspector.InspectWrapper(_Kept(file))  # type: ignore[arg-type]
    while chunk := wrapper.read(FINE_BYTES if file.tell() < COARSE_BYTES else COARSE_BYTES):
        if chunk and (found := wrapper.formats):
            return found
    wrapper.close()
    found = wrapper.formats
    assert found is not None, "a file that was read to its end has a format"
    return found


class _Kept:
    """A file that is read on when the wrapper has closed it."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


def _start(file: BinaryIO, length: int) -> bytes:
    file.seek(0)
    return file.read(length)


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _has_footer(file: BinaryIO) -> bool:
    size = _size(file)
    if size < FOOTER_BYTES:
        return False
    file.seek(size - FOOTER_BYTES)
    return file.read(FOOTER_BYTES).startswith(FOOTER)


def _check_qcow(file: BinaryIO) -> None:
    """The first format of QEMU, of which qemu-img checks nothing: all that it points at has to be in the file (block/qcow.c of QEMU).

    Raises: Unsafe.
    """
    start = _start(file, QCOW_HEADER.size)
    if len(start) < QCOW_HEADER.size:
        raise Unsafe("it was cut off")
    _, _, backing, backing_length, _, size, cluster_bits, table_bits, encryption, upper = QCOW_HEADER.unpack(start)
    if backing or backing_length:
        raise Unsafe("Image has a backing file")
    if encryption:
        raise Unsafe("it is encrypted")
    if not (9 <= cluster_bits <= 16 and 6 <= table_bits <= 13 and 1 < size < 1 << 50):
        raise Unsafe("its header is broken")
    length, end = -(-size >> (cluster_bits + table_bits)), _size(file)
    tables = set(_entries(file, upper, length, end)) - {0}
    if len(tables) * (8 << table_bits) > end:
        raise Unsafe("its tables lie on one another")
    for table in tables:
        for entry in _entries(file, table, 1 << table_bits, end):
            # Of a compressed cluster the length stands before the offset; its last bytes may be less than a sector.
            is_compressed = bool(entry & QCOW_COMPRESSED)
            offset = entry & ((1 << (63 - cluster_bits)) - 1) if is_compressed else entry
            if entry and offset + (0 if is_compressed else 1) > end:
                raise Unsafe("it was cut off")


def _entries(file: BinaryIO, offset: int, count: int, end: int) -> tuple[int, ...]:
    if offset + 8 * count > end:
        raise Unsafe("it was cut off")
    file.seek(offset)
    return struct.unpack(f">{count}Q", file.read(8 * count))


def _check_vdi(file: BinaryIO) -> None:
    """What qemu-img does not look at: that all blocks are there.

    Raises: Unsafe.
    """
    start = _start(file, VDI_HEADER_BYTES)
    if len(start) < VDI_HEADER_BYTES:
        raise Unsafe("it was cut off")
    (data,) = struct.unpack_from("<I", start, 344)
    block_bytes, _, _, blocks = struct.unpack_from("<IIII", start, 376)
    if data + blocks * block_bytes > _size(file):
        raise Unsafe("it was cut off")


def _check_qed(file: BinaryIO) -> None:
    """Features that are known, and no backing file (docs/interop/qed_spec.txt of QEMU); qemu-img checks its tables.

    Raises: Unsafe.
    """
    start = _start(file, QED_HEADER.size)
    if len(start) < QED_HEADER.size:
        raise Unsafe("it was cut off")
    *_, features, compatible, _, _, _, backing, backing_length = QED_HEADER.unpack(start)
    if features & 1 or backing or backing_length:
        raise Unsafe("Image has a backing file")
    if features & ~QED_UNCLEAN or compatible:
        raise Unsafe("it has features that are not known")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(detect(Path(sys.argv[1]))))
