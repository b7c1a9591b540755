"""What tests of backups ask for all the time."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from typing import Any

from app.backups.models import BackupDisk
from tests.client import Client
from tests.ecs import looking
from tests.ecs.looking import Told, told

CREATE = """mutation($input: CreateBackupInput!) { createBackup(input: $input) {
  backup { id uuid name status } job { id type backup { id } ecsInstances { id } } warnings { code field }
  userErrors { code otcCode field message } } }"""
DELETE = """mutation($ids: [ID!]!) { deleteBackups(input: {backupIds: $ids}) { results { backupId backup { id status }
  job { id type } error { code otcCode field } } userErrors { code otcCode field message } } }"""
RESTORE = """mutation($input: RestoreBackupInput!) { restoreBackup(input: $input) {
  ecsInstance { id uuid name status currentJob { id } } job { id type backup { id } } userErrors { code otcCode field message } } }"""
BACKUP = """query($id: ID!) { backup(id: $id) { id uuid name status fault { code } consistency changedBytes createdAt
  ecs { ecsId name ecsInstance { id } } image { id name }
  disks { id bootIndex sizeGib isSystem contentBytes } } }"""


async def back_up(client: Client, ecs_id: str, *, wait: bool = True, **more: object) -> dict[str, Any]:
    """A backup of a machine."""
    payload = await client.one(CREATE, input={"ecsId": ecs_id, "name": "backup"} | more)
    assert payload["userErrors"] == [], payload
    if wait:
        await client.done(payload["job"]["id"])
    backup: dict[str, Any] = payload["backup"]
    return backup | {"jobId": payload["job"]["id"], "warnings": payload["warnings"]}


async def shown(client: Client, backup_id: str) -> dict[str, Any]:
    """All that is shown of a backup; None when it is gone."""
    found: dict[str, Any] = await client.one(BACKUP, id=backup_id)
    return found


async def delete_backups(client: Client, *ids: str) -> None:
    """Delete backups, and wait until they are gone."""
    payload = await client.one(DELETE, ids=list(ids))
    assert payload["userErrors"] == [], payload
    for result in payload["results"]:
        await client.done(result["job"]["id"])


async def refusal(client: Client, mutation: str, **input: object) -> Told:
    """Why something that does one thing is refused."""
    payload = await client.one(mutation, input=input)
    (error,) = payload["userErrors"]
    assert all(value in (None, []) for name, value in payload.items() if name != "userErrors")
    return told(error)


class Store(looking.Store):
    """The same, with what contents hold."""

    async def contents_of(self, backup: dict[str, Any]) -> list[str]:
        """The plain ids of a backup's contents, the system disk's first."""
        disks = await BackupDisk.filter(backup_id=backup["uuid"]).order_by("boot_index")
        return [str(disk.content_id) for disk in disks]

    def hash(self, content_id: str) -> str:
        """What tells the first MiB of a content, as a machine sees it, from others; where hello's programs write."""
        layer = json.loads((self.root / "contents" / f"{content_id}.json").read_text())["layer"]
        source, target = self.root / "layers" / f"{layer}.qcow2", self.root.parent / f"{content_id}.raw"
        command = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=1M", "count=1", f"if={source}", f"of={target}"]
        subprocess.run(command, check=True, capture_output=True)
        digest = sha256(target.read_bytes()).hexdigest()
        target.unlink()
        return digest
