"""Which opener reads the addresses of which scheme in this installation. Set once, when the service starts."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from app.errors import InvalidInput
from app.fetching.base import Opener
from app.settings import Settings

MAX_URL = 2048


def openers(settings: Settings) -> Mapping[str, Opener]:
    """Scheme and opener."""
    return {}


class _Current:
    openers: Mapping[str, Opener] | None = None


def use(settings: Settings) -> None:
    """Make those of the settings known."""
    _Current.openers = openers(settings)


def opener_of(url: str) -> Opener:
    """What reads this address, which it finds well-formed.

    Raises: InvalidInput, Unsupported: `field` is ("url",).
    """
    known = _Current.openers
    assert known is not None, "the service has not been started"
    if len(url) > MAX_URL:
        raise InvalidInput(f"An address has at most {MAX_URL} characters.", field=("url",))
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in known:
        raise InvalidInput(f"An address begins with {', '.join(f'{name}://' for name in known)}.", field=("url",))
    opener = known[scheme]
    opener.check(url)
    return opener
