"""Our client fetches files over networks that break, goes on where it was, and keeps nothing that is not what it asked for."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from app.images.models import Image
from app.transfer.client import TransferFailed, connected
from app.transfer.downloading import download, find_image
from tests.client import Client
from tests.images.test_downloads import MIB, SEED, of_bytes, small
from tests.uploads.conftest import cutting


@pytest.fixture
async def alice(project) -> Client:
    return await project("alice")


@pytest.fixture
async def large(alice, tmp_path) -> dict[str, Any]:
    """An image of 3 MiB that can be told from each other, and its bytes."""
    path = tmp_path / "large.raw"
    path.write_bytes(random.Random(SEED).randbytes(3 * MIB))
    image = await of_bytes(alice, path)
    return image | {"bytes": (await alice.http.get(image["downloadUrl"])).content}


def through(image: dict[str, Any], network: str) -> str:
    """Where an image is fetched, by another way to the service."""
    return f"{network}/images/{image['uuid']}/file"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_a_file_arrives_whole_over_a_network_that_breaks(alice, large, service, tmp_path):
    chance, told = random.Random(SEED), []
    print(f"seed {SEED}")
    places = [chance.randrange(200, MIB) for _ in range(4)]

    async with (
        cutting(service.url, places, answers=True) as network,
        connected(network, alice.token, pauses_s=[0.02] * 50) as client,
    ):
        sha256 = await download(
            client,
            through(large, network),
            tmp_path / "file",
            sha256=digest(large["bytes"]),
            on_progress=lambda done, total: told.append((done, total)),
        )

    assert sha256 == digest(large["bytes"])
    assert (tmp_path / "file").read_bytes() == large["bytes"]
    assert told == sorted(told)
    assert told[-1] == (len(large["bytes"]), len(large["bytes"]))
    assert not list(tmp_path.glob("*.part"))


async def test_a_run_goes_on_where_the_one_before_gave_up_and_fetches_nothing_twice(alice, large, service, tmp_path):
    told: list[int] = []
    async with cutting(service.url, [2 * MIB], answers=True) as network:
        async with connected(network, alice.token, pauses_s=[]) as client:
            with pytest.raises(TransferFailed, match="the same command goes on where it is"):
                await download(client, through(large, network), tmp_path / "file")
        async with connected(network, alice.token, pauses_s=[]) as client:
            (part,) = tmp_path.glob("file.*.part")
            there = part.stat().st_size
            await download(
                client, through(large, network), tmp_path / "file", on_progress=lambda done, total: told.append(done)
            )

    assert 0 < there < len(large["bytes"])
    assert told[0] == there
    assert (tmp_path / "file").read_bytes() == large["bytes"]


async def test_what_was_fetched_of_other_bytes_is_not_continued(alice, large, service, tmp_path):
    other = await small(alice)
    async with connected(service.url, alice.token) as client:
        (tmp_path / "file.0123456789ab.part").write_bytes(b"of something else")
        await download(client, large["downloadUrl"], tmp_path / "file")
        await download(client, other["downloadUrl"], tmp_path / "other")

    assert (tmp_path / "file").read_bytes() == large["bytes"]
    assert (tmp_path / "other").read_bytes() == (await alice.http.get(other["downloadUrl"])).content
    assert (tmp_path / "file.0123456789ab.part").read_bytes() == b"of something else"


@pytest.mark.parametrize("there", ["all", "more", "wrong"])
async def test_whatever_lies_there_of_an_earlier_run_nothing_wrong_is_kept(alice, large, service, tmp_path, there):
    data = large["bytes"]
    async with connected(service.url, alice.token) as client:
        with pytest.raises(TransferFailed, match="removed"):
            await download(client, large["downloadUrl"], tmp_path / "x", sha256="0" * 64)
        assert [path.name for path in tmp_path.iterdir()] == ["large.raw"]
        part = await part_of(client, large, tmp_path / "file")
        part.write_bytes({"all": data, "more": data + b"x", "wrong": b"x" * 1000}[there])

        if there == "wrong":
            with pytest.raises(TransferFailed, match="removed"):
                await download(client, large["downloadUrl"], tmp_path / "file", sha256=digest(data))
        await download(client, large["downloadUrl"], tmp_path / "file", sha256=digest(data))

    assert (tmp_path / "file").read_bytes() == data
    assert not list(tmp_path.glob("*.part"))


async def part_of(client, image, path: Path) -> Path:
    """What a run calls the file that it fetches into: it is looked at in the middle."""
    seen: list[Path] = []
    await download(
        client,
        image["downloadUrl"],
        path,
        on_progress=lambda done, total: seen.extend(path.parent.glob(f"{path.name}.*.part")),
    )
    await asyncio.to_thread(path.unlink)
    return seen[0]


async def test_of_two_runs_at_a_time_one_is_refused(alice, large, service, tmp_path):
    refused: list[str] = []

    async with connected(service.url, alice.token) as client:
        part = await part_of(client, large, tmp_path / "file")
        with part.open("a+b") as first:
            fcntl.flock(first, fcntl.LOCK_EX)
            with pytest.raises(TransferFailed) as failed:
                await download(client, large["downloadUrl"], tmp_path / "file")
            refused.append(str(failed.value))
        await download(client, large["downloadUrl"], tmp_path / "file")

    assert refused == [f"Another run is fetching {tmp_path / 'file'}."]
    assert (tmp_path / "file").read_bytes() == large["bytes"]


async def test_a_service_that_refuses_and_one_that_is_not_there_are_told_apart(alice, large, service, tmp_path):
    async with connected(service.url, "img_x", pauses_s=[]) as client:
        with pytest.raises(TransferFailed, match=r"The service refused \(401\)"):
            await download(client, large["downloadUrl"], tmp_path / "file")
    async with connected("http://127.0.0.1:1", alice.token, pauses_s=[]) as client:
        with pytest.raises(TransferFailed, match="does not get on"):
            await download(client, "http://127.0.0.1:1/x", tmp_path / "file")

    assert [path.name for path in tmp_path.iterdir()] == ["large.raw"]


async def test_an_image_is_found_by_its_name_or_id_and_own_ones_come_first(alice, service):
    own, twin = await small(alice), await small(alice)
    await Image.filter(id=own["uuid"]).update(name="hello")

    async with connected(service.url, alice.token) as client:
        by_name, by_id = await find_image(client, "hello"), await find_image(client, own["uuid"])
        await Image.filter(id=twin["uuid"]).update(name="hello")
        with pytest.raises(TransferFailed, match=r"There are 2 images named hello; give one's id: \w+=*, \w+=*\."):
            await find_image(client, "hello")
        with pytest.raises(TransferFailed, match="There is no image with the name or id nothing; `image list` shows"):
            await find_image(client, "nothing")

    assert by_name["id"] == by_id["id"] == own["id"]
