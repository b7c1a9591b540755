"""What tests of backups ask for all the time."""

from __future__ import annotations

from typing import Any

from tests.client import Client

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
