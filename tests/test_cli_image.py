"""`python -m app image`: a client of a service that runs elsewhere."""

from __future__ import annotations

import asyncio
import hashlib

from tests.command import run, started
from tests.factories import make_image

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
