"""Debian's packages by apt, without root: which there are, downloaded, and unpacked into a folder."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from app.demo.tiny.running import Unavailable, run

KERNEL = "linux-image-cloud-amd64"
"""Depends on the current version of the kernel for virtual machines."""
IN_GUEST = ("busybox-static", "dropbear-bin", "e2fsprogs", "qemu-guest-agent")
TOOLS = ("mtools", "syslinux", "syslinux-common")
"""What a disk is made by, beside e2fsprogs; run where they were unpacked."""
UPDATE = "run `apt-get update` as root, in case its lists are missing or old"

_LIBRARY = re.compile(r"(lib|zlib)\S+")
_LINE = re.compile(r"'\S+' (\S+\.deb) (\d+) SHA256:([0-9a-f]{64})")
# Without `_apt`, the account that downloads for root and may not enter our folder; not for ever from a mirror that is gone.
_DOWNLOAD = ("-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A file that apt can download."""

    file: str
    size_bytes: int
    sha256: str

    @property
    def name_and_version(self) -> str:
        """As apt takes it: in the file's name, the colon of an epoch is written %3a."""
        name, version, _ = self.file.split("_")
        return f"{name}={version.replace('%3a', ':')}"

    def is_in(self, folder: Path) -> bool:
        """Whether it has been downloaded."""
        path = folder / self.file
        if not path.exists() or path.stat().st_size != self.size_bytes:
            return False
        with path.open("rb") as content:
            return file_digest(content, "sha256").hexdigest() == self.sha256


async def find() -> list[Package]:
    """What is needed, in apt's current versions, sorted. It asks no server.

    Raises: Unavailable: this is no x86-64 Debian, or apt does not know the packages.
    """
    if platform.machine() != "x86_64":
        raise Unavailable(f"it is for x86-64, and this is {platform.machine()}")
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"it is built from Debian's packages, and {tool} is not there")
    wanted = (KERNEL, *IN_GUEST, *TOOLS)
    depends = ("--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces")
    try:
        known = _dependencies(await run("apt-cache", *depends, "--no-enhances", "depends", *wanted))
        kernel = [name for name in known.get(KERNEL, ()) if name.startswith("linux-image-")]
        names = [*kernel, *IN_GUEST, *TOOLS, *_libraries(known, (*IN_GUEST, *TOOLS))]
        listed = await run("apt-get", "download", "--print-uris", *names)
    except Unavailable as error:
        raise Unavailable(f"apt does not know the packages; {UPDATE} ({error})") from error
    packages = sorted(Package(file, int(size), sha256) for file, size, sha256 in _LINE.findall(listed))
    if not kernel or len(packages) != len(names):
        raise Unavailable(f"apt does not know all packages; {UPDATE}")
    return packages


def _dependencies(graph: str) -> dict[str, list[str]]:
    """What each package depends on, from apt-cache's words: a name, then its dependencies, indented."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in graph.splitlines():
        if not line.startswith((" ", "|")):
            name = line
        elif match := re.match(r"[ |]+(?:Pre)?Depends: ([^<\s]+)", line):
            found.setdefault(name, []).append(match[1])
    return found


def _libraries(known: dict[str, list[str]], roots: Iterable[str]) -> list[str]:
    """The shared libraries that packages and those libraries depend on; programs that only their set-up needs are left out."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        more = [name for name in known.get(waiting.pop(), ()) if _LIBRARY.fullmatch(name) and name not in found]
        found.update(more)
        waiting += more
    return sorted(found)


async def download(packages: Iterable[Package], folder: Path, on_bytes: Callable[[int, int], None]) -> None:
    """See that they are in the folder; `on_bytes` hears how many bytes are, and how many will be.

    Raises: Unavailable: they cannot be downloaded.
    """
    packages = list(packages)
    total = sum(package.size_bytes for package in packages)
    missing = [package for package in packages if not package.is_in(folder)]

    def tell(_line: str) -> None:
        paths = [folder / package.file for package in packages]
        on_bytes(sum(path.stat().st_size for path in paths if path.exists()), total)

    for package in missing:
        (folder / package.file).unlink(missing_ok=True)
    if missing:  # in one call: apt takes a second to read its lists
        versions = [package.name_and_version for package in missing]
        await run("apt-get", *_DOWNLOAD, "-q", "download", *versions, cwd=folder, on_line=tell)


async def unpack(packages: Iterable[Package], folder: Path, target: Path) -> None:
    """Unpack downloaded packages over each other.

    Raises: Unavailable: one cannot be read.
    """
    for package in packages:
        await run("dpkg-deb", "--extract", str(folder / package.file), str(target))
