"""Exports: each format holds what the image holds, and is fetched by its own project alone, for a while."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import db
from app.enums import ErrorCode, ImageKind, ImageStatus, JobStatus, JobType, ShareStatus, TokenScope
from app.exports import folder, janitor
from app.exports.models import Export
from app.images.models import Image, ImageDisk
from app.jobs.models import Job
from tests.client import Client
from tests.disks.acting import again, create, image_of
from tests.ecs.looking import Told, told, unchanged
from tests.factories import make_image, make_member

FILE = "export { url format sizeBytes checksum { algorithm value } expiresAt }"
EXPORT = f"""mutation($input: ExportImageInput!) {{ exportImage(input: $input) {{
  job {{ id uuid type status cancellable image {{ id }} {FILE} }} userErrors {{ code otcCode field message }} }} }}"""
JOB = f"query($id: ID!) {{ job(id: $id) {{ status fault {{ code }} {FILE} }} }}"
DELETE = """mutation($id: ID!, $dry: Boolean!) { deleteImages(input: {imageIds: [$id], dryRun: $dry}) {
  userErrors { code field otcCode } } }"""
ACTIONS = "query($id: ID!) { image(id: $id) { viewerCan } }"
CANCEL = "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { userErrors { code } } }"
ENGINE = {"QCOW2": "qcow2", "RAW": "raw", "VMDK": "vmdk", "VHD": "vpc", "VHDX": "vhdx"}


async def begin(client: Client, image_id: object, **more: object) -> dict[str, Any]:
    payload = await client.one(EXPORT, input={"imageId": str(image_id)} | more)
    assert payload["userErrors"] == [], payload
    job: dict[str, Any] = payload["job"]
    return job


async def exported(client: Client, image_id: object, **more: object) -> dict[str, Any]:
    """What the job shows of the file."""
    job = await begin(client, image_id, **more)
    await client.done(job["id"])
    shown: dict[str, Any] = (await client.one(JOB, id=job["id"]))["export"]
    return shown


async def refusal(client: Client, image_id: object, **more: object) -> Told:
    payload = await client.one(EXPORT, input={"imageId": str(image_id)} | more)
    assert payload["job"] is None
    (error,) = payload["userErrors"]
    return told(error)


async def small_image(client: Client) -> dict[str, Any]:
    """An image with bytes, without a machine."""
    (disk,) = await create(client, sizeGib=10)
    return await image_of(client, {"disk": {"diskId": disk["id"]}})


async def running(image: Image, project_id: str) -> Job:
    """An export that some other worker has, and goes on with for an hour."""
    return await Job.create(
        id=uuid4(),
        project_id=UUID(project_id),
        type=JobType.EXPORT_IMAGE,
        status=JobStatus.RUNNING,
        image_id=image.id,
        input={},
        run_at=db.now(),
        lease_until=db.now() + timedelta(hours=1),
    )


def files(data_dir: Path, export_id: object = "") -> list[str]:
    """Whatever there is of an export, under any name."""
    return [path.name for path in folder.folder_of(data_dir).glob("*") if str(export_id) in path.name]


async def qemu_img(*arguments: object) -> str:
    process = await asyncio.create_subprocess_exec(
        "qemu-img", *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_every_format_holds_what_the_image_holds_and_is_named_by_its_checksum(project, service):
    alice = await project("alice")
    machine = await alice.launch(userData="w0 100 bytes\n")
    await alice.console(machine["id"], until="READY")
    image = await alice.make_image(machine["id"])
    await alice.delete(machine["id"])
    content = await ImageDisk.get(image_id=image["uuid"])
    shown = {format_: await exported(alice, image["id"], format=format_) for format_ in ENGINE}
    heads = {format_: (await alice.http.head(export["url"])).headers for format_, export in shown.items()}
    kept = {name_of(export): export for export in shown.values()}
    paths = {
        kept[path.stem]["format"]: path
        for path in folder.folder_of(service.settings.data_dir).glob("*.*")
        if path.stem in kept
    }

    store = service.settings.data_dir / "engine"
    layer = layer_of(store, str(content.content_id))
    same = [
        await qemu_img("compare", "-U", "-f", "qcow2", layer, "-F", driver, paths[format_])
        for format_, driver in ENGINE.items()
    ]
    hashes = {format_: await asyncio.to_thread(sha256, path) for format_, path in paths.items()}
    fetched = (await alice.http.get(shown["QCOW2"]["url"])).content

    assert ["Images are identical" in said for said in same] == [True] * len(ENGINE)
    for format_, export in shown.items():
        assert (export["format"], export["sizeBytes"]) == (format_, paths[format_].stat().st_size)
        assert export["checksum"] == {"algorithm": "SHA256", "value": hashes[format_]}
        assert heads[format_]["etag"] == f'"{hashes[format_]}"'
        assert heads[format_]["content-length"] == str(export["sizeBytes"])
        assert heads[format_]["content-disposition"] == f'attachment; filename="{image["uuid"]}.{format_.lower()}"'
        assert heads[format_]["content-type"] == "application/octet-stream"
    assert hashlib.sha256(fetched).hexdigest() == hashes["QCOW2"]
    assert shown["RAW"]["sizeBytes"] == 1 << 30


def name_of(export: dict[str, Any]) -> str:
    return str(export["url"].rpartition("/")[2])


def layer_of(store: Path, content_id: str) -> Path:
    """The file of a content, by the engine's note about it."""
    record = json.loads((store / "contents" / f"{content_id}.json").read_text())
    return store / "layers" / f"{record['layer']}.qcow2"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def test_a_file_is_fetched_in_ranges_by_its_own_project_and_nobody_else(project, service):
    alice, bob = await project("alice"), await project("bob")
    image = await small_image(alice)
    await alice.share(image["id"], bob)
    export = await exported(alice, image["id"])
    url, size = export["url"], export["sizeBytes"]
    whole = (await alice.http.get(url)).content
    etag = f'"{export["checksum"]["value"]}"'
    reader = await project(project_id=alice.project_id, scopes=[TokenScope.READ])
    writer = await project(project_id=alice.project_id, scopes=[TokenScope.IMAGES])
    expired = await project(project_id=alice.project_id, expires_at=db.now() - timedelta(seconds=1))
    nobody = Client(service.url, None)

    async def get(range_: str, **headers: str) -> tuple[int, bytes, str | None]:
        response = await alice.http.get(url, headers={"Range": range_} | headers)
        return response.status_code, response.content, response.headers.get("content-range")

    head = await alice.http.head(url)
    said = [await bob.http.get(path) for path in (url, f"/exports/{uuid4()}", "/exports/x")]
    strangers = [(await client.http.get(url)).status_code for client in (reader, writer, expired, nobody)]
    await nobody.close()

    assert (len(whole), head.status_code, head.content) == (size, 200, b"")
    assert (head.headers["content-length"], head.headers["etag"]) == (str(size), etag)
    assert (head.headers["accept-ranges"], head.headers["cache-control"]) == ("bytes", "no-store")
    assert await get("bytes=4-9") == (206, whole[4:10], f"bytes 4-9/{size}")
    assert await get("bytes=-5") == (206, whole[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert await get(f"bytes={size - 3}-") == (206, whole[-3:], f"bytes {size - 3}-{size - 1}/{size}")
    assert await get("bytes=4-9", **{"If-Range": etag}) == (206, whole[4:10], f"bytes 4-9/{size}")
    assert await get("bytes=4-9", **{"If-Range": '"other"'}) == (200, whole, None)
    assert (await get(f"bytes={size}-"))[::2] == (416, f"bytes */{size}")
    assert (await alice.http.get(url, headers={"If-None-Match": etag})).status_code == 304
    assert (await alice.http.post(url)).status_code == 405
    assert {(one.status_code, one.content) for one in said} == {(404, b"There is no such export.\n")}
    assert len({tuple(name for name, _ in one.headers.items()) for one in said}) == 1
    assert strangers == [200, 403, 401, 401]


async def test_what_has_expired_is_gone_and_its_file_removed_as_are_files_that_no_export_has(project, service):
    alice = await project("alice")
    image = await small_image(alice)
    gone = await begin(alice, image["id"], format="VMDK")
    await alice.done(gone["id"])
    kept = await exported(alice, image["id"])
    export = await Export.get(job_id=gone["uuid"])
    await Export.filter(id=export.id).update(expires_at=db.now() - timedelta(seconds=1))
    data_dir = service.settings.data_dir
    orphan = folder.folder_of(data_dir) / f"{uuid4()}.vmdk"
    orphan.write_bytes(b"x")

    expired = await alice.http.get(f"/exports/{export.id}")
    shown = await alice.one(JOB, id=gone["id"])
    await janitor.tidy(data_dir)

    assert expired.status_code == 404
    assert (shown["status"], shown["export"]) == ("SUCCESS", None)
    assert files(data_dir, export.id) == []
    assert not orphan.exists()
    assert not await Export.exists(id=export.id)
    assert (await alice.http.head(kept["url"])).status_code == 200


async def test_export_is_refused_for_each_rule(project):
    alice, bob = await project("alice"), await project("bob")
    shared, foreign = await make_image(bob.project_id), await make_image(bob.project_id)
    await make_member(shared, alice.project_id, ShareStatus.ACCEPTED)
    whole = await make_image(alice.project_id, kind=ImageKind.FULL_ECS)
    queued = await make_image(alice.project_id, status=ImageStatus.QUEUED)
    killed = await make_image(alice.project_id, status=ImageStatus.KILLED)
    busy = await make_image(alice.project_id)
    job = await running(busy, alice.project_id)
    cases = [
        (uuid4(), "NOT_FOUND", "IMG.0027"),
        (foreign.id, "NOT_FOUND", "IMG.0027"),
        (await alice.hello(), "NOT_EXPORTABLE", "IMG.0077"),
        (shared.id, "FORBIDDEN", "IMG.0092"),
        (whole.id, "NOT_EXPORTABLE", "IMG.0128"),
        (queued.id, "NOT_ACTIVE", "IMG.0046"),
        (killed.id, "NOT_ACTIVE", "IMG.0046"),
        (busy.id, "BUSY", "IMG.0148"),
    ]

    async with unchanged(alice), unchanged(bob):
        for image_id, code, otc in cases:
            assert await refusal(alice, image_id) == (code, ["input", "imageId"], otc)
        for dry in (True, False):
            (error,) = (await alice.one(DELETE, id=str(busy.id), dry=dry))["userErrors"]
            assert told(error) == ("BUSY", ["input", "imageIds", "0"], "IMG.0148")
        key = await refusal(alice, busy.id, idempotencyKey="")
    during = set((await alice.one(ACTIONS, id=str(busy.id)))["viewerCan"])
    await job.delete()
    after = set((await alice.one(ACTIONS, id=str(busy.id)))["viewerCan"])
    deleted = await alice.one(DELETE, id=str(busy.id), dry=False)

    assert key == ("INVALID_INPUT", ["input", "idempotencyKey"], None)
    assert after - during == {"EXPORT", "DELETE"}
    assert during < after
    assert not await Export.exists(image_id__in=[image.id for image in (shared, foreign, whole, queued, killed, busy)])
    assert deleted["userErrors"] == []


async def test_a_retry_with_its_key_gets_the_same_job_and_another_request_is_refused(project):
    alice = await project("alice")
    image = await small_image(alice)

    first = await begin(alice, image["id"], idempotencyKey="k")
    again_ = await begin(alice, image["id"], idempotencyKey="k")
    other = await refusal(alice, image["id"], idempotencyKey="k", format="RAW")
    await alice.done(first["id"])

    assert again_["id"] == first["id"]
    assert (first["type"], first["image"]) == ("EXPORT_IMAGE", {"id": image["id"]})
    assert other == ("IDEMPOTENCY_MISMATCH", ["input", "idempotencyKey"], None)
    assert await Export.filter(image_id=image["uuid"]).count() == 1


async def test_of_two_exports_of_an_image_at_a_time_one_is_refused(project):
    alice = await project("alice")
    image = await small_image(alice)

    payloads = await asyncio.gather(*(alice.one(EXPORT, input={"imageId": image["id"]}) for _ in range(2)))
    (begun,) = [payload["job"] for payload in payloads if payload["job"]]
    await alice.done(begun["id"])

    errors = [told(error) for payload in payloads for error in payload["userErrors"]]
    assert errors == [("BUSY", ["input", "imageId"], "IMG.0148")]


@pytest.mark.parametrize("verdict", ["cancelled", "failed"])
async def test_an_export_that_is_cancelled_or_fails_leaves_neither_a_file_nor_an_export(project, service, verdict):
    alice = await project("alice")
    image = await small_image(alice)
    job = await begin(alice, image["id"], format="VMDK")
    await alice.done(job["id"])
    export = await Export.get(job_id=job["uuid"])
    fault = {"fault_code": ErrorCode.INTERNAL, "fault_message": "killed", "fault_at": db.now()}

    # as after a kill just before the end was written down
    await again(UUID(job["uuid"]), **({"cancel_requested": True} if verdict == "cancelled" else fault))
    ended = await alice.wait(job["id"])

    assert ended["status"] == {"cancelled": "CANCELLED", "failed": "FAIL"}[verdict]
    assert files(service.settings.data_dir, export.id) == []
    assert not await Export.exists(id=export.id)
    assert (await alice.one(JOB, id=job["id"]))["export"] is None
    assert (await alice.http.get(f"/exports/{export.id}")).status_code == 404


async def test_cancelling_is_heard_while_the_job_is_going_on(project):
    alice = await project("alice")
    image = await small_image(alice)
    job = await begin(alice, image["id"])

    cancelled = await alice.one(CANCEL, id=job["id"])
    ended = await alice.wait(job["id"])

    assert job["cancellable"] is True
    if cancelled["userErrors"]:  # it had ended before it was asked
        assert ended["status"] == "SUCCESS"
    else:
        assert ended["status"] in ("CANCELLED", "SUCCESS")
    assert await Export.exists(image_id=image["uuid"]) is (ended["status"] == "SUCCESS")


async def test_an_export_that_was_cut_short_at_its_end_is_made_again_under_its_own_name(project, service):
    alice = await project("alice")
    image = await small_image(alice)
    job = await begin(alice, image["id"])
    await alice.done(job["id"])
    before = await Export.get(job_id=job["uuid"])

    await Export.filter(id=before.id).update(sha256=None, expires_at=None, size_bytes=0)
    await again(UUID(job["uuid"]))
    await alice.done(job["id"])
    after = (await alice.one(JOB, id=job["id"]))["export"]

    body = (await alice.http.get(after["url"])).content
    assert name_of(after) == str(before.id)
    assert after["checksum"]["value"] == hashlib.sha256(body).hexdigest()
    assert files(service.settings.data_dir, before.id) == [f"{before.id}.qcow2"]


async def test_bytes_that_cannot_be_read_fail_the_job_and_leave_nothing(project, service):
    alice = await project("alice")
    image = await make_image(alice.project_id)

    job = await begin(alice, image.id)
    ended = await alice.wait(job["id"])

    assert (ended["status"], ended["fault"]["code"]) == ("FAIL", "NOT_FOUND")
    assert not await Export.exists(image_id=image.id)
