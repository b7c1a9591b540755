from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engines.lab import Lab, QemuLab

LABS = {"qemu": QemuLab}
"""Every engine passes the contract's tests: a new one adds its lab here."""


@pytest.fixture(params=LABS)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """An open engine of each kind, with a store of its own."""
    made = LABS[request.param](tmp_path)
    await made.open()
    yield made
    await made.clear()


@pytest.fixture
async def qemu(tmp_path: Path) -> AsyncIterator[QemuLab]:
    """An open QEMU engine, for what only it does."""
    made = QemuLab(tmp_path)
    await made.open()
    yield made
    await made.clear()
