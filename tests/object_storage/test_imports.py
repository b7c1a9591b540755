"""Images of files in the operator's object storage: of a project's own places only, on from where a connection broke."""

from __future__ import annotations

import hashlib
import random
from typing import Any
from uuid import uuid4

import pytest

from app.fetching import folder
from tests.client import Client
from tests.disks.acting import image_of, image_refusal
from tests.ecs.looking import unchanged
from tests.exports.test_exports import exported
from tests.object_storage.conftest import BUCKET, MIB, OTHER_BUCKET

JOB = "query($id: ID!) { job(id: $id) { status bytesDone bytesTotal } }"
SHOWN = "query($id: ID!) { image(id: $id) { status virtualSizeBytes ... on PrivateImage { source { kind fileName format } } } }"
FIELD = ["input", "source", "url", "url"]


def of(url: str, **more: object) -> dict[str, object]:
    return {"url": {"url": url, "format": "RAW", "kind": "DATA_DISK"} | more}


async def failure(client: Client, url: str, **more: object) -> dict[str, Any]:
    """Why an import's job fails."""
    image = await image_of(client, of(url, **more), wait=False)
    ended = await client.wait(image["jobId"])
    assert (ended["status"], ended["image"]["status"]) == ("FAIL", "KILLED"), ended
    fault: dict[str, Any] = ended["fault"]
    return fault


@pytest.fixture(autouse=True)
def leaves_no_file_behind(service):
    yield
    assert list(folder.image_ids(service.settings.data_dir)) == []


async def test_an_image_is_made_of_a_file_in_the_bucket(alice, storage, stored):
    content = random.randbytes(18 * MIB)
    url = await storage.put(f"imports/{alice.project_id}/disks/data.raw", content)

    image = await image_of(alice, of(url, sha256=hashlib.sha256(content).hexdigest()))
    shown, job = await alice.one(SHOWN, id=image["id"]), await alice.one(JOB, id=image["jobId"])
    export = await exported(alice, image["id"], format="RAW")

    assert shown == {
        "status": "ACTIVE",
        "virtualSizeBytes": len(content),
        "source": {"kind": "URL", "fileName": "data.raw", "format": "RAW"},
    }
    assert job["status"] == "SUCCESS"
    assert export["checksum"]["value"] == hashlib.sha256(content).hexdigest()


async def test_a_dropped_connection_is_continued(alice, storage, opened, wire):
    content = random.randbytes(18 * MIB)
    url = await storage.put(f"imports/{alice.project_id}/cut.raw", content)

    async with opened(s3_endpoint=f"http://127.0.0.1:{wire.port}"):
        wire.cut_after(3 * MIB)
        image = await image_of(alice, of(url, sha256=hashlib.sha256(content).hexdigest()))

    assert wire.cuts == 1
    assert (await alice.one(SHOWN, id=image["id"]))["status"] == "ACTIVE"


async def test_what_is_not_in_a_place_of_ones_own_is_refused_at_once_whether_it_is_there_or_not(
    alice, project, storage, stored
):
    bob = await project("bob")
    of_bob = await storage.put(f"imports/{bob.project_id}/secret.raw", bytes(512))
    in_other = await storage.put("secret.raw", bytes(512), OTHER_BUCKET)
    of_export = await storage.put(f"exports/{uuid4()}.raw", bytes(512))
    urls = [of_bob, in_other, of_export, f"s3://{BUCKET}/imports/{bob.project_id}/missing", f"s3://{BUCKET}/x"]

    async with unchanged(alice):
        said = [await image_refusal(alice, of(url)) for url in urls]
        odd = await image_refusal(alice, of(f"s3://{BUCKET}/imports/{alice.project_id}/../{bob.project_id}/secret.raw"))

    assert said == [("FORBIDDEN", FIELD, None)] * len(urls)
    assert odd == ("INVALID_INPUT", FIELD, None)


async def test_a_place_for_all_projects_is_read_by_each(alice, storage, opened):
    url = await storage.put("golden/data.raw", random.randbytes(MIB), OTHER_BUCKET)

    async with opened(s3_import_places=[f"{OTHER_BUCKET}/golden/"]):
        image = await image_of(alice, of(url))
        own = await image_refusal(alice, of(f"s3://{BUCKET}/imports/{alice.project_id}/x"))

    assert (await alice.one(SHOWN, id=image["id"]))["status"] == "ACTIVE"
    assert own == ("FORBIDDEN", FIELD, None)


async def test_a_file_that_is_missing_or_another_than_was_said_fails_the_job(alice, storage, stored):
    there = await storage.put(f"imports/{alice.project_id}/there.raw", bytes(MIB))

    missing = await failure(alice, f"s3://{BUCKET}/imports/{alice.project_id}/missing.raw")
    other = await failure(alice, there, sha256="0" * 64)

    assert (missing["code"], missing["message"].endswith("missing.raw is not there.")) == ("FETCH_FAILED", True)
    assert other["code"] == "CHECKSUM_MISMATCH"


async def test_without_object_storage_it_is_refused_with_what_to_do(alice):
    async with unchanged(alice):
        told = await image_refusal(alice, of(f"s3://{BUCKET}/imports/{alice.project_id}/x"))

    assert told == ("UNSUPPORTED", FIELD, None)
