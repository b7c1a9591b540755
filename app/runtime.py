"""What a running service is made of, built once when it starts and handed to whatever works in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.engines.base import Engine
from app.enums import ErrorCode
from app.errors import Refused
from app.files import free_bytes
from app.settings import Settings


@dataclass(frozen=True)
class Runtime:
    """The settings of this installation, and the one engine that it runs machines with."""

    settings: Settings
    engine: Engine

    async def require_room(self, size_bytes: int = 0) -> None:
        """Before work that takes space begins: see that so much can be written and the reserve stays. What was begun may use that.

        Raises: Refused: INSUFFICIENT_STORAGE.
        """
        free = await asyncio.to_thread(free_bytes, self.settings.data_dir)
        if size_bytes + (self.settings.reserve_disk_mib << 20) > free:
            wanted = f"{-(-size_bytes >> 20)} MiB more" if size_bytes else "anything more"
            message = f"The service's storage has no room for {wanted}; delete what is not needed, or try again later."
            raise Refused(ErrorCode.INSUFFICIENT_STORAGE, message)
