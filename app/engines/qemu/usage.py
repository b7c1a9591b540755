"""What a store takes, file by file: read-only, by any process, also while the store is at work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from app.engines.base import Piece
from app.engines.qemu.layers import SUFFIX, read_header
from app.engines.qemu.store import Store, as_id, read_record
from app.taken import taken


def pieces_of(store: Store) -> list[Piece]:
    """Each layer with what reaches it, each machine's folder, and as one all the rest: records, and what nobody reaches."""
    layers: dict[str, int] = {}
    machines: dict[UUID, int] = defaultdict(int)
    rest = 0
    for path, size in taken(store.root):
        place = path.relative_to(store.root).parts
        machine_id = as_id(place[1]) if len(place) > 1 and place[0] == store.machines.name else None
        if machine_id:
            machines[machine_id] += size
        elif path.parent == store.layers:
            layers[path.name] = size
        else:
            rest += size
    disks, contents = _reached(store.disks, store.layers), _reached(store.contents, store.layers)
    pieces = [Piece(allocated_bytes=size, machines=frozenset({id_})) for id_, size in machines.items()]
    for name, size in layers.items():
        if name in disks or name in contents:
            reached_by = {"disks": frozenset(disks[name]), "contents": frozenset(contents[name])}
            pieces.append(Piece(allocated_bytes=size, **reached_by))
        else:
            rest += size
    return [*pieces, Piece(allocated_bytes=rest)]


def _reached(records: Path, layers: Path) -> dict[str, set[UUID]]:
    """Files of layers, with the disks or contents that stand on them."""
    found: dict[str, set[UUID]] = defaultdict(set)
    below: dict[str, str | None] = {}
    for path in records.glob("*.json"):
        id_, record = as_id(path.stem), read_record(path)
        if id_ and record:
            for name in _chain(f"{record['layer']}{SUFFIX}", layers, below):
                found[name].add(id_)
    return found


def _chain(name: str, layers: Path, below: dict[str, str | None]) -> Iterable[str]:
    chain: dict[str, None] = {}
    current: str | None = name
    while current is not None and current not in chain:
        chain[current] = None
        if current not in below:
            header = read_header(layers / current)
            below[current] = header.backing if header else None
        current = below[current]
    return chain
