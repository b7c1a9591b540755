"""Exports do not fill the disk: one that is there is answered again, a project has so many and no more, and they can be deleted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from app import db
from app.enums import ExportFormat, TokenScope
from app.exports.models import Export
from app.exports.service import MAX_EXPORTS
from app.jobs.models import Job
from tests.client import Client
from tests.ecs.looking import told, unchanged
from tests.exports.test_exports import EXPORT, JOB, begin, exported, files, name_of, refusal, small_image

LIMIT = ("LIMIT_EXCEEDED", ["input", "imageId"], None)


async def make_export(project_id: str, *, expires_in_h: float | None = 1) -> Export:
    """One of an image that is gone; None: it is being made."""
    return await Export.create(
        id=uuid4(),
        project_id=UUID(project_id),
        job_id=uuid4(),
        image_id=uuid4(),
        format=ExportFormat.RAW,
        sha256="0" * 64,
        expires_at=None if expires_in_h is None else db.now() + timedelta(hours=expires_in_h),
    )


async def kept_until(export: dict[str, Any]) -> Any:
    return (await Export.get(id=name_of(export))).expires_at


async def test_an_export_that_is_there_is_answered_again_and_kept_as_long_as_a_new_one(project, service):
    alice = await project("alice")
    image = await small_image(alice)
    job = await begin(alice, image["id"], format="VMDK")
    await alice.done(job["id"])
    first = (await alice.one(JOB, id=job["id"]))["export"]
    soon = db.now() + timedelta(seconds=30)
    await Export.filter(id=name_of(first)).update(expires_at=soon)

    again = await begin(alice, image["id"], format="VMDK")
    other = await exported(alice, image["id"], format="VHDX")

    assert again["id"] == job["id"]
    assert (again["status"], again["export"]["url"]) == ("SUCCESS", first["url"])
    assert await kept_until(first) > soon + timedelta(hours=service.settings.export_kept_h - 1)
    assert name_of(other) != name_of(first)
    assert await Export.filter(image_id=image["uuid"]).count() == 2
    assert await Job.filter(image_id=image["uuid"], type="EXPORT_IMAGE").count() == 2


async def test_one_that_has_expired_is_made_anew_and_its_file_makes_room_first(project, service):
    alice = await project("alice")
    image = await small_image(alice)
    first = await exported(alice, image["id"])
    await Export.filter(id=name_of(first)).update(expires_at=db.now() - timedelta(seconds=1))

    second = await exported(alice, image["id"])

    assert name_of(second) != name_of(first)
    assert files(service.settings.data_dir, name_of(first)) == []
    assert not await Export.exists(id=name_of(first))
    assert (await alice.http.get(second["url"])).status_code == 200


async def test_a_project_has_so_many_exports_and_no_more(project):
    alice, bob = await project("alice"), await project("bob")
    image, other = await small_image(alice), await small_image(bob)
    rows = [await make_export(alice.project_id) for _ in range(MAX_EXPORTS - 2)]
    await make_export(alice.project_id, expires_in_h=None)
    await make_export(alice.project_id, expires_in_h=-1)

    last = await exported(alice, image["id"])
    async with unchanged(alice):
        refused = await refusal(alice, image["id"], format="VHDX")
    same = await begin(alice, image["id"])
    await exported(bob, other["id"])
    await Export.filter(id=rows[0].id).update(expires_at=db.now())
    fits = await exported(alice, image["id"], format="VHDX")

    assert refused == LIMIT
    assert same["export"]["url"] == last["url"]
    assert fits["format"] == "VHDX"


async def test_of_two_at_a_time_only_one_is_the_last(project):
    alice = await project("alice")
    images = [await small_image(alice), await small_image(alice)]
    for _ in range(MAX_EXPORTS - 1):
        await make_export(alice.project_id)

    payloads = await asyncio.gather(*(alice.one(EXPORT, input={"imageId": image["id"]}) for image in images))
    (begun,) = [payload["job"] for payload in payloads if payload["job"]]
    await alice.done(begun["id"])

    assert [told(error) for payload in payloads for error in payload["userErrors"]] == [LIMIT]


async def test_an_export_is_deleted_by_its_own_project_alone(project, service):
    alice, bob = await project("alice"), await project("bob")
    reader = await project(project_id=alice.project_id, scopes=[TokenScope.READ])
    nobody = Client(service.url, None)
    image = await small_image(alice)
    job = await begin(alice, image["id"])
    await alice.done(job["id"])
    export = (await alice.one(JOB, id=job["id"]))["export"]
    url = f"/exports/{name_of(export)}"

    refused = [await client.http.delete(path) for client, path in [(bob, url), (alice, f"/exports/{uuid4()}")]]
    forbidden = [(await client.http.delete(url)).status_code for client in (reader, nobody)]
    still_there = await alice.http.head(url)
    async with alice.http.stream("GET", url) as fetching:
        deleted = await alice.http.delete(url)
        body = await fetching.aread()
    gone = [(await alice.http.request(method, url)).status_code for method in ("GET", "DELETE")]
    await nobody.close()

    assert {(one.status_code, one.content) for one in refused} == {(404, b"There is no such export.\n")}
    assert (forbidden, still_there.status_code) == ([403, 401], 200)
    assert (deleted.status_code, deleted.content, len(body)) == (204, b"", export["sizeBytes"])
    assert gone == [404, 404]
    assert files(service.settings.data_dir, name_of(export)) == []
    assert not await Export.exists(id=name_of(export))
    assert (await alice.one(JOB, id=job["id"]))["export"] is None
