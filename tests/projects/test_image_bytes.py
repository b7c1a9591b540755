"""IMAGE_BYTES: what a project's private images hold as machines see them, counted once whatever happens to them."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID, uuid4

import pytest

from app import db
from app.enums import ImageSourceKind, ImageStatus, QuotaResource
from app.errors import QuotaExceeded
from app.images import charging
from app.images.models import Image
from app.jobs.models import Job
from app.projects import quotas
from app.projects import service as projects
from app.projects.models import Quota
from tests.backups.looking import back_up
from tests.client import CREATE_IMAGE, Client
from tests.disks.acting import again, create, image_of, image_refusal
from tests.ecs.looking import unchanged
from tests.factories import make_client
from tests.sources.corpus import good
from tests.sources.test_bytes import CANCEL, delete_image, released
from tests.sources.test_import import of, sent
from tests.uploads.conftest import Sender

GIB = 1 << 30
SIZE = "query($id: ID!) { image(id: $id) { status virtualSizeBytes fault { code message } } }"


async def counted(client: Client) -> int:
    """What the viewer is shown."""
    rows = (await client.one("{ viewer { quotas { resource used } } }"))["quotas"]
    return next(row["used"] for row in rows if row["resource"] == "IMAGE_BYTES")


async def charged(client: Client) -> int:
    """What the project's images remember."""
    return sum(await Image.filter(project_id=client.project_id).values_list("charged_bytes", flat=True))


async def limit(client: Client, value: int | None) -> None:
    await Quota.filter(project_id=client.project_id, resource=QuotaResource.IMAGE_BYTES).update(limit=value)


@pytest.fixture
async def alice(project) -> Client:
    return await project("alice")


@pytest.fixture
def sender(alice, service) -> Sender:
    return Sender(alice, service.settings.data_dir)


async def test_every_source_is_charged_what_a_machine_sees_from_its_request_on(alice, sender, tmp_path):
    machine = await alice.launch(dataDisks=[{"sizeGib": 10}])
    (disk,) = await create(alice, sizeGib=12)
    upload = await sent(sender, good("QCOW2", tmp_path))
    backup = await back_up(alice, machine["id"])
    sources = {
        "ecs": ({"ecs": {"ecsId": machine["id"]}}, GIB),
        "fullEcs": ({"fullEcs": {"ecsId": machine["id"]}}, 11 * GIB),
        "disk": ({"disk": {"diskId": disk["id"]}}, 12 * GIB),
        "backup": ({"backup": {"backupId": backup["id"]}}, 11 * GIB),
        "image": ({"image": {"imageId": await alice.hello()}}, None),
        "upload": (of(upload), None),
    }
    total = 0

    for name, (source, size) in sources.items():
        image = await image_of(alice, source, wait=False)
        at_once = await counted(alice)
        await alice.done(image["jobId"])
        shown = await alice.one(SIZE, id=image["id"])
        if name == "upload":  # what is in it, only its job finds out
            assert at_once in (total, total + shown["virtualSizeBytes"])
            at_once = total + shown["virtualSizeBytes"]
        assert shown["virtualSizeBytes"] == at_once - total, name
        assert size in (None, shown["virtualSizeBytes"]), name
        total = at_once
        assert await counted(alice) == await charged(alice) == total, name
    for image_id in await Image.filter(project_id=alice.project_id).values_list("id", flat=True):
        await delete_image(alice, str(image_id))
    await released(alice)

    assert await counted(alice) == 0


async def test_the_last_byte_fits_and_one_more_does_not(alice):
    machine = await alice.launch(dataDisks=[{"sizeGib": 10}])
    source = {"fullEcs": {"ecsId": machine["id"]}}

    await limit(alice, 11 * GIB - 1)
    async with unchanged(alice):
        refusal = await image_refusal(alice, source)
    await limit(alice, 11 * GIB)
    await image_of(alice, source)
    async with unchanged(alice):
        second = await image_refusal(alice, source)

    assert refusal == second == ("QUOTA_EXCEEDED", None, "IMG.0015")
    assert await counted(alice) == 11 * GIB


async def test_upload_that_does_not_fit_is_not_converted_and_can_be_tried_again(alice, sender, tmp_path, service):
    upload = await sent(sender, good("QCOW2", tmp_path))
    await limit(alice, 1000)
    folder = service.settings.data_dir / "engine" / "contents"
    before = set(folder.iterdir())

    image = await image_of(alice, of(upload), wait=False)
    job = await alice.wait(image["jobId"])
    killed = await alice.one(SIZE, id=image["id"])
    then = (await sender.state(upload))["status"], await counted(alice), set(folder.iterdir()) - before
    await limit(alice, None)
    again_ = await image_of(alice, of(upload))

    assert (job["status"], job["fault"]["code"]) == ("FAIL", "QUOTA_EXCEEDED")
    assert "IMAGE_BYTES: 0 of 1000 are used" in job["fault"]["message"]
    assert (killed["status"], killed["fault"]["code"]) == ("KILLED", "QUOTA_EXCEEDED")
    assert then == ("COMPLETE", 0, set())
    assert await counted(alice) == (await alice.one(SIZE, id=again_["id"]))["virtualSizeBytes"]


async def test_of_eight_at_the_last_three_places_three_get_one(alice):
    source = {"image": {"imageId": await alice.hello()}}
    first = await image_of(alice, source)
    size = await counted(alice)
    await limit(alice, 4 * size)
    clients = [await make_client(alice.url, project_id=alice.project_id) for _ in range(8)]

    answers = await asyncio.gather(
        *(client.one(CREATE_IMAGE, input={"name": "copy", "source": source}) for client in clients)
    )
    for answer in answers:
        if answer["job"]:
            await alice.done(answer["job"]["id"])
    for client in clients:
        await client.close()

    codes = [answer["userErrors"][0]["code"] for answer in answers if answer["userErrors"]]
    assert codes == ["QUOTA_EXCEEDED"] * 5
    assert await Image.filter(project_id=alice.project_id).count() == 4, first
    assert await counted(alice) == await charged(alice) == 4 * size


async def test_what_is_done_once_more_after_a_kill_is_counted_once(alice, sender, tmp_path):
    upload = await sent(sender, good("RAW", tmp_path))
    made = await image_of(alice, of(upload))
    size = await counted(alice)
    copy = await image_of(alice, {"image": {"imageId": made["id"]}})
    await limit(alice, 2 * size)
    killed = await image_of(alice, of(await sent(sender, good("QCOW2", tmp_path))), wait=False)
    assert (await alice.wait(killed["jobId"]))["status"] == "FAIL"
    jobs = {str(job.image_id): job.id for job in await Job.filter(project_id=alice.project_id, type="COPY_IMAGE")}

    await again(jobs[copy["uuid"]])
    await alice.wait(copy["jobId"])
    (dead,) = await Job.filter(image_id=killed["uuid"])
    await again(dead.id, fault_code="INTERNAL", fault_message="killed")
    await alice.wait(killed["jobId"])

    assert await counted(alice) == await charged(alice) == 2 * size


@pytest.mark.parametrize("seed", [random.randrange(2**32)])
async def test_used_is_the_sum_over_images_whatever_is_made_cancelled_and_deleted(alice, seed):
    print("seed", seed)
    dice = random.Random(seed)
    machine = await alice.launch()
    sources = [
        {"ecs": {"ecsId": machine["id"]}},
        {"fullEcs": {"ecsId": machine["id"]}},
        {"image": {"imageId": await alice.hello()}},
    ]
    going_on: list[str] = []

    for _ in range(14):
        payload = await alice.one(CREATE_IMAGE, input={"name": "any", "source": dice.choice(sources)})
        going_on += [payload["job"]["id"]] if payload["job"] else []
        if going_on and dice.random() < 0.3:
            await alice.one(CANCEL, id=dice.choice(going_on))
        if dice.random() < 0.4 and (ended := await _ended(alice)):
            await delete_image(alice, str(dice.choice(ended)))
        async with db.transaction():  # on SQLite no other comes in between; on PostgreSQL the quota is locked
            quota = Quota.filter(project_id=alice.project_id, resource=QuotaResource.IMAGE_BYTES)
            (row,) = await quota.select_for_update()
            assert row.used == await charged(alice)
    for job_id in going_on:
        await alice.wait(job_id)

    there = Image.filter(project_id=alice.project_id, status=ImageStatus.ACTIVE)
    assert await counted(alice) == await charged(alice) == sum(await there.values_list("virtual_size_bytes", flat=True))


async def _ended(client: Client) -> list[UUID]:
    ended = Image.filter(project_id=client.project_id, status__in=[ImageStatus.ACTIVE, ImageStatus.KILLED])
    return [image.id for image in await ended]


# ---------------------------------------------------------------- the counting itself


async def image(project_id: UUID, status: ImageStatus = ImageStatus.IMPORTING, **columns: object) -> UUID:
    values = {"kind": "SYSTEM_DISK", "name": "x", "source_kind": ImageSourceKind.UPLOAD, **columns}
    made = await Image.create(id=uuid4(), project_id=project_id, status=status, **values)
    return made.id


async def used(project_id: UUID) -> int:
    return (await Quota.get(project_id=project_id, resource=QuotaResource.IMAGE_BYTES)).used


async def test_only_what_is_being_made_is_charged_and_again_only_the_difference(database):
    project_id = await projects.create_project("p")
    await Quota.filter(project_id=project_id).update(limit=100)
    unfinished, dead = await image(project_id), await image(project_id, ImageStatus.KILLED)
    public = await image(project_id, is_public=True)

    for size in (60, 60, 100, 40, 100):
        async with db.transaction():
            for image_id in (unfinished, dead, public):
                await charging.charge(image_id, size)
        assert await used(project_id) == size
    with pytest.raises(QuotaExceeded):
        async with db.transaction():
            await charging.charge(unfinished, 101)
    before = await used(project_id)
    async with db.transaction():
        await charging.correct(unfinished, 101)  # it is there: that it does not fit comes too late
        await charging.correct(public, 7)
    corrected = await used(project_id)
    for _ in range(2):
        async with db.transaction():
            await charging.correct(unfinished, 0)

    assert (before, corrected, await used(project_id)) == (100, 101, 0)


async def test_images_that_are_older_than_the_quota_are_charged_when_it_comes(database):
    from importlib import import_module

    first, second = await projects.create_project("first"), await projects.create_project("second")
    await Quota.filter(resource=QuotaResource.IMAGE_BYTES).delete()
    for size in (10, 20):
        await image(first, ImageStatus.ACTIVE, virtual_size_bytes=size)
    await image(first, ImageStatus.ACTIVE, virtual_size_bytes=40, is_public=True)
    await image(first, ImageStatus.KILLED)

    for statement in import_module("app.migrations.0003_bytes_from_anywhere").CHARGED:
        await db.execute(statement)

    rows = await Quota.filter(resource=QuotaResource.IMAGE_BYTES)
    most = quotas.DEFAULTS[QuotaResource.IMAGE_BYTES]
    assert {row.project_id: (row.used, row.limit) for row in rows} == {first: (30, most), second: (0, most)}
    assert sorted(await Image.all().values_list("charged_bytes", flat=True)) == [0, 0, 10, 20]
