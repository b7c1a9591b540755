"""The walk's second part, with a real Linux: alice launches it with a key pair, logs in by SSH, and backs it up while it runs."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.demo.catalogue import install_tiny
from app.demo.client import Client, Refused, connected
from app.demo.screen import Screen
from app.demo.tiny.running import Unavailable
from app.demo.walk import LAUNCH, TAG
from app.errors import EngineError

if TYPE_CHECKING:
    import asyncssh

FLAVOR = "s2.small"
"""The smallest that takes a Linux."""
BOOT_LIMIT_S = 120.0
"""For a Linux without KVM on a busy host: 5 s on a quiet one."""
KEY_PAIR = "demo"
KEY_FILE = "demo.key"
SSH_PORT = 22

_REFUSALS = "userErrors { code message }"
FIND = '{ images(filter: {name: {eq: "tiny"}, visibility: [PUBLIC], status: [ACTIVE]}, first: 1) { nodes { id } } }'
KEY_PAIRS = "{ keyPairs(first: 100) { nodes { id name publicKey } } }"
DELETE_KEY_PAIR = (
    f"mutation ($id: ID!) {{ deleteKeyPair(input: {{keyPairId: $id}}) {{ deletedKeyPairId {_REFUSALS} }} }}"
)
CREATE_KEY_PAIR = f"mutation ($name: String!) {{ createKeyPair(input: {{name: $name}}) {{ keyPair {{ id }} privateKey {_REFUSALS} }} }}"
MACHINE = "query ($id: ID!) { ecsInstance(id: $id) { status endpoints { guestPort host port } } }"
BACKUPS = '{ backups(filter: {name: {eq: "demo-linux"}}, first: 100) { nodes { id } } }'
DELETE_BACKUPS = f"""mutation ($ids: [ID!]!) {{ deleteBackups(input: {{backupIds: $ids}}) {{
  results {{ job {{ id }} }} {_REFUSALS} }} }}"""
BACK_UP = f"""mutation ($id: ID!) {{ createBackup(input: {{ecsId: $id, name: "demo-linux"}}) {{
  backup {{ id }} job {{ id }} {_REFUSALS} }} }}"""
BACKUP = "query ($id: ID!) { backup(id: $id) { consistency } }"
ASK = ". /etc/os-release; echo \"$PRETTY_NAME, $(hostname), $(df -h / | awk 'END { print $4 }') free, up $(cut -d. -f1 /proc/uptime) s\""


async def walk(screen: Screen, url: str, token: str, data_dir: Path) -> str | None:
    """Walk through it; how to log in to the machine, or None where Tiny Linux cannot be had, which is said.

    Raises: StepFailed: a step did not hold.
    """
    try:
        with screen.step("Tiny Linux is there, made of Debian's packages", expected=(Unavailable, EngineError)) as step:
            step.detail = await install_tiny(data_dir, step.done)
        async with connected(url, token) as alice:
            return await _use(screen, alice, data_dir)
    except (Unavailable, EngineError) as error:
        screen.say(f"  - Tiny Linux is left out: {str(error).rstrip('.')}.")
        return None


async def _use(screen: Screen, alice: Client, data_dir: Path) -> str:
    with screen.step("alice launches an ECS from it, with a key pair", expected=(Unavailable,)) as step:
        await _delete_backups(alice)
        key = await _key(alice, data_dir / KEY_FILE)
        ecs_id = await _launched(alice)
        step.detail = f"ACTIVE on {FLAVOR}"
    with screen.step("its console shows its SSH host key") as step:
        async with asyncio.timeout(BOOT_LIMIT_S):
            text = await alice.read_console(ecs_id, "TINY READY")
        host_key = next(line.partition("host key ")[2] for line in text.splitlines() if "TINY host key" in line)
        step.detail = host_key
    with screen.step("she logs in by SSH") as step:
        machine = await alice.ask(MACHINE, id=ecs_id)
        where = next(each for each in machine["endpoints"] if each["guestPort"] == SSH_PORT)
        step.detail = await _told(where["host"], where["port"], key, host_key)
    with screen.step("she backs it up while it runs") as step:
        payload = await alice.ask(BACK_UP, id=ecs_id)
        await alice.finish(payload["job"]["id"])
        consistency = (await alice.ask(BACKUP, id=payload["backup"]["id"]))["consistency"]
        if consistency != "FILESYSTEM":
            raise Refused(f"it is {consistency} consistent, though there is a guest agent")
        step.detail = "its agent had brought the file systems to rest"
    screen.say()
    return f"ssh -i {data_dir / KEY_FILE} -p {where['port']} root@{where['host']}"


async def _delete_backups(alice: Client) -> None:
    """Of machines of earlier walks."""
    if old := [node["id"] for node in (await alice.ask(BACKUPS))["nodes"]]:
        for result in (await alice.ask(DELETE_BACKUPS, ids=old))["results"]:
            await alice.finish(result["job"]["id"])


async def _key(alice: Client, file: Path) -> asyncssh.SSHKey:
    """The private key of her key pair, which is made if she has none that the file goes with."""
    import asyncssh  # late: it takes 0.4 s

    known = next((pair for pair in (await alice.ask(KEY_PAIRS))["nodes"] if pair["name"] == KEY_PAIR), None)
    with suppress(OSError, asyncssh.KeyImportError):
        key = asyncssh.read_private_key(file)
        if known and asyncssh.import_public_key(known["publicKey"]).public_data == key.public_data:
            return key
    if known:
        await alice.ask(DELETE_KEY_PAIR, id=known["id"])
    private = (await alice.ask(CREATE_KEY_PAIR, name=KEY_PAIR))["privateKey"]
    await asyncio.to_thread(_write, file, private)
    return asyncssh.import_private_key(private)


def _write(file: Path, secret: str) -> None:
    """For its owner alone, from the start."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secret)


async def _launched(alice: Client) -> str:
    """The id of a machine that runs. Raises: Unavailable: the host has no room for it."""
    (image,) = (await alice.ask(FIND))["nodes"]
    wanted = {
        "name": "demo-linux",
        "imageId": image["id"],
        "flavorId": FLAVOR,
        "login": {"keyPairName": KEY_PAIR},
        "exposePorts": [SSH_PORT],
        "tags": [TAG],
    }
    payload = await alice.ask(LAUNCH, input=wanted)
    try:
        await alice.finish(payload["job"]["id"])
    except Refused as refused:
        if "NO_CAPACITY" in str(refused):
            raise Unavailable(str(refused)) from refused
        raise
    ecs_id: str = payload["ecsInstances"][0]["id"]
    return ecs_id


async def _told(host: str, port: int, key: asyncssh.SSHKey, host_key: str) -> str:
    """What a machine answers over SSH, if it has the host key that its console tells of."""
    import asyncssh

    known = asyncssh.import_known_hosts(f"[{host}]:{port} {host_key}\n")
    async with (
        asyncio.timeout(BOOT_LIMIT_S),
        asyncssh.connect(host, port, username="root", client_keys=[key], known_hosts=known, config=None) as connection,
    ):
        return str((await connection.run(ASK, check=True)).stdout).strip()
