"""What requests may know of the engine: what it is, what it can do, and its consoles to read. Set once, when the service starts."""

from __future__ import annotations

from dataclasses import dataclass

from app.engines.base import Capabilities, Consoles


@dataclass(frozen=True, slots=True)
class Host:
    """The engine as requests know it."""

    engine: str
    capabilities: Capabilities
    consoles: Consoles


class _Current:
    host: Host | None = None


def use(host: Host) -> None:
    """Make it known."""
    _Current.host = host


def current() -> Host:
    """The engine of this installation."""
    assert _Current.host, "the service has not been started"
    return _Current.host
