"""A real Linux does what the service promises: it is uploaded as anybody's disk file, launched, backed up and restored.

One machine with a key pair, user data and a data disk, and one that its backup is restored to, with a password; both for all tests here.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from app.demo.tiny import building
from tests.backups.looking import RESTORE, back_up, shown
from tests.client import CREATE_IMAGE, DEADLINE_S, Client
from tests.command import CACHE
from tests.disks.acting import changed, create
from tests.ecs.looking import ecs, operate
from tests.factories import make_client
from tests.uploads.conftest import Sender

FLAVOR = "s2.small"
PASSWORD = "Correct-Horse-7"
USER_DATA = "#!/bin/sh\necho ran by $(id -un) >> /root/ran\n"
CREATE_KEY_PAIR = """mutation($input: CreateKeyPairInput!) { createKeyPair(input: $input) { keyPair { name } userErrors { code } } }"""
FILES = {"hello.txt": b"from a data disk image\n", "deep/down/zeros": bytes(100_000)}


@dataclass
class Linux:
    """A machine, and who may log in to it."""

    client: Client
    ecs_id: str
    login: dict[str, Any]
    boots: int = 1
    keys: dict[int, str] = field(default_factory=dict)

    async def host_key(self) -> str:
        """Its SSH host key, from the console of its last boot, once everything has started."""
        query = "subscription($id: ID!) { ecsConsole(id: $id, fromOffset: 0) { text } }"
        text = ""
        async with asyncio.timeout(DEADLINE_S), self.client.subscribe(query, id=self.ecs_id) as values:
            async for value in values:
                text += value["ecsConsole"]["text"]
                if text.count("TINY READY") == self.boots:
                    break
        return text.rpartition("TINY host key ")[2].splitlines()[0].strip()

    async def run(self, script: str, **login: Any) -> str:
        """What a script says that is run over SSH, by the machine whose key the console has shown."""
        host_key = await self.host_key()
        (endpoint,) = (await ecs(self.client, self.ecs_id))["endpoints"]
        host, port = endpoint["host"], endpoint["port"]
        known = asyncssh.import_known_hosts(f"[{host}]:{port} {host_key}\n")
        options = {"client_keys": None} | self.login | login
        async with (
            asyncio.timeout(DEADLINE_S),
            asyncssh.connect(host, port, username="root", known_hosts=known, config=None, **options) as connection,
        ):
            done = await connection.run(script)
            assert done.exit_status == 0, f"{script}: {done.stderr}"
            return str(done.stdout)


async def uploaded(client: Client, service: Any, path: Path, **source: object) -> str:
    """The id of an image of a disk file."""
    sender = Sender(client, service.settings.data_dir)
    content = await asyncio.to_thread(path.read_bytes)
    upload = await sender.begin(len(content), fileName=path.name)
    assert (await sender.patch(upload["url"], 0, content)).status_code == 204
    wanted = {"upload": {"uploadId": upload["id"], "format": "RAW"} | source}
    payload = await client.one(CREATE_IMAGE, input={"name": path.stem, "source": wanted})
    assert payload["userErrors"] == [], payload
    await client.done(payload["job"]["id"])
    image_id: str = payload["image"]["id"]
    return image_id


@pytest.fixture(scope="module")
async def alice(service: Any) -> AsyncIterator[Client]:
    client = await make_client(service.url, "alice")
    yield client
    await client.clean_up()
    await client.close()


@pytest.fixture(scope="module")
async def system_image(alice: Client, service: Any) -> str:
    path, _ = await building.provide(CACHE / "image-service" / "tiny", lambda _done, _note: None)
    return await uploaded(alice, service, path, os={"type": "LINUX"}, architecture="X86_64", firmware="BIOS")


@pytest.fixture(scope="module")
def data_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, content in FILES.items():
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_bytes(content)
    make = ["/sbin/mke2fs", "-q", "-t", "ext4", "-d", folder / "files", folder / "data.raw", "16M"]
    subprocess.run(make, check=True)
    return folder / "data.raw"


@pytest.fixture(scope="module")
async def linux(alice: Client, service: Any, system_image: str, data_disk: Path) -> Linux:
    data_image = await uploaded(alice, service, data_disk, kind="DATA_DISK")
    key = asyncssh.generate_private_key("ssh-ed25519", comment='alice "at" home')
    public_key = key.export_public_key().decode().strip()
    await alice.one(CREATE_KEY_PAIR, input={"name": "alice", "publicKey": public_key})
    machine = await alice.launch(
        system_image,
        name="web-1",
        flavorId=FLAVOR,
        login={"keyPairName": "alice"},
        exposePorts=[22],
        userData=USER_DATA,
        dataDisks=[{"imageId": data_image}],
    )
    return Linux(alice, machine["id"], {"client_keys": [key]})


@pytest.fixture(scope="module")
async def backup(linux: Linux) -> dict[str, Any]:
    """Of the running machine, right after something was written that nobody has brought to the disk."""
    await linux.run("mount /dev/vdb /mnt; echo unsaved > /root/note; echo unsaved > /mnt/note")
    made = await back_up(linux.client, linux.ecs_id)
    await linux.run("umount /mnt")
    return made


@pytest.fixture(scope="module")
async def restored(backup: dict[str, Any], linux: Linux) -> Linux:
    """A new machine from the backup, without the old one's key pair."""
    new = {"name": "web-2", "flavorId": FLAVOR, "login": {"password": PASSWORD}, "exposePorts": [22]}
    payload = await linux.client.one(RESTORE, input={"backupId": backup["id"], "target": {"newEcs": new}})
    assert payload["userErrors"] == [], payload
    await linux.client.done(payload["job"]["id"])
    return Linux(linux.client, payload["ecsInstance"]["id"], {"password": PASSWORD})


async def test_key_pair_of_the_launch_logs_in_and_nobody_elses(linux):
    stranger = asyncssh.generate_private_key("ssh-ed25519")

    said = await linux.run("hostname; id -un; . /etc/os-release; echo $ID; stat -c %a%U /etc/shadow; cat /root/ran")

    assert said.splitlines() == ["web-1", "root", "tiny", "600root", "ran by root"]
    for wrong in ({"client_keys": [stranger]}, {"client_keys": None, "password": PASSWORD}):
        with pytest.raises(asyncssh.PermissionDenied):
            await linux.run("id", **wrong)


async def test_root_file_system_takes_the_whole_disk(linux):
    free_mib = int(await linux.run("df -m / | awk 'END { print $4 }'"))

    assert 900 < free_mib < 1024


async def test_data_disk_of_an_image_has_its_files(linux):
    said = await linux.run(
        "mount -o ro /dev/vdb /mnt; cd /mnt; cat hello.txt; wc -c < deep/down/zeros; cd /; umount /mnt"
    )

    assert said.splitlines() == ["from a data disk image", "100000"]


async def test_disk_that_is_attached_while_it_runs_takes_a_file_system(linux):
    (disk,) = await create(linux.client)
    make = "mkfs.ext4 -q /dev/vdd && mount /dev/vdd /mnt && echo kept > /mnt/file && umount /mnt"
    await linux.host_key()  # it has seen its other disks: the seed after the last of them is /dev/vdc

    await changed(linux.client, "attachEvsDisk", diskId=disk["id"], ecsId=linux.ecs_id)
    await linux.run(f"until [ -b /dev/vdd ]; do sleep 0.05; done; {make}")
    await changed(linux.client, "detachEvsDisk", diskId=disk["id"])
    await linux.run("while [ -b /dev/vdd ]; do sleep 0.05; done")
    await changed(linux.client, "attachEvsDisk", diskId=disk["id"], ecsId=linux.ecs_id)
    said = await linux.run(
        "until [ -b /dev/vdd ]; do sleep 0.05; done; mount /dev/vdd /mnt; cat /mnt/file; umount /mnt"
    )
    await changed(linux.client, "detachEvsDisk", diskId=disk["id"])

    assert said == "kept\n"


async def test_power_button_ends_it_in_good_order(linux):
    before = await linux.host_key()

    await operate(linux.client, "stopEcs", linux.ecs_id)
    stopped = await linux.client.console(linux.ecs_id, until="TINY BYE")
    await operate(linux.client, "startEcs", linux.ecs_id)
    linux.boots += 1
    said = await linux.run("cat /root/ran; dmesg | grep -c recovery || true")

    assert stopped.count("TINY READY") == linux.boots - 1
    assert said.splitlines() == ["ran by root", "0"], "its user data ran once, and its journal was empty"
    assert await linux.host_key() == before


async def test_backup_of_a_running_linux_is_file_system_consistent(linux, backup):
    assert (await shown(linux.client, backup["id"]))["consistency"] == "FILESYSTEM"
    assert backup["warnings"] == [{"code": "CRASH_CONSISTENT", "field": ["input", "ecsId"]}]


async def test_restored_linux_has_all_that_was_written_before_the_freeze(restored):
    said = await restored.run(
        "cat /root/note; mount -o ro /dev/vdb /mnt; cat /mnt/note /mnt/hello.txt; umount /mnt; dmesg"
    )

    assert said.startswith("unsaved\nunsaved\nfrom a data disk image\n")
    assert "EXT4-fs (vda2): mounted" in said
    assert "recovery" not in said


async def test_restored_linux_is_another_machine(linux, restored):
    said = await restored.run("hostname; wc -l < /root/ran; wc -c < /root/.ssh/authorized_keys")

    assert said.splitlines() == ["web-2", "1", "0"]
    assert await restored.host_key() != await linux.host_key()
    with pytest.raises(asyncssh.PermissionDenied):
        await restored.run("id", **linux.login, password=None)


async def test_console_asks_for_the_password_where_there_is_one(linux, restored):
    open_console = await linux.client.console(linux.ecs_id, until="root@web-1:~# ")
    closed = await restored.client.console(restored.ecs_id, until="web-2 login: ")

    assert "login:" not in open_console
    assert "root@" not in closed
