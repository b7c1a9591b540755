"""Files of images: an own image of one disk is fetched as it is kept, in ranges if one likes, and nobody else can."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from app import db
from app.contents.models import Content
from app.enums import DiskFormat, ErrorCode, ImageKind, ImageStatus, ShareStatus, TokenScope
from app.images.models import Image, ImageDisk
from app.transfer.client import connected
from app.transfer.uploading import make_image as image_of_upload
from app.transfer.uploading import upload
from tests.client import Client
from tests.disks.acting import create, image_of
from tests.factories import EVERYTHING, make_image, make_member

MIB = 1 << 20
SEED = random.randrange(1 << 32)
SHOWN = """query($id: ID!) { image(id: $id) { __typename uuid name kind diskFormat checksum { algorithm value }
  disks { checksum { algorithm value } } ... on PrivateImage { downloadUrl } } }"""
DELETE = "mutation($id: ID!) { deleteImages(input: {imageIds: [$id]}) { userErrors { code } } }"


async def small(client: Client) -> dict[str, Any]:
    """A data disk image with few bytes, made without a machine; with all that is shown of it."""
    (disk,) = await create(client, sizeGib=10)
    image = await image_of(client, {"disk": {"diskId": disk["id"]}})
    return await shown(client, image["id"])


async def shown(client: Client, image_id: object) -> dict[str, Any]:
    found: dict[str, Any] = await client.one(SHOWN, id=str(image_id))
    return found | {"id": str(image_id)}


async def of_bytes(client: Client, path: Path) -> dict[str, Any]:
    """An image of a raw disk."""
    async with connected(client.url, client.token or "") as sender:
        sent = await upload(sender, path)
        source = {"upload": {"uploadId": sent["id"], "kind": "DATA_DISK", "format": "RAW"}}
        return await shown(client, await image_of_upload(sender, path.stem, source))


async def qemu_img(*arguments: object) -> str:
    process = await asyncio.create_subprocess_exec("qemu-img", *map(str, arguments), stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_the_file_of_an_own_image_is_a_disk_file_with_its_bytes(project, tmp_path):
    alice = await project("alice")
    path = tmp_path / "my disk.raw"
    path.write_bytes(random.Random(SEED).randbytes(3 * MIB) + bytes(MIB))
    image = await of_bytes(alice, path)
    copy = await image_of(alice, {"image": {"imageId": image["id"]}})

    for each in (image, await shown(alice, copy["id"])):
        head = await alice.http.head(each["downloadUrl"])
        response = await alice.http.get(each["downloadUrl"])
        file = tmp_path / f"{each['uuid']}.qcow2"
        file.write_bytes(response.content)

        assert each["downloadUrl"].endswith(f"/images/{each['uuid']}/file")
        assert each["diskFormat"] == "QCOW2"
        assert "identical" in await qemu_img("compare", "-f", "qcow2", file, "-F", "raw", path)
        assert (head.status_code, response.status_code, head.content) == (200, 200, b"")
        assert head.headers["content-length"] == str(len(response.content))
        assert head.headers["etag"] == response.headers["etag"]
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["cache-control"] == "no-store"
    assert head.headers["content-disposition"] == 'attachment; filename="data.qcow2"'
    first = await alice.http.head(image["downloadUrl"])
    assert first.headers["content-disposition"] == "attachment; filename*=utf-8''my%20disk.qcow2"


async def test_an_image_of_a_machine_is_fetched_without_any_other_images_bytes(project, tmp_path):
    alice = await project("alice")
    machine = await alice.launch(userData="w0 100 bytes\n")
    await alice.console(machine["id"], until="READY")
    image = await shown(alice, (await alice.make_image(machine["id"]))["id"])
    await alice.delete(machine["id"])

    file = tmp_path / "image.qcow2"
    file.write_bytes((await alice.http.get(image["downloadUrl"])).content)

    assert "backing file" not in await qemu_img("info", file)
    await qemu_img("convert", "-f", "qcow2", "-O", "raw", file, tmp_path / "image.raw")
    assert (tmp_path / "image.raw").read_bytes()[0x100 * 512 :].startswith(b"bytes")


async def test_ranges_are_parts_of_the_file(project):
    print(f"seed {SEED}")
    alice, chance = await project("alice"), random.Random(SEED)
    url = (await small(alice))["downloadUrl"]
    whole = (await alice.http.get(url)).content
    size = len(whole)
    places = [0, 1, size - 1, size, size + 1, 1 << 20, 10**30]
    spots = [*places, *(chance.randrange(size) for _ in range(10))]

    for _ in range(60):
        first, last = chance.choice(spots), chance.choice(spots)
        text, expected = chance.choice(
            [
                (f"{first}-{last}", whole[first : last + 1] if first <= last else None),
                (f"{first}-", whole[first:]),
                (f"-{last}", whole[-last:] if last else b""),
            ]
        )
        response = await alice.http.get(url, headers={"Range": f"bytes={text}"})

        if expected is None:
            assert response.status_code in (400, 416), text
        elif expected:
            begin = size - min(last, size) if text.startswith("-") else first
            said = f"bytes {begin}-{begin + len(expected) - 1}/{size}"
            assert (response.status_code, response.headers["content-range"]) == (206, said), text
            assert response.content == expected, text
        else:
            assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{size}"), text


async def test_several_ranges_come_in_one_answer(project):
    alice = await project("alice")
    url = (await small(alice))["downloadUrl"]
    whole = (await alice.http.get(url)).content

    response = await alice.http.get(url, headers={"Range": "bytes=0-3,100-109,-5"})

    boundary = re.fullmatch("multipart/byteranges; boundary=(.*)", response.headers["content-type"])
    assert response.status_code == 206
    assert boundary
    parts = response.content.split(f"--{boundary[1]}".encode())
    assert [part.partition(b"\r\n\r\n")[2][:-2] for part in parts[1:-1]] == [whole[:4], whole[100:110], whole[-5:]]


async def test_a_file_is_known_by_its_tag_before_its_checksum_is_and_after(project):
    alice = await project("alice")
    image = await small(alice)
    before = await alice.http.get(image["downloadUrl"], headers={"Range": "bytes=0-9"})
    etag = before.headers["etag"]
    await Image.filter(id=image["uuid"]).update(sha256="0" * 64)

    async def status(name: str, value: str, **more: str) -> int:
        return (await alice.http.get(image["downloadUrl"], headers={name: value} | more)).status_code

    assert not etag.startswith("W/")
    assert await status("If-None-Match", etag) == 304
    assert await status("If-None-Match", f'"other", W/{etag}') == 304
    assert await status("If-None-Match", "*") == 304
    assert await status("If-None-Match", '"other"') == 200
    assert await status("If-Range", etag, Range="bytes=4-9") == 206
    assert await status("If-Range", '"other"', Range="bytes=4-9") == 200


async def test_checksums_are_shown_once_they_are_known(project):
    alice, bob = await project("alice"), await project("bob")
    unknown = await make_image(alice.project_id)
    known = await make_image(alice.project_id, disk_format=DiskFormat.QCOW2, sha256="1" * 64)
    await make_member(known, bob.project_id)
    disk = await ImageDisk.get(image_id=known.id)
    await Content.filter(id=disk.content_id).update(sha256="2" * 64)

    mine, nothing, lent = await shown(alice, known.id), await shown(alice, unknown.id), await shown(bob, known.id)

    for each in (mine, lent):
        assert (each["diskFormat"], each["checksum"]) == ("QCOW2", {"algorithm": "SHA256", "value": "1" * 64})
        assert each["disks"] == [{"checksum": {"algorithm": "SHA256", "value": "2" * 64}}]
    iso = await make_image(alice.project_id, kind=ImageKind.ISO, disk_format=DiskFormat.QCOW2)
    assert (await shown(alice, iso.id))["downloadUrl"] == f"{alice.url}/images/{iso.id}/file"
    assert (nothing["diskFormat"], nothing["checksum"], nothing["disks"]) == (None, None, [{"checksum": None}])


async def test_who_may_not_download_is_told_what_he_may_know(project, service):
    alice, bob = await project("alice"), await project("bob")
    operator = await project("operator", scopes=[*EVERYTHING, TokenScope.OPERATOR])
    reader = await project(project_id=alice.project_id, scopes=[TokenScope.READ])
    writer = await project(project_id=alice.project_id, scopes=[TokenScope.IMAGES])
    image = await small(alice)
    shared, pending = await make_image(bob.project_id), await make_image(bob.project_id)
    await make_member(shared, alice.project_id)
    await make_member(pending, alice.project_id, ShareStatus.PENDING)
    hello = UUID(b64decode(await alice.hello()).decode().partition(":")[2])
    whole = await make_image(alice.project_id, kind=ImageKind.FULL_ECS)
    queued = await make_image(alice.project_id, status=ImageStatus.QUEUED)
    fault = {"fault_code": ErrorCode.DAMAGED, "fault_message": "bytes", "fault_at": db.now()}
    damaged = await make_image(alice.project_id, **fault)
    nobody = Client(service.url, None)

    async def answer(client: Client, image_id: object, method: str = "GET") -> tuple[int, bytes]:
        response = await client.http.request(method, f"/images/{image_id}/file")
        return response.status_code, response.content

    strangers = {await answer(bob, each) for each in (image["uuid"], uuid4(), "x", image["id"])}
    others = {each: await answer(alice, each.id) for each in (shared, pending, whole, queued, damaged)}

    assert strangers == {(404, b"There is no such image.\n")}
    assert others[shared] == others[pending] == (403, b"Only its owner may download an image.\n")
    assert others[whole] == (
        403,
        b"A full-ECS image is made of layers that it shares with others; it cannot be downloaded.\n",
    )
    assert others[queued] == (409, b"The image is QUEUED, not ACTIVE.\n")
    assert others[damaged][0] == 500
    for client in (alice, operator):
        assert await answer(client, hello) == (403, b"A public image cannot be downloaded.\n")
    assert [(await answer(client, image["uuid"]))[0] for client in (alice, reader, operator)] == [200, 200, 200]
    assert [(await answer(client, image["uuid"]))[0] for client in (writer, nobody)] == [403, 401]
    assert [(await answer(alice, image["uuid"], method))[0] for method in ("POST", "PUT", "DELETE")] == [405] * 3
    assert [(await shown(alice, each.id))["downloadUrl"] for each in (whole, queued, damaged)] == [None] * 3
    assert (await shown(operator, image["uuid"]))["downloadUrl"] == image["downloadUrl"]
    await nobody.close()


async def test_an_image_whose_bytes_are_not_there_is_not_found(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)

    response = await alice.http.get(f"/images/{image.id}/file")

    assert (response.status_code, response.content) == (404, b"There is no such image.\n")


async def test_who_is_fetching_an_image_gets_it_whole_though_it_is_deleted_meanwhile(project, tmp_path):
    alice = await project("alice")
    path = tmp_path / "disk.raw"
    path.write_bytes(random.Random(SEED).randbytes(16 * MIB))
    image = await of_bytes(alice, path)
    whole = hashlib.sha256((await alice.http.get(image["downloadUrl"])).content).digest()
    parts = urlsplit(image["downloadUrl"])
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 16)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])

    deleted = await alice.one(DELETE, id=image["id"])
    (job,) = (await alice.one("{ jobs(filter: {type: [DELETE_IMAGE]}) { nodes { id } } }"))["nodes"]
    await alice.done(job["id"])
    gone = await alice.http.get(image["downloadUrl"])
    body = await reader.readexactly(length)
    writer.close()

    assert deleted["userErrors"] == []
    assert gone.status_code == 404
    assert hashlib.sha256(body).digest() == whole
