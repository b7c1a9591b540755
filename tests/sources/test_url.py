"""Images of files that the service fetches: converted and removed, or refused without a trace."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.contents.models import Content
from app.demo.access import FILE
from app.demo.hello import disk_image
from app.enums import JobType
from app.fetching import folder
from app.images.models import ImageDisk
from app.jobs.models import Job
from app.jobs.queue import Cancelled
from app.sources.importing import ImportImage
from tests.client import Client
from tests.command import Running, started
from tests.disks.acting import create, image_of, image_refusal
from tests.ecs.looking import unchanged, used
from tests.fetching.mirror import Mirror, redirect, saying, serving, silent_after
from tests.sources.corpus import HOSTILE, good

SHOWN = """query($id: ID!) { image(id: $id) { kind status minDiskGib fault { code message } disks { sizeGib }
  ... on PrivateImage { source { kind fileName format } } } }"""
PROGRESS = "subscription($id: ID!) { jobUpdated(id: $id) { status phase progress bytesDone bytesTotal } }"
CANCEL = "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { job { id } userErrors { code } } }"
MIB = 1 << 20
AT = ["input", "source", "url"]


@pytest.fixture
async def alice(project) -> Client:
    return await project("alice")


@pytest.fixture
async def mirror(tmp_path) -> AsyncIterator[Mirror]:
    content = await asyncio.to_thread(lambda: good("QCOW2", tmp_path).read_bytes())
    async with serving(Mirror(content)) as mirror:
        yield mirror


def of(
    mirror: Mirror, path: str = "/images/hello%20disk.qcow2?signature=hidden#top", **more: object
) -> dict[str, object]:
    return {"url": {"url": mirror.url(path)} | more}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def gone(data_dir: Path, image: dict[str, Any]) -> None:
    """The file goes right after the job has ended."""
    async with asyncio.timeout(10):
        while list(folder.folder_of(data_dir).glob(f"{image['uuid']}*")):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


async def nothing_is_left(service, image: dict[str, Any]) -> Job:
    """No bytes, and no address."""
    job = await Job.get(image_id=UUID(image["uuid"]), type=JobType.IMPORT_IMAGE)
    await gone(service.settings.data_dir, image)
    assert "hidden" not in str(job.input)
    return job


async def test_fetched_disk_boots_and_neither_its_file_nor_its_address_is_kept(alice, service, mirror):
    image = await image_of(alice, of(mirror, format="QCOW2", sha256=sha256(mirror.content).upper()))
    shown = await alice.one(SHOWN, id=image["id"])
    machine = await alice.launch(image["id"])

    assert "HELLO" in await alice.console(machine["id"], until="HELLO")
    assert (shown["kind"], shown["status"], shown["minDiskGib"]) == ("SYSTEM_DISK", "ACTIVE", 1)
    assert shown["source"] == {"kind": "URL", "fileName": "hello disk.qcow2", "format": "QCOW2"}
    assert shown["disks"] == [{"sizeGib": 1}]
    assert [asked.path for asked in mirror.asked] == ["/images/hello%20disk.qcow2?signature=hidden"]
    await nothing_is_left(service, image)
    held = await used(alice)
    assert (held["IMAGES"], "IMAGE_JOBS" in held) == (1, False)


async def test_data_disk_is_fetched_through_drops_and_redirects(alice, service, mirror):
    mirror.content += bytes(1 << 20)  # a clean end that qemu-img does not mind
    middle = len(mirror.content) // 2
    mirror.answers = [redirect("/a"), mirror.cut(middle), redirect("/b"), mirror.good]

    image = await image_of(alice, of(mirror, kind="DATA_DISK"))
    (disk,) = await create(alice, imageId=image["id"])

    assert image["warnings"] == []
    assert disk["image"]["imageId"] == image["id"]
    assert [asked.path.partition("?")[0] for asked in mirror.asked[1:4:2]] == ["/a", "/b"]
    await nothing_is_left(service, image)


async def test_bytes_are_the_job_s_progress_and_it_can_be_cancelled_while_the_server_is_silent(alice, service, mirror):
    mirror.answers = [silent_after(mirror.content[:1000], of=4000)]
    image = await image_of(alice, of(mirror), wait=False)

    async with alice.subscribe(PROGRESS, id=image["jobId"]) as values:
        async for value in values:
            job = value["jobUpdated"]
            if job["bytesTotal"]:
                break
        payload = await alice.one(CANCEL, id=image["jobId"])
    ended = await alice.wait(image["jobId"])
    shown = await alice.one(SHOWN, id=image["id"])

    assert (job["phase"], job["bytesTotal"]) == ("fetching the file", 4000)
    assert job["progress"] <= 0.5
    assert payload["userErrors"] == []
    assert ended["status"] == "CANCELLED"
    assert (shown["status"], shown["disks"]) == ("KILLED", [])
    await mirror.asked[0].hang()  # we have hung up
    await nothing_is_left(service, image)
    assert await used(alice) == {"IMAGES": 1}


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (saying("404 Not Found", b"secret"), "FETCH_FAILED", "The server answers with status 404."),
        (
            saying("200 OK", b"<html>"),
            "FETCH_FAILED",
            "What the server has at this address is an HTML page and not a file",
        ),
        (saying("200 OK", b"x", Content_Encoding="gzip"), "FETCH_FAILED", "The server sends the file compressed"),
        (redirect("http://10.0.0.1/?signature=hidden"), "FETCH_FAILED", "The server redirects to where files are not"),
        (redirect("http://localhost.localdomain/hidden"), "FETCH_FAILED", "The address's host is not known, or is not"),
        (redirect("/again"), "FETCH_FAILED", "The server redirects more than 5 times."),
        (silent_after(b"", of=1 << 50), "LIMIT_EXCEEDED", "A file has at most"),
        (saying("200 OK", b"not what was meant"), "CHECKSUM_MISMATCH", "The file's SHA-256 is"),
    ],
)
async def test_file_that_cannot_be_fetched_leaves_nothing(alice, service, mirror, answer, code, message):
    mirror.answers = [answer]

    image = await image_of(alice, of(mirror, sha256=sha256(mirror.content)), wait=False)
    job = await alice.wait(image["jobId"])
    shown = await alice.one(SHOWN, id=image["id"])
    row = await nothing_is_left(service, image)

    assert (job["status"], job["fault"]["code"]) == ("FAIL", code)
    assert (shown["status"], shown["fault"]["code"], shown["disks"]) == ("KILLED", code, [])
    assert shown["fault"]["message"].startswith(message)
    assert "hidden" not in shown["fault"]["message"]
    assert not await Content.exists(id=row.input["content_id"])
    assert not await ImageDisk.exists(image_id=UUID(image["uuid"]))
    assert await used(alice) == {"IMAGES": 1}


@pytest.mark.parametrize("name", ["backing file", "qcow2 said to be raw"])
async def test_hostile_file_is_refused_as_if_it_had_been_uploaded(alice, service, mirror, tmp_path, name):
    declared, code, make = HOSTILE[name]
    make(tmp_path / "file")
    mirror.content = (tmp_path / "file").read_bytes()

    image = await image_of(alice, of(mirror, format=declared), wait=False)
    job = await alice.wait(image["jobId"])

    assert (job["status"], job["fault"]["code"]) == ("FAIL", code)
    row = await nothing_is_left(service, image)
    assert not await Content.exists(id=row.input["content_id"])


async def test_url_source_is_refused_for_each_rule_and_nobody_is_asked(alice, service, mirror):
    system = {"type": "LINUX"}

    async def refused(url: str = mirror.url(), **more: object):
        return await image_refusal(alice, {"url": {"url": url} | more})

    async with unchanged(alice):
        for url in ("", "x", "ftp://example.com/f", "http://", "http://a:b@example.com/f", "http://example.com:22/f"):
            assert await refused(url) == ("INVALID_INPUT", [*AT, "url"], None), url
        for url in ("http://10.0.0.1/f", "http://[::1]/f", "http://169.254.169.254/f", "http://2130706433/f"):
            assert await refused(url) == ("INVALID_INPUT", [*AT, "url"], None), url
        longest = mirror.url("/").ljust(2048, "x")
        assert await refused(longest + "x") == ("INVALID_INPUT", [*AT, "url"], None)
        assert await refused(longest, sha256="x" * 64) == ("INVALID_INPUT", [*AT, "sha256"], None)
        assert await refused(sha256="a" * 63) == ("INVALID_INPUT", [*AT, "sha256"], None)
        assert await refused(kind="FULL_ECS") == ("INVALID_INPUT", [*AT, "kind"], "IMG.0024")
        assert await refused(kind="DATA_DISK", os=system) == ("INVALID_INPUT", [*AT, "os"], "IMG.0024")
        assert await refused(os=system | {"bits": 16}) == ("INVALID_INPUT", [*AT, "os", "bits"], "IMG.0122")
    assert mirror.asked == []


async def test_service_that_is_killed_goes_on_with_the_file(scratch):
    mirror = Mirror(disk_image().ljust(80 * MIB, b"\0"))

    async def stalled(asked):
        await mirror.cut(70 * MIB)(asked)
        await asked.hang()

    mirror.answers = [stalled, mirror.good]
    serve = ("serve", "--demo", "--no-linux", "--port", "0", "--data", scratch / "fetching")
    settings = {"IMAGE_SERVICE_ACCELERATOR": "tcg", "IMAGE_SERVICE_FETCH_NETWORKS": '["127.0.0.0/8"]'}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(mirror))
        first = await stack.enter_async_context(started(*serve, **settings))
        alice = await stack.enter_async_context(client_of(first, scratch / "fetching"))
        image = await image_of(alice, of(mirror, sha256=sha256(mirror.content)), wait=False)
        async with alice.subscribe(PROGRESS, id=image["jobId"]) as values:
            async for value in values:
                if (value["jobUpdated"]["bytesDone"] or 0) > 66 * MIB:
                    break
        first.process.kill()
        await first.end()
        rubbish = folder.path_of(scratch / "fetching", uuid4())
        rubbish.write_bytes(b"x")

        second = await stack.enter_async_context(started(*serve, **settings))
        alice = await stack.enter_async_context(client_of(second, scratch / "fetching"))
        await alice.done(image["jobId"])

        await gone(scratch / "fetching", image)
        assert not rubbish.exists()
        assert (await alice.one(SHOWN, id=image["id"]))["status"] == "ACTIVE"
        await second.stop()
    begun, went_on = mirror.offsets
    assert begun == 0
    assert went_on >= 64 * MIB


@asynccontextmanager
async def client_of(running: Running, data: Path) -> AsyncIterator[Client]:
    """Alice's, of a service that has just been started."""
    await running.read_until("Serving", errors=True)
    given = json.loads((data / FILE).read_text())
    client = Client(given["url"].removesuffix("/graphql"), given["tokens"]["alice"])
    yield client
    await client.close()


async def test_few_convert_at_a_time_and_who_waits_can_be_cancelled():
    handler, asked = ImportImage(), asyncio.Event()

    class Waiting:
        async def progress(self, fraction: float, **_: object) -> None:
            asked.set()
            raise Cancelled("The job was cancelled.")

    async with handler._turn(Waiting()), handler._turn(Waiting()):  # type: ignore[arg-type]
        with pytest.raises(Cancelled):
            async with handler._turn(Waiting()):  # type: ignore[arg-type]
                raise AssertionError
    async with handler._turn(Waiting()):  # type: ignore[arg-type]
        assert asked.is_set()
