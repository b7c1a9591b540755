"""What can open addresses of one scheme: the contract between it and what writes the bytes into a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class Dropped(Exception):
    """It did not work this time, and may the next: the connection was refused or broke, or the other side is overloaded.

    The message is a sentence for the user, without what is secret in the address.
    """


@dataclass(frozen=True, slots=True)
class Stream:
    """A file on its way."""

    offset: int
    """Where `chunks` begin: as asked for, or 0 where the file is another by now, or cannot be had from its middle."""
    total_bytes: int | None
    """The whole file's, not what is left of it; None: not known before its end."""
    validator: str | None
    """What stands for exactly these bytes, so that the rest can be asked for later: an entity tag. None: there is nothing like that."""
    chunks: AsyncIterator[bytes]
    """Raises: Dropped; Refused: FETCH_FAILED. It ends only when the file does."""


class Opener(Protocol):
    """What reads files by their addresses. It holds nothing open between calls."""

    def check(self, url: str) -> None:
        """Refuse what can be seen to be wrong without asking anybody. Requests call it.

        Raises: InvalidInput, Unsupported, Forbidden: `field` is ("url",).
        """

    def open(self, url: str, *, offset: int = 0, validator: str | None = None) -> AbstractAsyncContextManager[Stream]:
        """The file from an offset on, if it still is the one of the validator (one of an earlier Stream of this opener); else all of it.

        Raises, on entering: Dropped. Refused: FETCH_FAILED: no other try would help. InvalidInput, Unsupported, Forbidden: as
        check. No message has what is secret in the address, or says anything of a host that may not be asked.
        """
