"""A full disk of the host pauses guests, and they go on by themselves; a copy gives way before the disk is full."""

from pathlib import Path

from tests import small_disk


async def test_a_guest_waits_for_space_and_goes_on(tmp_path: Path) -> None:
    status, said = await small_disk.run(tmp_path, "6m", "tests.engines.full_disk", "guest", str(tmp_path))

    assert status == 0, said
    words = [word for word in said.split() if word in {"PAUSED_NO_SPACE", "INSUFFICIENT_STORAGE", "RESUMED"}]
    assert words == ["PAUSED_NO_SPACE", "INSUFFICIENT_STORAGE", "RESUMED"]


async def test_a_copy_ends_when_others_fill_the_disk_and_leaves_nothing(tmp_path: Path) -> None:
    status, said = await small_disk.run(tmp_path, "96m", "tests.engines.full_disk", "copies", str(tmp_path))

    assert status == 0, said
    assert said.split() == ["ingest", "copy", "export", "compact_disk", "compact"]
