"""What the store knows of disks and contents: small durable files, with all of them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.engines.qemu.store import Store, as_id, read_record, remove_durably, write_durably
from app.enums import Consistency


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """A content: its sealed layer, its size, and how its seal went."""

    layer: str
    virtual_bytes: int
    consistency: Consistency
    former: str | None = None
    """The layer that it was before it was compacted; others may still stand on that one."""

    def as_json(self) -> dict[str, object]:
        """As it is kept in its file."""
        return {
            "layer": self.layer,
            "virtual_bytes": self.virtual_bytes,
            "consistency": self.consistency,
            "former": self.former,
        }


class Records:
    """Disks and contents by id. Only the process that owns the store writes them, so memory and files agree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.disks: dict[UUID, str] = {}
        self.contents: dict[UUID, ContentRecord] = {}

    def load(self) -> None:
        """Read all files; one that is not whole was never finished and goes."""
        self.disks.clear()
        self.contents.clear()
        for path, record in self._read(self._store.disks):
            self.disks[UUID(path.stem)] = str(record["layer"])
        for path, record in self._read(self._store.contents):
            size = record["virtual_bytes"]
            assert isinstance(size, int)
            consistency, former = Consistency(str(record["consistency"])), record.get("former")
            kept = ContentRecord(str(record["layer"]), size, consistency, str(former) if former else None)
            self.contents[UUID(path.stem)] = kept

    @staticmethod
    def _read(folder: Path) -> list[tuple[Path, dict[str, object]]]:
        found = []
        for path in folder.glob("*.json"):
            record = read_record(path) if as_id(path.stem) else None
            if record is None:
                path.unlink()
            else:
                found.append((path, record))
        return found

    def roots(self) -> set[str]:
        """The layers that disks and contents name."""
        return {*self.disks.copy().values(), *(record.layer for record in self.contents.copy().values())}

    async def put_disks(self, layers: Mapping[UUID, str]) -> None:
        """Have disks write to these layers from now on."""
        files = {self._disk(disk_id): {"layer": layer} for disk_id, layer in layers.items()}
        await asyncio.to_thread(write_durably, files)
        self.disks.update(layers)

    async def put_contents(self, records: Mapping[UUID, ContentRecord]) -> None:
        """Keep contents."""
        files = {self._content(content_id): record.as_json() for content_id, record in records.items()}
        await asyncio.to_thread(write_durably, files)
        self.contents.update(records)

    async def forget_disk(self, disk_id: UUID) -> None:
        """Forget a disk; its layers are another matter."""
        await asyncio.to_thread(remove_durably, self._disk(disk_id))
        self.disks.pop(disk_id, None)

    async def forget_content(self, content_id: UUID) -> None:
        """Forget a content; its layers are another matter."""
        await asyncio.to_thread(remove_durably, self._content(content_id))
        self.contents.pop(content_id, None)

    def _disk(self, disk_id: UUID) -> Path:
        return self._store.disks / f"{disk_id}.json"

    def _content(self, content_id: UUID) -> Path:
        return self._store.contents / f"{content_id}.json"
