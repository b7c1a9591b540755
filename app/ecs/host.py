"""What requests may know of the engine: what it is, what it can do, and what it lets them read. Set once, when the service starts."""

from __future__ import annotations

from dataclasses import dataclass

from app.engines.base import Capabilities, Consoles, Files


@dataclass(frozen=True, slots=True)
class Host:
    """The engine as requests know it."""

    engine: str
    capabilities: Capabilities
    consoles: Consoles
    files: Files


class _Current:
    host: Host | None = None


def use(host: Host) -> None:
    """Make it known."""
    _Current.host = host


def current() -> Host:
    """The engine of this installation."""
    assert _Current.host, "the service has not been started"
    return _Current.host
