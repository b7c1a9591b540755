"""Building Tiny Linux: the same bytes each time, once only, and what is said where it cannot be. What it does: tests/e2e/test_linux.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.demo.tiny import building, initramfs, packages
from app.demo.tiny.running import Unavailable
from tests.command import CACHE, ROOT, environment

NOWHERE = (
    'Acquire::http::Proxy "http://127.0.0.1:9"; Acquire::https::Proxy "http://127.0.0.1:9"; Acquire::Retries "0";\n'
)
"""Nobody listens at port 9 (discard)."""


def ignore(_done: float, _note: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture
async def built() -> tuple[Path, building.Tiny]:
    return await building.provide(CACHE / "image-service" / "tiny", ignore)


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Has apt configured otherwise."""

    def configure(text: str) -> None:
        (tmp_path / "apt.conf").write_text(text)
        monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))

    return configure


def copied(built: tuple[Path, building.Tiny], folder: Path, **changes: object) -> Path:
    """A cache with that disk, the record of which is changed."""
    path, _ = built
    folder.mkdir()
    (folder / path.name).hardlink_to(path)
    record = json.loads((path.parent / "tiny.json").read_text()) | changes
    (folder / "tiny.json").write_text(json.dumps(record))
    return folder


async def test_same_packages_give_the_same_bytes(built, tmp_path):
    path, tiny = built
    shutil.copytree(path.parent / "packages", tmp_path / "again" / "packages")
    told = []

    again, other = await building.provide(tmp_path / "again", lambda done, note: told.append((done, note)))

    assert again.name == path.name
    assert again.read_bytes() == path.read_bytes()
    assert (other.kernel, other.builder) == (tiny.kernel, tiny.builder)
    assert told == sorted(told, key=lambda step: step[0])
    assert {file.name for file in again.parent.iterdir()} == {"lock", "packages", "tiny.json", path.name}


async def test_what_is_built_is_taken_again(built, tmp_path, apt):
    apt('Dir::State::lists "/nonexistent";\n')
    folder = copied(built, tmp_path / "cache")
    told = []

    path, tiny = await building.provide(folder, lambda done, note: told.append(note))

    assert (path, tiny) == (folder / built[0].name, built[1])
    assert told == []


async def test_newer_lists_with_the_same_packages_need_no_build(built, tmp_path, apt):
    apt(NOWHERE)
    folder = copied(built, tmp_path / "cache", lists="of yesterday")

    _, tiny = await building.provide(folder, ignore)

    assert tiny == built[1]
    assert json.loads((folder / "tiny.json").read_text())["lists"] == built[1].lists


async def test_without_lists_the_disk_that_is_there_will_do(built, tmp_path, apt):
    apt('Dir::State::lists "/nonexistent"; Dir::State::status "/dev/null";\n')
    folder = copied(built, tmp_path / "cache", lists="of yesterday")

    path, _ = await building.provide(folder, ignore)

    assert path == folder / built[0].name


async def test_without_lists_there_is_a_remedy_and_nothing_left(tmp_path, apt):
    apt('Dir::State::lists "/nonexistent"; Dir::State::status "/dev/null";\n')

    with pytest.raises(Unavailable, match=r"^apt does not know the packages; run `apt-get update` as root"):
        await building.provide(tmp_path / "cache", ignore)

    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


async def test_disk_of_another_builder_is_not_taken(built, tmp_path, apt):
    apt('Dir::State::lists "/nonexistent"; Dir::State::status "/dev/null";\n')
    folder = copied(built, tmp_path / "cache", builder="of yesterday")

    with pytest.raises(Unavailable):
        await building.provide(folder, ignore)


async def test_download_that_is_refused_is_told_as_apt_tells_it(tmp_path, apt):
    apt(NOWHERE)

    with pytest.raises(Unavailable, match=r"^apt-get failed: .*127\.0\.0\.1"):
        await building.provide(tmp_path / "cache", ignore)

    assert not (tmp_path / "cache" / "work").exists()
    assert not (tmp_path / "cache" / "tiny.json").exists()


async def test_without_apt_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match=r"^it is built from Debian's packages, and apt-get is not there$"):
        await packages.find()


def test_command_says_why_it_cannot(tmp_path):
    (tmp_path / "apt.conf").write_text('Dir::State::lists "/nonexistent"; Dir::State::status "/dev/null";\n')
    command = [sys.executable, "-m", "app.demo.tiny", tmp_path / "disk"]
    given = environment(APT_CONFIG=str(tmp_path / "apt.conf"))

    ended = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith(
        "Tiny Linux cannot be built: apt does not know the packages; run `apt-get update` as root"
    )
    assert not (tmp_path / "disk").exists()


def test_driver_comes_behind_those_it_depends_on(tmp_path):
    for name, depends in (("virtio_blk", "virtio,virtio-ring"), ("virtio-ring", ""), ("virtio", "virtio-ring")):
        (tmp_path / f"{name}.ko").write_bytes(b"\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")
    others = [name for name in initramfs.DRIVERS if name != "virtio_blk"]
    (tmp_path / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in others))

    assert [name for name, _ in initramfs.drivers(tmp_path)] == ["virtio_ring", "virtio", "virtio_blk"]
    (tmp_path / "virtio.ko").unlink()
    with pytest.raises(Unavailable, match=r"no driver virtio$"):
        initramfs.drivers(tmp_path)
