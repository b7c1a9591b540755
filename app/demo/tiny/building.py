"""Building the disk, or taking the one that an earlier build has left.

The folder that is given keeps one disk and the packages that it was made of. A disk is as good as new while the builder's own files and
Debian's packages are the same; where apt has nothing to say (no lists, no network) the one that is there will do.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from app.demo.tiny import VERSION, initramfs, packages
from app.demo.tiny.disk import Entry, Toolbox
from app.demo.tiny.running import Unavailable, run

Progress = Callable[[float, str], None]
"""Called with how much is done, 0.0 to 1.0, and a word on it."""
LIMIT_S = 180.0
"""For a whole build: 8 s, most of it for unpacking, and the download."""
LISTS = Path("/var/lib/apt/lists")
HERE = Path(__file__).parent
PROGRAMS = (
    "dropbear", "dropbearkey", "qemu-ga", "mke2fs", "e2fsck", "resize2fs",
)  # fmt: skip
"""Of the guest, beside busybox."""
NAMES = {
    "mkfs.ext4": "mke2fs",
    "mkfs.ext3": "mke2fs",
    "mkfs.ext2": "mke2fs",
    "fsck.ext4": "e2fsck",
    "mkfs.vfat": "busybox",
}
FOLDERS = {
    "": ("boot", "dev", "mnt", "proc", "run", "sys", "usr", "var", "etc/dropbear", "etc/qemu/fsfreeze-hook.d", "usr/lib", "usr/bin",
         "var/lib", "var/lib/tiny", "var/log"),
    "private": ("root", "root/.ssh"),
    "shared": ("tmp",),
}  # fmt: skip
MODES = {"": 0o755, "private": 0o700, "shared": 0o1777}
LINKS = {
    "bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib", "sbin": "usr/bin", "usr/sbin": "bin",
    "etc/mtab": "../proc/self/mounts", "etc/resolv.conf": "../run/resolv.conf",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """A disk that boots Tiny Linux for the first time."""

    file: str
    """Its name; raw, in the folder."""
    kernel: str
    """The kernel's version, as `uname -r` tells it."""
    builder: str
    lists: str
    """What it was made by, and what apt knew then."""
    seconds: float
    """How long it took to build."""


async def provide(folder: Path, tell: Progress) -> tuple[Path, Tiny]:
    """The disk, built if need be; several processes may ask for it at the same time.

    Raises: Unavailable: it cannot be built here.
    """
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with asyncio.timeout(LIMIT_S), _alone(folder):
            tiny = await _provide(folder, tell)
    except TimeoutError:
        raise Unavailable(f"it was not built after {LIMIT_S:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"{error.strerror}: {error.filename}") from error
    return folder / tiny.file, tiny


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    """No other process is here meanwhile."""
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.1)  # to wait for the lock itself would be deaf to Ctrl-C
        yield


async def _provide(folder: Path, tell: Progress) -> Tiny:
    builder, lists = await asyncio.to_thread(_builder), await asyncio.to_thread(_lists)
    old = _read(folder)
    if old and (old.builder, old.lists) == (builder, lists):
        return old
    try:
        wanted = await packages.find()
    except Unavailable:
        if old and old.builder == builder:
            return old
        raise
    key = sha256(repr((builder, wanted)).encode()).hexdigest()[:16]
    file = f"tiny-{key}.raw"
    if old and old.file == file:
        return _keep(folder, Tiny(**asdict(old) | {"lists": lists}))
    begun = time.perf_counter()
    debs, work = folder / "packages", folder / "work"
    await asyncio.to_thread(_make_room, debs, work)
    try:
        await packages.download(wanted, debs, lambda done, total: tell(done / total / 2, _downloaded(done, total)))
        kernel = await _build(wanted, debs, work, tell)
        await asyncio.to_thread(_settle, work, file, {package.file for package in wanted})
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
    seconds = time.perf_counter() - begun
    return _keep(folder, Tiny(file=file, kernel=kernel, builder=builder, lists=lists, seconds=seconds))


def _downloaded(done: int, total: int) -> str:
    return f"{done >> 20} of {total >> 20} MiB of packages"


def _make_room(debs: Path, work: Path) -> None:
    """What a build that was killed has left goes."""
    shutil.rmtree(work, ignore_errors=True)
    for path in (debs, work):
        path.mkdir(exist_ok=True)


def _settle(work: Path, file: str, debs: set[str]) -> None:
    """The disk that is ready takes its place, and what only earlier ones needed goes."""
    folder = work.parent
    (work / "disk").replace(folder / file)
    for path in (*folder.glob("tiny-*.raw"), *(folder / "packages").iterdir()):
        if path.name not in {file, *debs}:
            path.unlink()


def _builder() -> str:
    """What the builder is: all its files."""
    paths = sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _lists() -> str:
    """What apt knows: its lists, by name, size and time."""
    found = sorted(LISTS.glob("*_Packages*"))
    return sha256(
        repr([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found]).encode()
    ).hexdigest()


def _read(folder: Path) -> Tiny | None:
    try:
        tiny = Tiny(**json.loads((folder / "tiny.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return tiny if (folder / tiny.file).exists() else None


def _keep(folder: Path, tiny: Tiny) -> Tiny:
    temporary = folder / "tiny.json.new"
    temporary.write_text(json.dumps(asdict(tiny)))
    temporary.replace(folder / "tiny.json")
    return tiny


async def _build(wanted: list[packages.Package], debs: Path, work: Path, tell: Progress) -> str:
    """Make the file `disk` in the work folder; the kernel's version."""
    unpacked, linux = work / "unpacked", work / "linux"
    tell(0.5, "unpacking")
    kernels = [package for package in wanted if package.file.startswith("linux-image-")]
    await asyncio.gather(
        packages.unpack(kernels, debs, linux),
        packages.unpack([package for package in wanted if package not in kernels], debs, unpacked),
    )
    tools = Toolbox(unpacked)
    (modules,) = (linux / "lib/modules").iterdir()
    busybox = tools.program("busybox")
    applets = sorted((await run(str(busybox), "--list")).split())
    applets.remove("busybox")
    tell(0.8, "making the disk")
    init, initrd = (HERE / "boot/init").read_bytes(), work / "initrd"
    loaded = await asyncio.to_thread(initramfs.drivers, modules)
    archive = await asyncio.to_thread(initramfs.build, init, busybox.read_bytes(), applets, loaded)
    initrd.write_bytes(archive)
    files = {"vmlinuz": linux / f"boot/vmlinuz-{modules.name}", "initrd": initrd, "syslinux.cfg": work / "syslinux.cfg"}
    shutil.copy(HERE / "boot/syslinux.cfg", files["syslinux.cfg"])
    files["vmlinuz"] = files["vmlinuz"].rename(work / "vmlinuz")
    await tools.make_fat(work / "fat", files)
    await tools.make_ext4(work / "ext4", await _entries(tools, applets, work, modules.name), work)
    tell(0.95, "putting it together")
    await asyncio.to_thread(tools.assemble, work / "disk", work / "fat", work / "ext4")
    return modules.name


async def _entries(tools: Toolbox, applets: list[str], work: Path, kernel: str) -> dict[str, Entry]:
    """The root file system."""
    entries = {path: Entry(mode=MODES[kind]) for kind, paths in FOLDERS.items() for path in paths}
    for path in sorted((HERE / "root/etc").rglob("*")):
        name = path.relative_to(HERE / "root").as_posix()
        is_program = path.is_file() and path.read_bytes().startswith(b"#!")
        entries[name] = Entry(source=path, mode=0o755 if is_program else 0o644) if path.is_file() else Entry()
    entries["etc"], entries["etc/shadow"] = Entry(), Entry(source=HERE / "root/etc/shadow", mode=0o600)
    release = work / "os-release"
    release.write_text(
        f'ID=tiny\nNAME="Tiny Linux"\nVERSION_ID={VERSION}\nPRETTY_NAME="Tiny Linux {VERSION} ({kernel})"\n'
    )
    entries["etc/os-release"] = Entry(source=release, mode=0o644)
    entries["etc/mke2fs.conf"] = Entry(source=tools.root / "etc/mke2fs.conf", mode=0o644)
    programs = {"busybox": tools.program("busybox")} | {name: tools.program(name) for name in PROGRAMS}
    programs |= {path.name: path for path in sorted((HERE / "root/sbin").iterdir())}
    for name in PROGRAMS:
        entries |= {f"usr/lib/{path.name}": Entry(source=path) for path in await tools.libraries_of(name)}
    entries |= {f"usr/bin/{name}": Entry(link="busybox") for name in applets if name not in programs}
    entries |= {f"usr/bin/{name}": Entry(link=target) for name, target in NAMES.items()}
    entries |= {f"usr/bin/{name}": Entry(source=path) for name, path in programs.items()}
    entries |= {path: Entry(link=target) for path, target in LINKS.items()}
    return dict(sorted(entries.items()))
