"""What a running service is made of, built once when it starts and handed to whatever works in it."""

from __future__ import annotations

from dataclasses import dataclass

from app.engines.base import Engine
from app.settings import Settings


@dataclass(frozen=True)
class Runtime:
    """The settings of this installation, and the one engine that it runs machines with."""

    settings: Settings
    engine: Engine
