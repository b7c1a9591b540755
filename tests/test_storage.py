"""What the operator is told of the storage."""

from __future__ import annotations

import asyncio
import json

from app import storage
from app.commands.storage import amount
from app.enums import ImageStatus
from app.fetching import folder
from app.storage import Kind, Storage
from app.worker import make_engine
from tests.backups.looking import back_up
from tests.command import run
from tests.disks.acting import create
from tests.e2e.full_disk import EXPORT
from tests.engines.test_contract_usage import du
from tests.factories import make_image
from tests.uploads.conftest import Sender

MIB, GIB = 1 << 20, 1 << 30


async def seen(service) -> Storage:
    """What is said, once it is what there is: in between, the service may write."""
    async with asyncio.timeout(20):
        while True:
            told = await storage.look(service.settings, make_engine(service.settings).files)
            if told.total_bytes == await du(service.settings.data_dir):
                return told


async def test_bytes_are_counted_once_and_are_whose_they_are(project, service):
    alice, bob = await project("alice"), await project("bob")
    before = await seen(service)

    machine = await alice.launch(userData="fill 1 0 2000 alices\n", dataDisks=[{"sizeGib": 10}])
    await alice.console(machine["id"], until="READY")
    image = await alice.make_image(machine["id"], full=True)
    sealed = await seen(service)
    await back_up(alice, machine["id"])
    await alice.share(image["id"], bob)
    await bob.launch(image["id"], userData="fill 1 4000 1000 bobs\n")
    (machine_of_bob,) = (await bob.one("{ ecsInstances { nodes { id } } }"))["nodes"]
    await bob.console(machine_of_bob["id"], until="READY")
    await create(alice, sizeGib=12)
    sender = Sender(bob, service.settings.data_dir)
    upload = await sender.begin(MIB)
    await sender.patch(upload["url"], 0, b"x" * MIB)
    system = await alice.make_image(machine["id"])
    exporting = await alice.one(EXPORT, input={"imageId": system["id"], "format": "QCOW2"})
    await alice.done(exporting["job"]["id"])
    after = await seen(service)

    took = {kind: after.kinds[kind] - before.kinds[kind] for kind in Kind}
    use = {each.name: each for each in after.projects}
    wrote = 0x2000 * 512
    assert wrote <= sealed.kinds[Kind.IMAGES] - before.kinds[Kind.IMAGES] < wrote + 2 * MIB
    assert wrote <= took[Kind.IMAGES] < wrote + 3 * MIB, "the bytes of the full-ECS image are in no other kind"
    assert 0 < took[Kind.BACKUPS] < MIB
    assert 0x1000 * 512 <= took[Kind.DISKS] < 0x1000 * 512 + 3 * MIB
    assert MIB <= took[Kind.UPLOADS] < MIB + 65536
    assert took[Kind.MACHINES] > 0
    assert took[Kind.EXPORTS] > 0
    assert after.kinds[Kind.RESERVE] == service.settings.records_reserve_bytes
    assert use[alice.name].virtual_bytes == (11 + 11 + 11 + 12 + 1) * GIB
    assert use[bob.name].virtual_bytes == 11 * GIB
    assert wrote <= after.shared_bytes - before.shared_bytes < wrote + 2 * MIB, "bob's disks stand on alice's image"
    assert 0x1000 * 512 + MIB <= use[bob.name].own_bytes < 0x1000 * 512 + 4 * MIB
    assert use[alice.name].own_bytes < 5 * MIB
    assert after.free_bytes > 0
    assert after.reserve_bytes == service.settings.reserve_disk_mib * MIB


async def test_what_is_being_fetched_is_its_project_s(service, project):
    alice = await project("alice")
    image = await make_image(alice.project_id, status=ImageStatus.IMPORTING)
    path = folder.path_of(service.settings.data_dir, image.id)
    path.parent.mkdir(exist_ok=True)
    before = await seen(service)
    path.write_bytes(b"x" * MIB)

    after = await seen(service)
    path.unlink()

    own = {each.name: each.own_bytes for each in after.projects}
    assert own[alice.name] == MIB
    assert after.kinds[Kind.UPLOADS] - before.kinds[Kind.UPLOADS] == MIB


async def test_command_says_the_same_while_the_service_runs(service):
    url = service.settings.database_url
    more = {"DATABASE_URL": url.get_secret_value()} if url else {}

    told, printed = await asyncio.gather(
        run("storage", "--json", "--data", service.settings.data_dir, **more),
        run("storage", "--data", service.settings.data_dir, **more),
    )

    said = json.loads(told.output)
    assert (told.status, printed.status) == (0, 0), (told, printed)
    assert said["totalBytes"] == sum(said["kinds"].values())
    assert list(said["kinds"]) == [kind.value for kind in Kind]
    assert said["reserveBytes"] == 64 * MIB
    assert {"name", "virtualBytes", "ownBytes"} == set(said["projects"][0])
    assert "system" in printed.output
    assert "8.0 MiB" in printed.output, "what is set aside"


async def test_command_needs_the_folder_of_a_service(tmp_path):
    refusal = (await run("storage", "--json", "--data", tmp_path)).refusal()

    assert "There is no database in" in refusal


def test_amounts_are_short():
    assert [amount(size) for size in (0, 1023, 1024, 1536 * MIB, 5000 * GIB * 1024)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 GiB",
        "5000.0 TiB",
    ]
