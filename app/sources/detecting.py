"""What a disk file is, by what is in it. A program of its own: the file is a stranger's, and it is read under limits."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from oslo_utils.imageutils import format_inspector

FINE_BYTES, COARSE_BYTES = 4096, 1 << 20
FOOTER_BYTES = 512
FOOTER = b"conectix"
"""What the last sector of a VHD begins with; a fixed one is known by nothing else."""
DISKS = frozenset({"raw", "gpt"})
"""What the bytes of a disk are: with or without a partition table."""


def detect(path: Path) -> dict[str, str]:
    """Its `format`, or why it is `unsafe`."""
    try:
        inspector = _inspector(path)
        name = str(inspector)
        if name in DISKS:
            return {"format": "vhd" if _has_footer(path) else "raw"}
        if name == "luks":
            return {"unsafe": "it is encrypted"}
        if _has_footer(path) != (name == "vhd"):
            reason = "it was cut off" if name == "vhd" else f"it is of several formats at once: {name}, vhd"
            return {"unsafe": reason}
        inspector.safety_check()
    except format_inspector.ImageFormatError as error:
        return {"unsafe": str(error)}
    except format_inspector.SafetyCheckFailed as error:
        return {"unsafe": "; ".join(str(failure) for failure in error.failures.values())}
    return {"format": name}


def _inspector(path: Path) -> format_inspector.FileInspector:
    """The same as detect_file_format, which reads large files in small pieces."""
    with path.open("rb") as file:
        wrapper = format_inspector.InspectWrapper(file)
        try:
            while chunk := wrapper.read(FINE_BYTES if file.tell() < COARSE_BYTES else COARSE_BYTES):
                if chunk and (found := wrapper.format):
                    return found
        finally:
            wrapper.close()
        found = wrapper.format
        assert found is not None, "a file that was read to its end has a format"
        return found


def _has_footer(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < FOOTER_BYTES:
            return False
        file.seek(size - FOOTER_BYTES)
        return file.read(FOOTER_BYTES).startswith(FOOTER)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(detect(Path(sys.argv[1]))))
