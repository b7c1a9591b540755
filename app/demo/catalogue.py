"""What a fresh installation offers: the operator's project, and public images that any machine can boot."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

from app import events
from app.demo import hello
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
    """See that the public images are there and ACTIVE; the id of hello. Somebody has to run jobs meanwhile.

    Raises: EngineError: it could not be brought into the store.
    """
    system = await ensure_project(SYSTEM)
    async with events.listen(lambda event: event.noun == "Image") as listener:
        image_id = await installed.find_public(system, HELLO)
        if image_id is None:
            image_id = await installed.install(system, await asyncio.to_thread(_hello, data_dir))
        while (image := await Image.get(id=image_id)).status is not ImageStatus.ACTIVE:
            if image.status is ImageStatus.KILLED:
                raise EngineError(image.fault_code or ErrorCode.INTERNAL, f"The image hello: {image.fault_message}")
            await anext(aiter(listener))
    return image_id


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
