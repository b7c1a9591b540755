"""What a fresh installation offers: the operator's project, and public images that any machine can boot."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from uuid import UUID

from app import events
from app.demo import hello, tiny
from app.demo.tiny import building
from app.enums import Architecture, ErrorCode, Firmware, ImageStatus, OsType
from app.errors import Conflict, EngineError
from app.images.models import Image
from app.projects import service as projects
from app.sources import installed
from app.sources.installed import PublicImage

SYSTEM = "system"
"""The operator's project, which the public images belong to."""
HELLO = "hello"


async def ensure_project(name: str) -> UUID:
    """The project with this name, made if there is none."""
    try:
        return await projects.create_project(name)
    except Conflict:
        return await projects.project_named(name)


async def install_public_images(data_dir: Path) -> UUID:
    """See that hello is there and ACTIVE; its id. Somebody has to run jobs meanwhile.

    Raises: EngineError: it could not be brought into the store.
    """
    system = await ensure_project(SYSTEM)
    image_id = await installed.find_public(system, HELLO)
    if image_id is None:
        image_id = await installed.install(system, await asyncio.to_thread(_hello, data_dir))
    await _until_active(image_id)
    return image_id


async def install_tiny(data_dir: Path, tell: building.Progress) -> str:
    """See that Tiny Linux is there and ACTIVE, built if nobody has yet; a word on it. Somebody has to run jobs meanwhile.

    Raises: Unavailable: it cannot be built here. EngineError: it could not be brought into the store.
    """
    system = await ensure_project(SYSTEM)
    image_id = await installed.find_public(system, tiny.NAME)
    said = "it is there already"
    if image_id is None:
        path, built = await building.provide(await asyncio.to_thread(_cache, data_dir), tell)
        said = f"Linux {built.kernel}, built in {built.seconds:.1f} s"
        image_id = await installed.install(system, await asyncio.to_thread(_tiny, data_dir, path, built.kernel))
    await _until_active(image_id)
    return said


async def _until_active(image_id: UUID) -> None:
    async with events.listen(lambda event: event.noun == "Image") as listener:
        while (image := await Image.get(id=image_id)).status is not ImageStatus.ACTIVE:
            if image.status is ImageStatus.KILLED:
                raise EngineError(
                    image.fault_code or ErrorCode.INTERNAL, f"The image {image.name}: {image.fault_message}"
                )
            await anext(aiter(listener))


def _hello(data_dir: Path) -> PublicImage:
    path = data_dir.resolve() / "hello.raw"
    path.write_bytes(hello.disk_image())
    return PublicImage(
        name=HELLO,
        path=path,
        format="raw",
        size_gib=1,
        columns={
            "description": "A machine in a few sectors: it says hello on its console, and obeys lines of its user data.",
            "os_type": OsType.OTHER,
            "os_platform": "Hello",
            "os_version": "1",
            "architecture": Architecture.X86_64,
            "firmware": Firmware.BIOS,
        },
        tags={"os": "hello"},
    )


def _cache(data_dir: Path) -> Path:
    """Where built images are kept: for all installations of a user, or in this one where the user has no place."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "image-service" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return data_dir.resolve() / "cache" / "tiny"
    return folder if os.access(folder, os.W_OK) else data_dir.resolve() / "cache" / "tiny"


def _tiny(data_dir: Path, built: Path, kernel: str) -> PublicImage:
    path = data_dir.resolve() / "tiny.raw"
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(built)
    except OSError:  # on another file system
        shutil.copyfile(built, path)
    return PublicImage(
        name=tiny.NAME,
        path=path,
        format="raw",
        size_gib=1,
        columns={
            "description": "Tiny Linux: Debian's kernel with busybox, SSH and a guest agent. Log in as root.",
            "os_type": OsType.LINUX,
            "os_platform": "Tiny Linux",
            "os_version": f"Tiny Linux {tiny.VERSION} ({kernel})",
            "os_bits": 64,
            "architecture": Architecture.X86_64,
            "firmware": Firmware.BIOS,
            "min_ram_mib": tiny.MIN_RAM_MIB,
        },
        tags={"os": "linux"},
    )
