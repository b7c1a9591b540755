"""Disk files of every sort, good and hostile, made by QEMU's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from app.demo.hello import disk_image

MIB = 1 << 20
SECRET = "/etc/passwd"
GOOD = ("QCOW2", "RAW", "VMDK", "VMDK-stream", "VHD", "VHD-fixed", "VHDX", "VDI")
"""A format, and after a hyphen a kind of it."""
_OPTIONS = {
    "QCOW2": ("-c", "-O", "qcow2"),
    "RAW": ("-O", "raw"),
    "VMDK": ("-O", "vmdk"),
    "VMDK-stream": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
    "VHD": ("-O", "vpc"),
    "VHD-fixed": ("-O", "vpc", "-o", "subformat=fixed,force_size=on"),
    "VHDX": ("-O", "vhdx"),
    "VDI": ("-O", "vdi"),
    "QED": ("-O", "qed"),
    "QCOW": ("-O", "qcow"),
}


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def good(sort: str, folder: Path) -> Path:
    """The disk that says HELLO, in a format."""
    path, raw = folder / sort.lower(), folder / "hello.raw"
    raw.write_bytes(disk_image())
    qemu_img("convert", "-f", "raw", *_OPTIONS[sort], raw, path)
    return path


def _create(*arguments: str) -> Callable[[Path], None]:
    return lambda path: qemu_img("create", "-q", *arguments[:-1], path, arguments[-1])


def _data_file(path: Path) -> None:
    other = path.with_suffix(".data")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={other},data_file_raw=on", path, "1M")


def _flat_vmdk(path: Path) -> None:
    lines = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", 'createType="monolithicFlat"']
    path.write_text("\n".join([*lines, "", f'RW 4 FLAT "{SECRET}" 0', ""]))


def _truncated(path: Path) -> None:
    noise = path.with_suffix(".noise")
    noise.write_bytes(os.urandom(2 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", noise, path)
    os.truncate(path, MIB)


def _polyglot(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    with path.open("r+b") as file:
        file.truncate(max(path.stat().st_size, MIB))
        file.seek(16 * 2048)
        file.write(b"\1CD001\1")


def _luks(path: Path) -> None:
    path.write_bytes(b"LUKS\xba\xbe\0\1" + bytes(2 * MIB))


def _encrypted_qcow2(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    with path.open("r+b") as file:
        file.seek(32)
        file.write(b"\0\0\0\1")


def _cut_vhd(path: Path) -> None:
    qemu_img("create", "-q", "-f", "vpc", path, "4M")
    os.truncate(path, path.stat().st_size - 512)


def _vhd_with_qcow2(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    footer = path.with_suffix(".vhd")
    qemu_img("create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", footer, "1M")
    with path.open("ab") as file:
        file.write(footer.read_bytes()[-512:])


def _of(sort: str) -> Callable[[Path], None]:
    return lambda path: shutil.move(good(sort, path.parent), path) and None


BACKED = ("-f", "qcow2", "-u", "-F", "raw", "-b")
HOSTILE: dict[str, tuple[str | None, str, Callable[[Path], None]]] = {
    "backing file": ("QCOW2", "UNSAFE_FILE", _create(*BACKED, SECRET, "1M")),
    "json backing file": (
        "QCOW2",
        "UNSAFE_FILE",
        _create(*BACKED, 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}', "1M"),
    ),
    "external data file": ("QCOW2", "UNSAFE_FILE", _data_file),
    "VMDK that names a file": ("VMDK", "UNSAFE_FILE", _flat_vmdk),
    "qcow2 said to be raw": ("RAW", "FORMAT_MISMATCH", _of("QCOW2")),
    "truncated qcow2": ("QCOW2", "UNSAFE_FILE", _truncated),
    "noise said to be qcow2": ("QCOW2", "FORMAT_MISMATCH", lambda path: path.write_bytes(os.urandom(MIB)) and None),
    "QED": (None, "UNSAFE_FILE", _of("QED")),
    "QCOW": (None, "UNSAFE_FILE", _of("QCOW")),
    "LUKS": ("RAW", "UNSAFE_FILE", _luks),
    "encrypted qcow2": ("QCOW2", "UNSAFE_FILE", _encrypted_qcow2),
    "size bomb": ("QCOW2", "DISK_TOO_LARGE", _create("-f", "qcow2", "60T")),
    "ISO and qcow2": ("QCOW2", "UNSAFE_FILE", _polyglot),
    "fixed VHD said to be raw": ("RAW", "FORMAT_MISMATCH", _of("VHD-fixed")),
    "qcow2 and fixed VHD": ("QCOW2", "UNSAFE_FILE", _vhd_with_qcow2),
    "VHD without its end": ("VHD", "UNSAFE_FILE", _cut_vhd),
}
"""What it is: what is said of it, why it is refused, and how it is made."""
