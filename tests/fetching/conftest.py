"""A mirror that serves a MiB or so, and the web as it may be asked from a test."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from app.fetching.web import Web
from tests.fetching.mirror import Mirror, serving

LOOPBACK = ip_network("127.0.0.0/8")
CONTENT = random.randbytes(3 << 20)


@pytest.fixture
async def mirror() -> AsyncIterator[Mirror]:
    async with serving(Mirror(CONTENT)) as mirror:
        yield mirror


@pytest.fixture
def web() -> Web:
    return Web([LOOPBACK], silent_s=5)
