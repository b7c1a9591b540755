"""Which opener reads the addresses of which scheme in this installation. Set once, when the service starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from uuid import UUID

from app.errors import InvalidInput
from app.fetching.base import Opener
from app.fetching.s3 import S3Opener
from app.fetching.web import Web
from app.settings import Settings

MAX_URL = 2048

MakeOpener = Callable[[UUID], Opener]
"""An opener for a project: what lies in the operator's storage is not for all of them."""


def openers(settings: Settings) -> Mapping[str, MakeOpener]:
    """Scheme and what makes its opener."""
    web = Web(settings.fetch_networks)
    return {"https": lambda _: web, "http": lambda _: web, "s3": S3Opener}


class _Current:
    openers: Mapping[str, MakeOpener] | None = None


def use(settings: Settings) -> None:
    """Make those of the settings known."""
    _Current.openers = openers(settings)


def opener_of(url: str, project_id: UUID) -> Opener:
    """What reads this address for a project, and finds it well-formed.

    Raises: InvalidInput, Unsupported, Forbidden: `field` is ("url",).
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
    opener = known[scheme](project_id)
    opener.check(url)
    return opener
