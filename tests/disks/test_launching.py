"""Data disk images at a launch: they make data disks, and boot nothing."""

from uuid import uuid4

from app.enums import ImageKind, ImageStatus, ShareStatus
from tests.disks.acting import create, image_of
from tests.ecs.looking import launch_refusal, unchanged
from tests.factories import make_image, make_member

LAUNCHABLE = """{ images(filter: {launchableOnFlavorId: "t1.nano", visibility: [PRIVATE, SHARED]}) { nodes { id } } }"""
SHOWN = """query($id: ID!) { image(id: $id) { viewerCan launchability(flavorId: "t1.nano") { ok reasons { code field otcCode } }
  ... on PrivateImage { memberLimit } } }"""
UPDATE = """mutation($input: UpdateImageInput!) { updateImage(input: $input) {
  image { minDiskGib } userErrors { code field otcCode } } }"""


async def test_data_disk_image_launches_nothing_and_has_no_operating_system(project):
    alice = await project("alice")
    (disk,) = await create(alice)
    image = await image_of(alice, {"disk": {"diskId": disk["id"]}})

    async with unchanged(alice):
        refused = await launch_refusal(alice, imageId=image["id"])
        no_os = await alice.one(UPDATE, input={"imageId": image["id"], "os": {"type": "LINUX"}})
        small = await alice.one(UPDATE, input={"imageId": image["id"], "minDiskGib": 9})
        large = await alice.one(UPDATE, input={"imageId": image["id"], "minDiskGib": 2049})
    larger = await alice.one(UPDATE, input={"imageId": image["id"], "minDiskGib": 2048})
    shown = await alice.one(SHOWN, id=image["id"])

    wrong = {"code": "WRONG_IMAGE_KIND", "field": ["imageId"], "otcCode": "Ecs.0007"}
    assert refused == ("WRONG_IMAGE_KIND", ["input", "imageId"], "Ecs.0007")
    assert shown["launchability"] == {"ok": False, "reasons": [wrong]}
    assert shown["memberLimit"] == 256
    assert {"CREATE_DISK", "LAUNCH", "COPY"} & set(shown["viewerCan"]) == {"CREATE_DISK", "COPY"}
    assert (await alice.one(LAUNCHABLE))["nodes"] == []
    assert no_os["userErrors"] == [{"code": "INVALID_INPUT", "field": ["input", "os"], "otcCode": "IMG.0024"}]
    for payload in (small, large):
        (error,) = payload["userErrors"]
        assert error == {"code": "INVALID_INPUT", "field": ["input", "minDiskGib"], "otcCode": "IMG.0055"}
    assert larger == {"image": {"minDiskGib": 2048}, "userErrors": []}


async def test_data_disks_from_images_are_refused_for_each_rule(project):
    alice, bob = await project("alice"), await project("bob")
    data = {"kind": ImageKind.DATA_DISK, "min_disk_gib": 20}
    own = await make_image(alice.project_id, "own", **data)
    killed = await make_image(alice.project_id, "killed", **data | {"status": ImageStatus.KILLED})
    theirs, offered = [await make_image(bob.project_id, name, **data) for name in ("theirs", "offered")]
    await make_member(offered, alice.project_id, ShareStatus.REJECTED)
    system = await make_image(alice.project_id, "system")
    whole = await make_image(alice.project_id, "whole", kind=ImageKind.FULL_ECS)
    cases = [
        ([{"imageId": str(uuid4())}], "NOT_FOUND", ["0", "imageId"], "Ecs.0031"),
        ([{"imageId": str(theirs.id)}], "NOT_FOUND", ["0", "imageId"], "Ecs.0031"),
        ([{"imageId": str(offered.id)}], "NOT_ACCEPTED", ["0", "imageId"], "Ecs.0031"),
        ([{"imageId": str(killed.id)}], "NOT_ACTIVE", ["0", "imageId"], "Ecs.0032"),
        ([{"imageId": str(system.id)}], "WRONG_IMAGE_KIND", ["0", "imageId"], "Ecs.0007"),
        ([{"sizeGib": 10}, {"imageId": str(own.id), "sizeGib": 19}], "DISK_TOO_SMALL", ["1", "sizeGib"], "Ecs.0007"),
        ([{"imageId": str(own.id)}] * 2, "INVALID_INPUT", ["1", "imageId"], "Ecs.0007"),
        ([{}], "DISK_TOO_SMALL", ["0", "sizeGib"], "Ecs.0007"),
    ]

    async with unchanged(alice):
        for disks, code, field, otc in cases:
            told = await launch_refusal(alice, dataDisks=disks)
            assert told == (code, ["input", "dataDisks", *field], otc), disks
        beside = await launch_refusal(alice, imageId=str(whole.id), dataDisks=[{"imageId": str(own.id)}])
    assert beside == ("INVALID_INPUT", ["input", "dataDisks", "0", "imageId"], "Ecs.0007")
