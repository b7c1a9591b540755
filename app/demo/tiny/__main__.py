"""Build Tiny Linux into a file: `python -m app.demo.tiny FILE`, a raw disk."""

import asyncio
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from app.demo.tiny.building import provide
from app.demo.tiny.running import Unavailable


def build(target: Path) -> str:
    """Write the disk; a line on it."""
    with TemporaryDirectory() as folder:
        path, tiny = asyncio.run(provide(Path(folder), lambda _done, _note: None))
        shutil.move(path, target)
    return f"{target}: Linux {tiny.kernel}, {target.stat().st_size >> 20} MiB, built in {tiny.seconds:.1f} s"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the file to write: python -m app.demo.tiny FILE")
    try:
        print(build(Path(sys.argv[1])))
    except Unavailable as error:
        sys.exit(f"Tiny Linux cannot be built: {error}.")
