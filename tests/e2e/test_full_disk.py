"""The service on a small file system that fills up: whatever is asked of it ends, nothing is left behind, and later it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import small_disk
from tests.e2e.full_disk import AGAIN, GUEST, KINDS, LEVELS


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="f") as name:  # short: sockets have at most 107 bytes
        yield Path(name)


@pytest.fixture(scope="module")
async def told(folder: Path) -> dict[str, str | None]:
    """What was tried there, and what was wrong with it; all of it by one installation, as its start is what takes long."""
    status, said = await small_disk.run(folder, "256m", "tests.e2e.full_disk", str(folder))
    assert status == 0, said[-3000:]
    tried = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {each["what"]: each["wrong"] for each in tried}


@pytest.mark.parametrize("how", [*LEVELS, AGAIN])
@pytest.mark.parametrize("kind", KINDS)
def test_job_on_a_full_disk(told: dict[str, str | None], kind: str, how: str) -> None:
    wrong = told[f"{kind}: {how}"]

    assert wrong is None, wrong


def test_guest_waits_for_space_and_goes_on_although_the_service_is_killed_meanwhile(
    told: dict[str, str | None],
) -> None:
    wrong = told[GUEST]

    assert wrong is None, wrong
