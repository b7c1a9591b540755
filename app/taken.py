"""What files take in the file system, as du(1) counts it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BLOCK_BYTES = 512
"""What st_blocks counts, whatever the file system's own blocks are (stat(2))."""


def taken(folder: Path) -> Iterator[tuple[Path, int]]:
    """All files and folders in a folder, itself included, with the bytes that each takes; a file with several names once.

    What goes meanwhile is left out.
    """
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place), *(Path(place, name) for name in (*names, *links))):
            with suppress(FileNotFoundError):
                facts = path.lstat()
                if (facts.st_dev, facts.st_ino) not in seen:
                    seen.add((facts.st_dev, facts.st_ino))
                    yield path, facts.st_blocks * BLOCK_BYTES
