"""Disk files of every sort, good and hostile, made by QEMU's own tools and here and there changed by hand."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pycdlib

from app.demo.hello import disk_image

MIB = 1 << 20
SECRET = "/etc/passwd"
GOOD = (
    "QCOW2",
    "QCOW2-old",
    "RAW",
    "VMDK",
    "VMDK-stream",
    "VHD",
    "VHD-fixed",
    "VHDX",
    "VDI",
    "QED",
    "QCOW",
)
"""A format, and after a hyphen a kind of it."""
_OPTIONS = {
    "QCOW2": ("-c", "-O", "qcow2"),
    "QCOW2-old": ("-O", "qcow2", "-o", "compat=0.10"),
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


def disc(path: Path, *, is_hybrid: bool = False) -> Path:
    """An ISO 9660 volume; a hybrid one starts with a partition table, as those do that are put on sticks."""
    volume = pycdlib.PyCdlib()
    volume.new(vol_ident="SETUP", joliet=3)
    volume.add_fp(BytesIO(b"hello"), 5, "/HELLO.TXT;1", joliet_path="/hello.txt")
    volume.write(str(path))
    volume.close()
    if is_hybrid:
        patch(path, 446, struct.pack("<B3sB3sII", 0x80, bytes(3), 0x17, bytes(3), 0, path.stat().st_size // 512))
        patch(path, 510, b"\x55\xaa")
    return path


def patch(path: Path, offset: int, data: bytes) -> None:
    """Write over a part of a file; an offset below zero counts from its end."""
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        file.write(data)


Making = Callable[[Path], object]


def _create(*arguments: str) -> Making:
    return lambda path: qemu_img("create", "-q", *arguments[:-1], path, arguments[-1])


def _noise(path: Path, *options: str) -> None:
    """Two MiB of bytes that no tool makes smaller."""
    path.write_bytes(_noise_as(*options))


@cache
def _noise_as(*options: str) -> bytes:
    with TemporaryDirectory() as folder:
        noise, made = Path(folder, "noise"), Path(folder, "file")
        noise.write_bytes(os.urandom(2 * MIB))
        qemu_img("convert", "-f", "raw", *options, noise, made)
        return made.read_bytes()


def _cut(*options: str, to: int = MIB) -> Making:
    def make(path: Path) -> None:
        _noise(path, *options)
        os.truncate(path, to)

    return make


def _patched(*changes: tuple[int, bytes], of: tuple[str, ...] = ("-O", "qcow2")) -> Making:
    def make(path: Path) -> None:
        _noise(path, *of)
        for offset, data in changes:
            patch(path, offset, data)

    return make


def _data_file(path: Path) -> None:
    other = path.with_suffix(".data")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={other},data_file_raw=on", path, "1M")


def _descriptor(kind: str, *extents: str) -> str:
    lines = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", f'createType="{kind}"']
    return "\n".join([*lines, "", *extents, ""])


def _text_vmdk(kind: str, *extents: str) -> Making:
    return lambda path: path.write_text(_descriptor(kind, *extents))


def _sparse_vmdk(kind: str, *extents: str, capacity: int | None = None) -> Making:
    """A file with a header of its own, whose description of itself was exchanged."""

    def make(path: Path) -> None:
        _noise(path, "-O", "vmdk")
        patch(path, 512, _descriptor(kind, *extents).encode().ljust(20 * 512, b"\0"))
        if capacity is not None:
            patch(path, 12, struct.pack("<Q", capacity))

    return make


def _split_vmdk(path: Path) -> None:
    qemu_img("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, "1M")


def _backed_vmdk(path: Path) -> None:
    parent = path.with_suffix(".parent")
    qemu_img("create", "-q", "-f", "vmdk", parent, "1M")
    qemu_img("create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, path, "1M")


def _polyglot(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    with path.open("r+b") as file:
        file.truncate(max(path.stat().st_size, MIB))
    patch(path, 16 * 2048, b"\1CD001\1")


def _polyglot_vdi(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    patch(path, 64, struct.pack("<I", 0xBEDA107F))


def _vhd_with_qcow2(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    footer = path.with_suffix(".vhd")
    qemu_img("create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", footer, "1M")
    with path.open("ab") as file:
        file.write(footer.read_bytes()[-512:])


def _disc_with_vhd(path: Path) -> None:
    _vhd_with_qcow2(path)
    footer = path.read_bytes()[-512:]
    with disc(path).open("ab") as file:
        file.write(footer)


def _vhd(kind: str, *changes: tuple[int, bytes], to: int = 0) -> Making:
    def make(path: Path) -> None:
        _noise(path, "-O", "vpc", "-o", f"subformat={kind},force_size=on")
        for offset, data in changes:
            patch(path, offset, data)
        os.truncate(path, path.stat().st_size + to)

    return make


def _encrypted_qcow(path: Path) -> None:
    secret = ("--object", "secret,id=s,data=abc", "-o", "encryption=on,encrypt.key-secret=s")
    qemu_img("create", "-q", "-f", "qcow", *secret, path, "1M")


def _snapshot(path: Path) -> None:
    _noise(path, "-O", "qcow2")
    qemu_img("snapshot", "-c", "before", path)


def _snapshots(*changes: tuple[int, bytes]) -> Making:
    def make(path: Path) -> None:
        _snapshot(path)
        for offset, data in changes:
            patch(path, offset, data)

    return make


def _packed_qcow(path: Path) -> None:
    """Its first cluster is packed, and lies at the end; qemu-img does not make such files any more."""
    _noise(path, "-O", "qcow")
    data = path.read_bytes()
    cluster = zlib.compressobj(wbits=-12)
    packed = cluster.compress(b"packed".ljust(4096, b".")) + cluster.flush()
    (upper,) = struct.unpack(">Q", data[40:48])
    (table,) = struct.unpack(">Q", data[upper : upper + 8])
    patch(path, table, struct.pack(">Q", 1 << 63 | len(packed) << (63 - 12) | len(data)))
    with path.open("ab") as file:
        file.write(packed)


def _broken_packing(path: Path) -> None:
    """Tables that are right, and clusters that cannot be unpacked: only a conversion finds out."""
    qemu_img("convert", "-f", "raw", "-c", "-O", "qcow2", good("RAW", path.parent), path)
    data = path.read_bytes()
    (upper,) = struct.unpack(">Q", data[40:48])
    (table,) = struct.unpack(">Q", data[upper : upper + 8])
    (entry,) = struct.unpack(">Q", data[table & ~(1 << 63) :][:8])
    patch(path, entry & ((1 << 54) - 1), b"\xff" * 32)


def _of(sort: str) -> Making:
    return lambda path: shutil.move(good(sort, path.parent), path)


BACKED = ("-f", "qcow2", "-u", "-F", "raw", "-b")
JSON_SECRET = f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{SECRET}"}}}}'
FLAT = f'RW 4 FLAT "{SECRET}" 0'
BEYOND = struct.pack(">Q", 1 << 40)
QCOW, QED, VDI = ("-O", "qcow"), ("-O", "qed"), ("-O", "vdi")
HOSTILE: dict[str, tuple[str | None, str, Making]] = {
    # Other files of the host.
    "backing file": ("QCOW2", "UNSAFE_FILE", _create(*BACKED, SECRET, "1M")),
    "json backing file": ("QCOW2", "UNSAFE_FILE", _create(*BACKED, JSON_SECRET, "1M")),
    "external data file": ("QCOW2", "UNSAFE_FILE", _data_file),
    "VMDK that names a file": ("VMDK", "UNSAFE_FILE", _text_vmdk("monolithicFlat", FLAT)),
    "VMDK that names a file and is not said to be one": (None, "UNSAFE_FILE", _text_vmdk("vmfs", FLAT)),
    "VMDK that names a device": ("VMDK", "UNSAFE_FILE", _text_vmdk("fullDevice", 'RW 4 FLAT "/dev/zero" 0')),
    "VMDK of several files": ("VMDK", "UNSAFE_FILE", _split_vmdk),
    "sparse VMDK that names a file": ("VMDK", "UNSAFE_FILE", _sparse_vmdk("monolithicFlat", FLAT)),
    "sparse VMDK of its own name and a file": (
        "VMDK",
        "UNSAFE_FILE",
        _sparse_vmdk("monolithicSparse", 'RW 4096 SPARSE "file"', FLAT),
    ),
    "VMDK whose header sends for its description": (
        "VMDK",
        "UNSAFE_FILE",
        _sparse_vmdk("monolithicFlat", FLAT, capacity=0),
    ),
    "VMDK on another": ("VMDK", "UNSAFE_FILE", _backed_vmdk),
    "QCOW on another": ("QCOW", "UNSAFE_FILE", _create("-f", "qcow", "-u", "-F", "raw", "-b", SECRET, "1M")),
    "QCOW with a name of no length": ("QCOW", "UNSAFE_FILE", _patched((8, struct.pack(">Q", 48)), of=QCOW)),
    "QED on another": ("QED", "UNSAFE_FILE", _create("-f", "qed", "-u", "-F", "raw", "-b", SECRET, "1M")),
    # Not what was said, or several things at once.
    "qcow2 said to be raw": ("RAW", "FORMAT_MISMATCH", _of("QCOW2")),
    "noise said to be qcow2": ("QCOW2", "FORMAT_MISMATCH", lambda path: path.write_bytes(os.urandom(MIB))),
    "fixed VHD said to be raw": ("RAW", "FORMAT_MISMATCH", _of("VHD-fixed")),
    "QCOW said to be QCOW2": ("QCOW2", "FORMAT_MISMATCH", _of("QCOW")),
    "disc": (None, "FORMAT_MISMATCH", disc),
    "disc said to be raw": ("RAW", "FORMAT_MISMATCH", disc),
    "disc that starts from a stick": (None, "FORMAT_MISMATCH", lambda path: disc(path, is_hybrid=True)),
    "ISO and qcow2": ("QCOW2", "UNSAFE_FILE", _polyglot),
    "ISO and fixed VHD": (None, "UNSAFE_FILE", _disc_with_vhd),
    "VDI and qcow2": (None, "UNSAFE_FILE", _polyglot_vdi),
    "qcow2 and fixed VHD": ("QCOW2", "UNSAFE_FILE", _vhd_with_qcow2),
    # Encrypted.
    "LUKS": ("RAW", "UNSAFE_FILE", lambda path: path.write_bytes(b"LUKS\xba\xbe\0\1" + bytes(2 * MIB))),
    "encrypted qcow2": ("QCOW2", "UNSAFE_FILE", _patched((32, struct.pack(">I", 1)))),
    "encrypted QCOW": ("QCOW", "UNSAFE_FILE", _encrypted_qcow),
    # Larger than they look.
    "size bomb": ("QCOW2", "DISK_TOO_LARGE", _create("-f", "qcow2", "60T")),
    "larger size bomb": ("QCOW2", "DISK_TOO_LARGE", _create("-f", "qcow2", "1P")),
    "size bomb as VHDX": ("VHDX", "DISK_TOO_LARGE", _create("-f", "vhdx", "60T")),
    "size bomb as QED": ("QED", "DISK_TOO_LARGE", _create("-f", "qed", "60T")),
    "size bomb as VDI": ("VDI", "UNSAFE_FILE", _patched((368, struct.pack("<Q", 1 << 60)), of=VDI)),
    "size bomb as QCOW": ("QCOW", "UNSAFE_FILE", _patched((24, struct.pack(">Q", 1 << 49)), of=QCOW)),
    "no size": ("QCOW", "UNSAFE_FILE", _patched((24, bytes(8)), of=QCOW)),
    # Cut off.
    "truncated qcow2": ("QCOW2", "UNSAFE_FILE", _cut("-O", "qcow2")),
    "qcow2 of a header": ("QCOW2", "UNSAFE_FILE", _cut("-O", "qcow2", to=512)),
    "truncated VMDK": ("VMDK", "UNSAFE_FILE", _cut("-O", "vmdk")),
    "truncated stream": ("VMDK", "UNSAFE_FILE", _cut("-O", "vmdk", "-o", "subformat=streamOptimized")),
    "truncated VHDX": ("VHDX", "UNSAFE_FILE", _cut("-O", "vhdx", to=9 * MIB)),
    "truncated VDI": ("VDI", "UNSAFE_FILE", _cut("-O", "vdi")),
    "truncated QED": ("QED", "UNSAFE_FILE", _cut("-O", "qed")),
    "truncated QCOW": ("QCOW", "UNSAFE_FILE", _cut("-O", "qcow")),
    "QCOW of a header": ("QCOW", "UNSAFE_FILE", _cut("-O", "qcow", to=512)),
    "VHD without its end": ("VHD", "UNSAFE_FILE", _vhd("dynamic", to=-512)),
    "fixed VHD without its end": ("VHD", "FORMAT_MISMATCH", _vhd("fixed", to=-512)),
    "VHD without its middle": ("VHD", "UNSAFE_FILE", _vhd("dynamic", (512 + 16, BEYOND))),
    # Tables that send the reader elsewhere.
    "qcow2 of a future version": ("QCOW2", "UNSAFE_FILE", _patched((4, struct.pack(">I", 9)))),
    "qcow2 with features of the future": ("QCOW2", "UNSAFE_FILE", _patched((72, b"\x80"))),
    "clusters of 2 GiB": ("QCOW2", "UNSAFE_FILE", _patched((20, struct.pack(">I", 31)))),
    "L1 table beyond the end": ("QCOW2", "UNSAFE_FILE", _patched((40, BEYOND))),
    "L1 table of a billion": ("QCOW2", "UNSAFE_FILE", _patched((36, struct.pack(">I", 1 << 30)))),
    "refcount table beyond the end": ("QCOW2", "UNSAFE_FILE", _patched((48, BEYOND))),
    "refcount table of many": ("QCOW2", "UNSAFE_FILE", _patched((56, struct.pack(">I", 1 << 31)))),
    "snapshots beyond the end": ("QCOW2", "UNSAFE_FILE", _snapshots((64, BEYOND))),
    "snapshots without number": ("QCOW2", "UNSAFE_FILE", _snapshots((60, struct.pack(">I", 1 << 31)))),
    "QCOW with a table beyond the end": ("QCOW", "UNSAFE_FILE", _patched((40, BEYOND), of=QCOW)),
    "QCOW with tiny clusters": ("QCOW", "UNSAFE_FILE", _patched((32, b"\3"), of=QCOW)),
    "QED with features of the future": ("QED", "UNSAFE_FILE", _patched((16, b"\x80"), of=QED)),
    "QED with a table beyond the end": ("QED", "UNSAFE_FILE", _patched((40, struct.pack("<Q", 1 << 40)), of=QED)),
    "QED with clusters of 2 GiB": ("QED", "UNSAFE_FILE", _patched((4, struct.pack("<I", 1 << 31)), of=QED)),
    "fixed VHD of another size": ("VHD", "UNSAFE_FILE", _vhd("fixed", (-512 + 48, BEYOND))),
    "VHD with a broken footer": ("VHD", "UNSAFE_FILE", _vhd("fixed", (-512 + 64, b"\1\2\3\4"))),
}
"""What it is: what is said of it, why it is refused, and how it is made."""
FOUND_LATE: dict[str, Making] = {"clusters that cannot be unpacked": _broken_packing}
"""What is wrong with these only a conversion finds out."""
HARMLESS: dict[str, tuple[str, Making]] = {
    "qcow2 with a snapshot": ("QCOW2", _snapshot),
    "qcow2 packed with zstd": ("QCOW2", lambda path: _noise(path, "-c", "-O", "qcow2", "-o", "compression_type=zstd")),
    "QCOW with a packed cluster": ("QCOW", _packed_qcow),
    "qcow2 that was not closed": ("QCOW2", _patched((79, b"\1"))),
}
"""Odd files that are as good as others: what they are, and how they are made."""
