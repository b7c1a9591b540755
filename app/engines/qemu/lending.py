"""Contents as files: layers that stand alone, opened by whoever wants to read one.

An open file keeps its bytes when its name is removed, so nothing is to be pinned, and any process of the host can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from app.engines.base import LentFile, Piece
from app.engines.qemu.failures import engine_errors
from app.engines.qemu.layers import SUFFIX, read_header
from app.engines.qemu.store import Store, read_record
from app.engines.qemu.usage import pieces_of
from app.enums import ErrorCode
from app.errors import EngineError, NotFound, Unsupported


class QemuFiles:
    """See `app.engines.base.Files`. Needs nothing but the store's folder."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)

    async def lend(self, content_id: UUID) -> LentFile:
        """The only layer of a content."""
        with engine_errors(self._store):
            return await asyncio.to_thread(self._lend, content_id)

    async def usage(self) -> Sequence[Piece]:
        """What the store's folder takes."""
        with engine_errors(self._store):
            return await asyncio.to_thread(pieces_of, self._store)

    def _lend(self, content_id: UUID) -> LentFile:
        lent = LentFile(file=self._opened(content_id), format="qcow2")
        header = read_header(lent.path)
        if header is None or header.backing:
            lent.file.close()
            if header is None:
                raise EngineError(ErrorCode.DAMAGED, "the content's layer is broken")
            raise Unsupported("The content stands on others; it has no file of its own.")
        return lent

    def _opened(self, content_id: UUID) -> BinaryIO:
        tried = ""
        while True:
            record = read_record(self._store.contents / f"{content_id}.json")
            if record is None:
                raise NotFound(f"no content {content_id}")
            layer = str(record["layer"])
            try:
                return (self._store.layers / f"{layer}{SUFFIX}").open("rb", buffering=0)
            except FileNotFoundError:
                # Compacted or released since the record was read; names of layers are never used again.
                if layer == tried:
                    raise EngineError(ErrorCode.DAMAGED, f"layer {layer} is missing") from None
                tried = layer
