"""What tests of machines look at: what a project holds, why something was refused, and what lies in the engine's store."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from app.engines.qemu.process import find_machines
from app.settings import Settings
from tests.client import DEADLINE_S, LAUNCH, Client

HOLDINGS = """{ viewer { quotas { resource used } } ecsInstances { totalCount } evsDisks { totalCount }
  images(filter: {visibility: [PRIVATE]}) { totalCount } jobs { totalCount } keyPairs { totalCount } }"""
ECS = """query($id: ID!) { ecsInstance(id: $id) { id uuid name description status fault { code otcCode message at } currentJob { id type }
  flavor { name vcpus ramMib } image { imageId name image { id } } keyPairName launchedAt createdAt updatedAt
  disks { id uuid name sizeGib type status isSystem bootIndex image { imageId name } }
  endpoints { guestPort host port protocol } tags { key value } } }"""
RESULTS = """results { ecsId ecsInstance { id status } job { id type status } error { code field otcCode } }
  userErrors { code field otcCode message }"""
Told = tuple[str, list[str] | None, str | None]
"""Code, field and OTC code of a refusal."""


async def used(client: Client) -> dict[str, int]:
    """What a project uses of its quotas, without what it uses nothing of."""
    viewer = await client.one("{ viewer { quotas { resource used } } }")
    return {quota["resource"]: quota["used"] for quota in viewer["quotas"] if quota["used"]}


async def ecs(client: Client, ecs_id: str) -> dict[str, Any]:
    """A machine with all that is shown of it; None when it is gone."""
    found: dict[str, Any] = await client.one(ECS, id=ecs_id)
    return found


def told(error: dict[str, Any]) -> Told:
    """What is asserted of a refusal."""
    return error["code"], error["field"], error["otcCode"]


@asynccontextmanager
async def unchanged(client: Client) -> AsyncIterator[None]:
    """What is done inside changes nothing that a project has."""
    before = await client.ask(HOLDINGS)
    yield
    assert await client.ask(HOLDINGS) == before


async def launch_refusal(client: Client, **changes: object) -> Told:
    """Why a launch is refused: in a dry run as in earnest."""
    chosen = {"name": "vm", "flavorId": "t1.nano", "exposePorts": []} | changes
    if "imageId" not in chosen:
        chosen["imageId"] = await client.hello()
    wet, dry = await asyncio.gather(
        client.one(LAUNCH, input=chosen), client.one(LAUNCH, input=chosen | {"dryRun": True})
    )
    assert wet == dry
    assert (wet["ecsInstances"], wet["job"]) == ([], None)
    (error,) = wet["userErrors"]
    return told(error)


async def each(client: Client, mutation: str, *ecs_ids: str, **more: object) -> dict[str, Any]:
    """The payload of a mutation that does one thing to many machines."""
    kind = mutation[0].upper() + mutation[1:]
    query = f"mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ {RESULTS} }} }}"
    payload: dict[str, Any] = await client.one(query, input={"ecsIds": list(ecs_ids)} | more)
    return payload


async def operate(client: Client, mutation: str, ecs_id: str, **more: object) -> dict[str, Any]:
    """One thing done to one machine; its job, which has ended."""
    payload = await each(client, mutation, ecs_id, **more)
    assert payload["userErrors"] == [], payload
    return await client.done(payload["results"][0]["job"]["id"])


async def until(client: Client, ecs_id: str, status: str) -> dict[str, Any]:
    """A machine once it has a status, by watching it."""
    query = f"subscription($id: ID!) {{ ecsUpdated(id: $id) {ECS.partition('(id: $id) ')[2].rpartition('}')[0]} }}"
    async with asyncio.timeout(DEADLINE_S), client.subscribe(query, id=ecs_id) as values:
        async for value in values:
            if value["ecsUpdated"]["status"] == status:
                found: dict[str, Any] = value["ecsUpdated"]
                return found
    raise AssertionError(f"it never became {status}")


class Store:
    """The engine's folder, and the processes that run in it."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.data_dir.resolve() / "engine"

    def machine(self, ecs: dict[str, Any]) -> Path:
        """The folder of a machine."""
        return self.root / "machines" / str(ecs["uuid"])

    def pid(self, ecs: dict[str, Any]) -> int | None:
        """The process of a machine."""
        return find_machines(self.root / "machines").get(UUID(ecs["uuid"]))

    def kill(self, ecs: dict[str, Any]) -> None:
        """Have a machine die as by accident."""
        pid = self.pid(ecs)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def remains(self, *uuids: str) -> list[str]:
        """Files named by these machines, disks or contents, and processes of these machines."""
        files = [path.name for path in self.root.glob("*/*") if path.name.removesuffix(".json") in uuids]
        running = [str(machine_id) for machine_id in find_machines(self.root / "machines") if str(machine_id) in uuids]
        return sorted(files + running)
