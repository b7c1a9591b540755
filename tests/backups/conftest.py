"""The engine's store of the running service."""

from __future__ import annotations

import pytest

from tests.backups.looking import Store


@pytest.fixture
def store(service) -> Store:
    return Store(service.settings)
