"""How `python -m app storage` says what the storage takes."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from app.storage import Kind, Storage

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
WHAT = {
    Kind.IMAGES: "images",
    Kind.BACKUPS: "backups, beside what images have of them",
    Kind.DISKS: "disks, beside what images and backups have of them",
    Kind.MACHINES: "machines: consoles, seeds, sockets",
    Kind.UPLOADS: "uploads, and what is being fetched",
    Kind.EXPORTS: "exports",
    Kind.DATABASE: "the database",
    Kind.RESERVE: "set aside for the service's records",
    Kind.OTHER: "other",
}


def as_json(storage: Storage) -> str:
    """For programs; all numbers are bytes."""
    told = {
        "kinds": dict(storage.kinds),
        "totalBytes": storage.total_bytes,
        "freeBytes": storage.free_bytes,
        "reserveBytes": storage.reserve_bytes,
        "sharedBytes": storage.shared_bytes,
        "projects": [
            {"name": use.name, "virtualBytes": use.virtual_bytes, "ownBytes": use.own_bytes} for use in storage.projects
        ],
    }
    return json.dumps(told, indent=2)


def show(storage: Storage, console: Console) -> None:
    """For people."""
    kinds = _table("bytes for", "take")
    for kind, size in storage.kinds.items():
        kinds.add_row(WHAT[kind], amount(size))
    kinds.add_section()
    kinds.add_row("all", amount(storage.total_bytes))
    kinds.add_row("free", amount(storage.free_bytes))
    kinds.add_row("of which nothing but machines takes", amount(storage.reserve_bytes))
    uses = _table("project", "virtual", "own")
    for use in storage.projects:
        uses.add_row(use.name, amount(use.virtual_bytes), amount(use.own_bytes))
    uses.add_section()
    uses.add_row("several share", "", amount(storage.shared_bytes))
    console.print(kinds, uses)


def _table(first: str, *numbers: str) -> Table:
    table = Table(first, highlight=False)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def amount(size_bytes: int) -> str:
    """1610612736 as 1.5 GiB."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size_bytes} B"
