"""What requests may know of the place where exports lie: its folder, and for how long it keeps them. Set once, when the service starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Shelf:
    """The exports of this installation."""

    data_dir: Path
    kept: timedelta
    """From when it was last asked for."""


class _Current:
    shelf: Shelf | None = None


def use(shelf: Shelf) -> None:
    """Make it known."""
    _Current.shelf = shelf


def current() -> Shelf:
    """The shelf of this installation."""
    assert _Current.shelf, "the service has not been started"
    return _Current.shelf
