"""How commands speak: to programs on standard output, to people on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime


def moment(time: datetime | None) -> str:
    """A time as lists show it."""
    return "-" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; what reads them may split lines at two blanks."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def say(sentence: str) -> None:
    """Tell people, not programs."""
    print(sentence, file=sys.stderr, flush=True)
