"""Checksums of files, as they are shown."""

from __future__ import annotations

from dataclasses import dataclass

from app.enums import HashAlgorithm


@dataclass(frozen=True, slots=True)
class Checksum:
    """What tells one content from another."""

    algorithm: HashAlgorithm
    value: str
