"""Single pieces of what a guest would read from a layer, without a tool (docs/interop/qcow2.txt of QEMU)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.enums import ErrorCode
from app.errors import EngineError

HOST_OFFSET = 0x00FF_FFFF_FFFF_FE00
"""Of an entry of a table: where what it is about lies in the file, 0 if it is not there."""
COMPRESSED, ZEROS = 1 << 62, 1


class _Layer:
    """An open layer of ours: version 3, nothing compressed, tables where its header says."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._bits, self.size, _, _, self._tables = struct.unpack(">IQIIQ", os.pread(self._file, 28, 20))
        self.cluster_bytes: int = 1 << self._bits

    def read(self, offset: int, length: int) -> bytes | None:
        """A piece within one cluster; None when the layer below has it."""
        index, within = divmod(offset, self.cluster_bytes)
        upper, lower = divmod(index, 1 << (self._bits - 3))
        table = self._entry(self._tables, upper) & HOST_OFFSET
        entry = self._entry(table, lower) if table else 0
        if entry & COMPRESSED:
            raise EngineError(ErrorCode.DAMAGED, "a layer is compressed or damaged")
        if entry & ZEROS:
            return bytes(length)
        if not entry & HOST_OFFSET:
            return None
        # The last cluster of a file need not be whole; what is missing reads as zeros.
        return os.pread(self._file, length, (entry & HOST_OFFSET) + within).ljust(length, b"\0")

    def _entry(self, table: int, index: int) -> int:
        (entry,) = struct.unpack(">Q", os.pread(self._file, 8, table + 8 * index))
        return int(entry)


@contextmanager
def _layer(path: Path) -> Iterator[_Layer]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield _Layer(file)
    finally:
        os.close(file)


def read(paths: Sequence[Path], offset: int, length: int) -> bytes:
    """Some bytes of a chain of layers, the top one first; fewer where the disk ends.

    Raises: EngineError: DAMAGED. OSError.
    """
    try:
        with ExitStack() as opened:
            layers = [opened.enter_context(_layer(path)) for path in paths]
            return b"".join(_pieces(layers, offset, min(offset + length, layers[0].size)))
    except struct.error as error:
        raise EngineError(ErrorCode.DAMAGED, "a layer is damaged: it ends too soon") from error


def _pieces(layers: Sequence[_Layer], offset: int, end: int) -> list[bytes]:
    pieces = []
    while offset < end:
        length = min(end - offset, layers[0].cluster_bytes - offset % layers[0].cluster_bytes)
        pieces.append(_piece(layers, offset, length))
        offset += length
    return pieces


def _piece(layers: Sequence[_Layer], offset: int, length: int) -> bytes:
    for layer in layers:
        # A layer may be shorter than those on it: what it has not got is zeros.
        if offset >= layer.size:
            break
        if (found := layer.read(offset, length)) is not None:
            return found[: layer.size - offset].ljust(length, b"\0")
    return bytes(length)
