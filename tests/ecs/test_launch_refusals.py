"""What a launch is refused for: each rule by its code, field and OTC code, in a dry run as in earnest, with nothing changed."""

from uuid import uuid4

import pytest

from app.contents.models import Content
from app.enums import (
    Architecture,
    ContentState,
    Firmware,
    FlavorState,
    ImageKind,
    ImageStatus,
    OsType,
    ShareStatus,
    TokenScope,
)
from app.images.models import Image, ImageDisk
from app.projects.models import Quota
from tests.client import LAUNCH
from tests.ecs.looking import launch_refusal, unchanged
from tests.factories import make_client, make_flavor, make_image, make_member

NOT_SHOWN = str(uuid4())
NO_WORDS = [
    ({"name": ""}, ["name"], "Ecs.0915"),
    ({"name": "a b"}, ["name"], "Ecs.0915"),
    ({"name": "größe"}, ["name"], "Ecs.0915"),
    ({"name": "x" * 129}, ["name"], "Ecs.0914"),
    ({"name": "x" * 60, "count": 2}, ["name"], "Ecs.0914"),
    ({"count": 0}, ["count"], "Ecs.0007"),
    ({"count": -1}, ["count"], "Ecs.0007"),
    ({"count": 101}, ["count"], "Ecs.0007"),
    ({"count": 2, "minCount": 0}, ["minCount"], "Ecs.0007"),
    ({"count": 2, "minCount": 3}, ["minCount"], "Ecs.0007"),
    ({"exposePorts": [0]}, ["exposePorts", "0"], None),
    ({"exposePorts": [22, 65536]}, ["exposePorts", "1"], None),
    ({"exposePorts": [22, 80, 22]}, ["exposePorts"], None),
    ({"exposePorts": list(range(1, 22))}, ["exposePorts"], None),
    ({"userData": "x" * 32769}, ["userData"], "Ecs.0007"),
    ({"userData": "ü" * 16385}, ["userData"], "Ecs.0007"),
    ({"description": "x" * 86}, ["description"], "IMG.0004"),
    ({"description": "<b>"}, ["description"], "IMG.0054"),
    ({"tags": [{"key": "a b"}]}, ["tags", "0"], "IMG.0115"),
    ({"tags": [{"key": "a"}, {"key": "a"}]}, ["tags", "1"], "Ecs.0908"),
    ({"dataDisks": [{"sizeGib": 10, "name": "x" * 256}]}, ["dataDisks", "0", "name"], "Ecs.0007"),
    ({"idempotencyKey": ""}, ["idempotencyKey"], None),
    ({"idempotencyKey": "x" * 256}, ["idempotencyKey"], None),
]


async def test_launch_refuses_words_outside_their_range(project):
    alice = await project("alice")
    image_id = await alice.hello()

    async with unchanged(alice):
        for changes, field, otc in NO_WORDS:
            refusal = await launch_refusal(alice, imageId=image_id, **changes)
            assert refusal == ("INVALID_INPUT", ["input", *field], otc), changes


NO_PASSWORDS = ["Short1!", "Abcdefghijklmnopqrstuvwxy1!", "alllowercase1", "onlyletterS"]
NO_PASSWORDS += ["xRoot1234", "xToor1234", "With Space1", "Größe1234"]


async def test_launch_refuses_weak_passwords(project):
    alice = await project("alice")

    async with unchanged(alice):
        for password in NO_PASSWORDS:
            refusal = await launch_refusal(alice, login={"password": password})
            assert refusal == ("INVALID_INPUT", ["input", "login", "password"], "Ecs.0011"), password


async def test_launch_accepts_everything_at_its_limit(project):
    alice = await project("alice")
    chosen = {
        "name": "x" * 59,
        "count": 2,
        "minCount": 2,
        "imageId": await alice.hello(),
        "flavorId": "t1.nano",
        "description": "x" * 85,
        "exposePorts": [1, 65535, *range(2, 20)],
        "userData": "ü" * 16384,
        "login": {"password": "Abcdefghijklmnopqrstuvwx1!"},
        "systemDisk": {"sizeGib": 1024},
        "dataDisks": [{"sizeGib": 10}, {"sizeGib": 16384, "name": "x" * 255}],
        "tags": [{"key": f"k{index}" + "x" * 34, "value": "v" * 43} for index in range(10)],
        "idempotencyKey": "x" * 255,
        "dryRun": True,
    }

    async with unchanged(alice):
        payload = await alice.one(LAUNCH, input=chosen)

    assert payload == {"ecsInstances": [], "job": None, "warnings": [], "userErrors": []}


async def test_launch_refuses_key_pairs_that_are_not_the_projects(project):
    alice, bob = await project("alice"), await project("bob")
    await bob.one('mutation { createKeyPair(input: {name: "bobs"}) { userErrors { code } } }')

    async with unchanged(alice):
        for name in ("bobs", "none", ""):
            refusal = await launch_refusal(alice, login={"keyPairName": name})
            assert refusal == ("KEY_UNAVAILABLE", ["input", "login", "keyPairName"], "Ecs.0314")


async def test_launch_refuses_images_that_are_not_visible(project):
    alice, bob = await project("alice"), await project("bob")
    foreign = await make_image(bob.project_id)

    async with unchanged(alice):
        for image_id in (str(foreign.id), NOT_SHOWN, "no id"):
            refusal = await launch_refusal(alice, imageId=image_id)
            assert refusal == ("NOT_FOUND", ["input", "imageId"], "Ecs.0031")


async def test_launch_refuses_shares_that_are_not_accepted(project):
    alice, bob = await project("alice"), await project("bob")

    for status in (ShareStatus.PENDING, ShareStatus.REJECTED):
        image = await make_image(bob.project_id)
        await make_member(image, alice.project_id, status)
        async with unchanged(alice):
            refusal = await launch_refusal(alice, imageId=str(image.id))

        assert refusal == ("NOT_ACCEPTED", ["input", "imageId"], "Ecs.0031")


async def test_launch_refuses_images_that_are_not_active(project):
    alice = await project("alice")

    for status in (ImageStatus.QUEUED, ImageStatus.SAVING, ImageStatus.IMPORTING, ImageStatus.KILLED):
        image = await make_image(alice.project_id, status=status)
        async with unchanged(alice):
            refusal = await launch_refusal(alice, imageId=str(image.id))

        assert refusal == ("NOT_ACTIVE", ["input", "imageId"], "Ecs.0032")


async def test_launch_refuses_flavors_that_are_not_there(project):
    alice = await project("alice")

    async with unchanged(alice):
        for flavor_id in (NOT_SHOWN, "t1.none", await alice.hello()):
            refusal = await launch_refusal(alice, flavorId=flavor_id)
            assert refusal == ("NOT_FOUND", ["input", "flavorId"], "Ecs.0029")


LINUX, WINDOWS, ARM = {"os_type": OsType.LINUX}, {"os_type": OsType.WINDOWS}, {"architecture": Architecture.ARM64}
NO_MATCHES = [
    ({}, {"state": FlavorState.ABANDON}, "FLAVOR_ABANDONED", "flavorId", "Ecs.0029"),
    ({}, {"state": FlavorState.SELLOUT}, "FLAVOR_SOLD_OUT", "flavorId", "Ecs.0319"),
    ({}, {"state": FlavorState.OBT_SELLOUT}, "FLAVOR_SOLD_OUT", "flavorId", "Ecs.0319"),
    ({"min_ram_mib": 65}, {}, "RAM_TOO_SMALL", "flavorId", "Ecs.0007"),
    (LINUX, {"ram_mib": 511}, "RAM_TOO_SMALL", "flavorId", "Ecs.0007"),
    (WINDOWS, {"ram_mib": 1023}, "RAM_TOO_SMALL", "flavorId", "Ecs.0007"),
    ({"max_ram_mib": 63}, {}, "RAM_TOO_LARGE", "flavorId", "Ecs.0007"),
    ({"os_bits": 32}, {"ram_mib": 4097}, "RAM_TOO_LARGE", "flavorId", "Ecs.0007"),
    (ARM, {}, "ARCHITECTURE_MISMATCH", "flavorId", "Ecs.0007"),
    ({}, ARM, "ARCHITECTURE_MISMATCH", "flavorId", "Ecs.0007"),
    (ARM, ARM, "UNSUPPORTED", "flavorId", None),
    ({"firmware": Firmware.UEFI}, {}, "UNSUPPORTED", "imageId", None),
]


async def test_launch_refuses_flavors_that_do_not_go_with_the_image(project):
    alice = await project("alice")

    for image, flavor, code, field, otc in NO_MATCHES:
        made, sold = await make_image(alice.project_id, **image), await make_flavor(**flavor)
        async with unchanged(alice):
            refusal = await launch_refusal(alice, imageId=str(made.id), flavorId=sold.name)

        assert refusal == (code, ["input", field], otc), (image, flavor)


async def test_launch_accepts_flavors_at_the_limits_of_the_image(project):
    alice = await project("alice")

    for image, ram_mib in ((LINUX, 512), (WINDOWS, 1024), ({"os_bits": 32}, 4096), ({"max_ram_mib": 64}, 64)):
        made, flavor = await make_image(alice.project_id, **image), await make_flavor(ram_mib=ram_mib)
        chosen = {"name": "vm", "imageId": str(made.id), "flavorId": flavor.name, "dryRun": True}

        assert (await alice.one(LAUNCH, input=chosen))["userErrors"] == []


async def test_launch_refuses_disks_of_other_sizes(project):
    alice = await project("alice")
    image_id = str((await make_image(alice.project_id, min_disk_gib=2)).id)

    async with unchanged(alice):
        for size, code, otc in (
            (1, "DISK_TOO_SMALL", "Ecs.0007"),
            (-1, "DISK_TOO_SMALL", "Ecs.0007"),
            (1025, "DISK_TOO_LARGE", "IMG.0111"),
        ):
            refusal = await launch_refusal(alice, imageId=image_id, systemDisk={"sizeGib": size})
            assert refusal == (code, ["input", "systemDisk", "sizeGib"], otc)
        for data_size in (9, None, -1, 32769):
            refusal = await launch_refusal(alice, dataDisks=[{"sizeGib": 10}, {"sizeGib": data_size}])
            code = "DISK_TOO_LARGE" if data_size == 32769 else "DISK_TOO_SMALL"
            assert refusal == (code, ["input", "dataDisks", "1", "sizeGib"], "Ecs.0007")


async def test_launch_refuses_more_data_disks_than_the_flavor_takes(project):
    alice = await project("alice")
    flavor = await make_flavor(max_data_disks=1)
    image = await make_image(alice.project_id, kind=ImageKind.FULL_ECS)
    await add_disk(image, size_gib=10)
    disk = {"sizeGib": 10}

    async with unchanged(alice):
        of_engine = await launch_refusal(alice, dataDisks=[disk] * 24)
        of_flavor = await launch_refusal(alice, flavorId=flavor.name, dataDisks=[disk] * 2)
        with_restored = await launch_refusal(alice, imageId=str(image.id), flavorId=flavor.name, dataDisks=[disk])

    assert of_engine == of_flavor == with_restored == ("TOO_MANY_DISKS", ["input", "dataDisks"], "Ecs.0042")


async def test_launch_refuses_overrides_that_do_not_fit_the_image(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, kind=ImageKind.FULL_ECS)
    disk_id = await add_disk(image, size_gib=20)
    other = await add_disk(await make_image(alice.project_id, kind=ImageKind.FULL_ECS), size_gib=20)

    async def refusal(*overrides):
        given = [{"imageDiskId": id_, "sizeGib": size_gib} for id_, size_gib in overrides]
        return await launch_refusal(alice, imageId=str(image.id), diskOverrides=given)

    field = ["input", "diskOverrides"]
    async with unchanged(alice):
        assert await refusal((NOT_SHOWN, 30)) == ("NOT_FOUND", [*field, "0", "imageDiskId"], "Ecs.0046")
        assert await refusal((other, 30)) == ("NOT_FOUND", [*field, "0", "imageDiskId"], "Ecs.0046")
        assert await refusal((disk_id, 19)) == ("DISK_TOO_SMALL", [*field, "0", "sizeGib"], "Ecs.0046")
        assert await refusal((disk_id, 32769)) == ("DISK_TOO_LARGE", [*field, "0", "sizeGib"], "Ecs.0046")
        twice = await refusal((disk_id, 30), (disk_id, 40))
        assert twice == ("INVALID_INPUT", [*field, "1", "imageDiskId"], "Ecs.0007")


async def test_launch_refuses_an_eleventh_tag(project):
    alice = await project("alice")

    async with unchanged(alice):
        refusal = await launch_refusal(alice, tags=[{"key": f"k{index}"} for index in range(11)])

    assert refusal == ("LIMIT_EXCEEDED", ["input", "tags"], "IMG.0116")


async def test_launch_refuses_what_an_image_cannot_read(project):
    alice = await project("alice")
    await alice.one('mutation { createKeyPair(input: {name: "mine"}) { userErrors { code } } }')
    image_id = str((await make_image(alice.project_id, supports_user_data=False)).id)

    async with unchanged(alice):
        data = await launch_refusal(alice, imageId=image_id, userData="x")
        password = await launch_refusal(alice, imageId=image_id, login={"password": "Abcd1234!"})
        key_pair = await launch_refusal(alice, imageId=image_id, login={"keyPairName": "mine"})

    assert data == ("USER_DATA_UNSUPPORTED", ["input", "userData"], "Ecs.0007")
    assert password == key_pair == ("USER_DATA_UNSUPPORTED", ["input", "login"], "Ecs.0007")


@pytest.mark.parametrize(
    ("resource", "limit", "otc"),
    [
        ("ECS_INSTANCES", 2, "Ecs.0001"),
        ("VCPUS", 2, "Ecs.0001"),
        ("RAM_MIB", 191, "Ecs.0001"),
        ("DISKS", 5, "Ecs.0021"),
        ("DISK_GIB", 32, "Ecs.0021"),
    ],
)
async def test_launch_of_several_counts_all_of_them_against_the_quota(project, resource, limit, otc):
    alice = await project("alice")
    await Quota.filter(project_id=alice.project_id, resource=resource).update(limit=limit)

    async with unchanged(alice):
        refusal = await launch_refusal(alice, count=3, minCount=1, dataDisks=[{"sizeGib": 10}])

    assert refusal == ("QUOTA_EXCEEDED", None, otc)


async def test_launch_needs_a_token_with_scope_ecs(project, service):
    alice = await project("alice")
    reader = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.IMAGES])

    async with unchanged(reader):
        refusal = await launch_refusal(reader)

    assert refusal == ("FORBIDDEN", None, "IMG.0026")
    await reader.close()


async def add_disk(image: Image, *, size_gib: int) -> str:
    """A data disk without bytes in an image; its plain id."""
    content = await Content.create(id=uuid4(), engine="qemu", state=ContentState.SEALED)
    disk = await ImageDisk.create(
        id=uuid4(), image_id=image.id, content_id=content.id, boot_index=1, size_gib=size_gib, is_system=False
    )
    return str(disk.id)
