"""`python -m app image`: a client of a service that runs elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import signal

import pytest

from app.enums import ImageKind
from app.images.models import Image
from tests.command import run, started
from tests.factories import make_image
from tests.fetching.mirror import Mirror, serving
from tests.images.test_downloads import small
from tests.sources.corpus import good
from tests.uploads.conftest import cutting

MIB = 1 << 20


def reached(service, client):
    return {"IMAGE_SERVICE_URL": service.url, "IMAGE_SERVICE_TOKEN": client.token}


async def test_upload_sends_a_file_and_prints_its_id(service, project, tmp_path):
    alice = await project("alice")
    path = tmp_path / "disk.raw"
    path.write_bytes(b"hello" * MIB)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()

    ended = await run("image", "upload", path, **reached(service, alice))

    assert ended.status == 0, ended
    assert checksum in ended.errors
    upload = await alice.one(
        "query($id: ID!) { node(id: $id) { ... on Upload { status fileName checksum { value } } } }",
        id=ended.output.strip(),
    )
    assert upload == {"status": "COMPLETE", "fileName": "disk.raw", "checksum": {"value": checksum}}


async def test_upload_goes_on_where_a_killed_run_was(service, project, tmp_path):
    alice = await project("alice")
    path = tmp_path / "disk.raw"
    path.write_bytes(b"0123456789abcdef" * (4 * MIB // 16))
    stalled, port = asyncio.Event(), service.url.rpartition(":")[2]

    async def stall(reader, writer):
        """Pass on a part, then nothing for ever."""
        there, back = await asyncio.open_connection("127.0.0.1", int(port))
        answers = asyncio.create_task(pump(there, writer))
        sent = 0
        while sent < MIB and (data := await reader.read(1 << 16)):
            back.write(data)
            sent += len(data)
        stalled.set()
        while await reader.read(1 << 16):
            pass
        back.close()
        await answers
        writer.close()

    async def pump(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)

    async with await asyncio.start_server(stall, "127.0.0.1", 0) as network:
        url = f"http://127.0.0.1:{network.sockets[0].getsockname()[1]}"
        async with started("image", "upload", path, "--url", url, IMAGE_SERVICE_TOKEN=alice.token) as first:
            async with asyncio.timeout(30):
                await stalled.wait()
            first.process.kill()
            await first.process.communicate()
    ended = await run("image", "upload", path, **reached(service, alice))

    (upload,) = (await alice.one("{ uploads { nodes { id status offsetBytes } } }"))["nodes"]
    assert ended.status == 0, ended
    assert upload == {"id": ended.output.strip(), "status": "COMPLETE", "offsetBytes": 4 * MIB}


async def test_upload_makes_an_image_when_it_is_given_a_name(service, project, tmp_path):
    alice = await project("alice")
    path = tmp_path / "disk.raw"
    path.write_bytes(b"hello" * MIB)
    bad = tmp_path / "bad.raw"
    bad.write_bytes(b"QFI\xfb" + bytes(MIB))
    given = ("--kind", "DATA_DISK", "--format", "RAW")

    ended = await run("image", "upload", path, "--name", "my-data", *given, **reached(service, alice))
    taken = await run("image", "upload", path, "--name", "no/name", **reached(service, alice))
    refused = await run("image", "upload", bad, "--name", "bad", "--format", "QCOW2", **reached(service, alice))

    assert ended.status == 0, ended
    shown = "query($id: ID!) { image(id: $id) { name kind status ... on PrivateImage { source { format } } } }"
    image = await alice.one(shown, id=ended.output.strip())
    assert image == {"name": "my-data", "kind": "DATA_DISK", "status": "ACTIVE", "source": {"format": "RAW"}}
    assert (taken.status, taken.output) == (1, "")
    assert "A name has 1 to 128 letters" in taken.errors
    assert (refused.status, refused.output) == (1, "")
    assert "The job has failed: " in refused.errors


async def test_upload_says_in_a_sentence_what_is_wrong(service, project, tmp_path):
    alice = await project("alice")
    empty = tmp_path / "empty"
    empty.touch()

    missing = await run("image", "upload", tmp_path / "nothing", **reached(service, alice))
    nothing = await run("image", "upload", empty, **reached(service, alice))
    nobody = await run("image", "upload", __file__, IMAGE_SERVICE_URL=service.url, IMAGE_SERVICE_TOKEN="img_x")

    assert missing.refusal() == f"Cannot read {tmp_path / 'nothing'}: No such file or directory."
    assert nothing.refusal() == f"{empty} is empty."
    assert nobody.refusal() == "The service refused: This token is unknown, expired or revoked."
    assert await alice.one("{ uploads { totalCount } }") == {"totalCount": 0}


async def test_download_fetches_an_image_by_name_and_compares_its_checksum(service, project, tmp_path):
    alice = await project("alice")
    image = await small(alice)
    content = (await alice.http.get(image["downloadUrl"])).content
    checksum = hashlib.sha256(content).hexdigest()
    folder, file = tmp_path / "folder", tmp_path / "given"
    folder.mkdir()

    unknown = await run("image", "download", image["name"], folder, **reached(service, alice))
    await Image.filter(id=image["uuid"]).update(sha256=checksum)
    known = await run("image", "download", image["uuid"], "--output", file, **reached(service, alice))

    assert (unknown.status, unknown.output) == (0, f"{folder / 'data.qcow2'}\n")
    assert unknown.errors == f"data.qcow2 is here, SHA-256 {checksum}, which the service has not worked out yet.\n"
    assert (known.status, known.output) == (0, f"{file}\n")
    assert known.errors == f"given is here, SHA-256 {checksum}, as it is in the service.\n"
    assert (folder / "data.qcow2").read_bytes() == file.read_bytes() == content


async def test_download_has_the_service_convert_an_image(service, project, tmp_path):
    alice = await project("alice")
    image = await small(alice)

    ended = await run("image", "download", image["id"], tmp_path, "--format", "vmdk", **reached(service, alice))

    export = await alice.one("{ jobs(filter: {type: [EXPORT_IMAGE]}) { nodes { export { checksum { value } } } } }")
    checksum = export["nodes"][0]["export"]["checksum"]["value"]
    assert (ended.status, ended.output) == (0, f"{tmp_path / 'data.vmdk'}\n")
    assert hashlib.sha256((tmp_path / "data.vmdk").read_bytes()).hexdigest() == checksum
    assert checksum in ended.errors


async def test_download_says_in_a_sentence_what_is_wrong(service, project, tmp_path):
    alice, bob = await project("alice"), await project("bob")
    own, foreign = await small(alice), await small(bob)
    whole = await make_image(alice.project_id, "whole", kind=ImageKind.FULL_ECS)
    there = tmp_path / "there"
    there.write_bytes(b"mine")
    settings = reached(service, alice)

    unknown = await run("image", "download", foreign["uuid"], tmp_path, **settings)
    full = await run("image", "download", whole.name, tmp_path, **settings)
    hello = await run("image", "download", "hello", tmp_path, **settings)
    taken = await run("image", "download", own["uuid"], there, **settings)
    nowhere = await run("image", "download", own["uuid"], tmp_path / "no" / "file", **settings)
    twice = await run("image", "download", own["uuid"], there, "-o", there, **settings)
    before = there.read_bytes()
    forced = await run("image", "download", own["uuid"], there, "--force", **settings)

    sentence = "There is no image with the name or id {}; `image list` shows those that there are."
    assert unknown.refusal() == sentence.format(foreign["uuid"])
    only = "Only ACTIVE system disk, data disk and ISO images of one's own can be downloaded; "
    assert full.refusal() == f"{only}whole is PRIVATE, FULL_ECS, ACTIVE."
    assert hello.refusal() == f"{only}hello is PUBLIC, SYSTEM_DISK, ACTIVE."
    assert taken.refusal() == f"{there} is there already; give another FILE, or --force."
    assert nowhere.refusal().startswith(f"Cannot write {tmp_path / 'no' / 'file'}: No such file or directory")
    assert (twice.status, before) == (2, b"mine")
    assert (forced.status, list(tmp_path.iterdir())) == (0, [there])
    assert there.read_bytes() == (await alice.http.get(own["downloadUrl"])).content


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
async def test_download_goes_on_where_a_run_was_that_ended(service, project, tmp_path, ending):
    alice = await project("alice")
    image = await small(alice)
    content = (await alice.http.get(image["downloadUrl"])).content
    command = ("image", "download", image["id"], tmp_path / "file")
    stalled = asyncio.Event()
    async with cutting(service.url, [len(content) // 2], answers=True, stalled=stalled) as url:
        async with started(*command, "--url", url, IMAGE_SERVICE_TOKEN=alice.token) as first:
            async with asyncio.timeout(30):
                await stalled.wait()
                while not part_bytes(tmp_path):  # noqa: ASYNC110 - there is no event of another process's writing
                    await asyncio.sleep(0.01)
            ended_first = await first.stop(ending)
        there = part_bytes(tmp_path)
    ended = await run(*command, **reached(service, alice))

    assert ended_first.status == {signal.SIGKILL: -9, signal.SIGINT: 130}[ending]
    assert "Traceback" not in ended_first.errors
    assert 0 < there < len(content)
    assert (ended.status, ended.output) == (0, f"{tmp_path / 'file'}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == content


def part_bytes(folder):
    """What there is of the file that is fetched into a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.part"))


async def test_list_shows_what_the_project_can_use(service, project):
    alice = await project("alice")
    image = await make_image(alice.project_id, "mine", stored_bytes=3 * MIB - 1)

    ended = await run("image", "list", **reached(service, alice))

    lines = [line.split() for line in ended.output.splitlines()]
    shown = next(line for line in lines if line[1] == "mine")
    assert lines[0] == ["ID", "NAME", "KIND", "STATUS", "VISIBILITY", "OWNER", "MIB"]
    assert shown[2:] == ["SYSTEM_DISK", "ACTIVE", "PRIVATE", alice.name, "3"]
    assert await alice.one("query($id: ID!) { image(id: $id) { uuid } }", id=shown[0]) == {"uuid": str(image.id)}
    assert "hello" in ended.output


async def test_import_has_the_service_fetch_a_file_and_prints_the_image_s_id(service, project, tmp_path):
    alice = await project("alice")
    content = good("QCOW2", tmp_path).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()

    async with serving(Mirror(content)) as mirror:
        address = mirror.url("/pub/hello%20world-1.0.qcow2?x=y")
        ended = await run("image", "import", address, "--sha256", checksum, **reached(service, alice))
        wrong = await run("image", "import", address, "--name", "no", "--sha256", "a" * 64, **reached(service, alice))
        refused = await run("image", "import", "http://10.0.0.1/f", **reached(service, alice))

    assert ended.status == 0, ended
    image = await alice.one("query($id: ID!) { image(id: $id) { name status } }", id=ended.output.strip())
    assert image == {"name": "hello world-1.0.qcow2", "status": "ACTIVE"}
    assert wrong.refusal().startswith(f"The job has failed: The file's SHA-256 is {checksum}")
    assert refused.refusal() == "The service refused: The address's host is not known, or is not a public one."
