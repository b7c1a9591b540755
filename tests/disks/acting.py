"""What tests of disks do all the time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app import db, states
from app.enums import JobStatus
from app.jobs.models import Job
from tests.client import CREATE_IMAGE, Client
from tests.ecs.looking import Told, told

DISK = (
    """id uuid name sizeGib type status isSystem bootIndex ecsInstance { id } image { imageId name } fault { code }"""
)
ERRORS = "userErrors { code field otcCode message }"
CREATE = f"""mutation($input: CreateEvsDisksInput!) {{ createEvsDisks(input: $input) {{
  evsDisks {{ {DISK} }} job {{ id type evsDisks {{ id }} }} {ERRORS} }} }}"""
DELETE = f"""mutation($ids: [ID!]!) {{ deleteEvsDisks(input: {{diskIds: $ids}}) {{
  results {{ diskId evsDisk {{ id status }} job {{ id type }} error {{ code field otcCode }} }} {ERRORS} }} }}"""
IMAGE = "query($id: ID!) { image(id: $id) { viewerCan uuid kind status minDiskGib os { type platform } disks { sizeGib isSystem } } }"


async def create(client: Client, *, wait: bool = True, **more: object) -> list[dict[str, Any]]:
    """Disks that are there."""
    payload = await client.one(CREATE, input={"name": "disk"} | ({} if "imageId" in more else {"sizeGib": 10}) | more)
    assert payload["userErrors"] == [], payload
    if wait:
        await client.done(payload["job"]["id"])
    disks: list[dict[str, Any]] = payload["evsDisks"]
    return disks


async def disk(client: Client, disk_id: str) -> dict[str, Any]:
    """A disk with all that is shown of it."""
    found: dict[str, Any] = await client.one(f"query($id: ID!) {{ evsDisk(id: $id) {{ {DISK} }} }}", id=disk_id)
    return found


async def change(client: Client, mutation: str, **input: object) -> dict[str, Any]:
    """The payload of attachEvsDisk, detachEvsDisk or extendEvsDisk."""
    kind = mutation[0].upper() + mutation[1:]
    query = f"mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ evsDisk {{ {DISK} }} job {{ id type }} {ERRORS} }} }}"
    payload: dict[str, Any] = await client.one(query, input=input)
    return payload


async def changed(client: Client, mutation: str, **input: object) -> dict[str, Any]:
    """The disk after such a mutation's job has succeeded."""
    payload = await change(client, mutation, **input)
    assert payload["userErrors"] == [], payload
    await client.done(payload["job"]["id"])
    return await disk(client, payload["evsDisk"]["id"])


async def refusal(client: Client, mutation: str, **input: object) -> Told:
    """Why such a mutation is refused."""
    payload = await change(client, mutation, **input)
    assert (payload["evsDisk"], payload["job"]) == (None, None), payload
    (error,) = payload["userErrors"]
    return told(error)


async def image_of(client: Client, source: dict[str, object], *, wait: bool = True, **more: object) -> dict[str, Any]:
    """An image from a source."""
    payload = await client.one(CREATE_IMAGE, input={"name": "data", "source": source} | more)
    assert payload["userErrors"] == [], payload
    if wait:
        await client.done(payload["job"]["id"])
    image: dict[str, Any] = payload["image"]
    return image | {"jobId": payload["job"]["id"], "warnings": [warning["code"] for warning in payload["warnings"]]}


async def image_refusal(client: Client, source: dict[str, object], **more: object) -> Told:
    """Why an image is refused: in a dry run as in earnest."""
    chosen = {"name": "image", "source": source} | more
    wet, dry = [await client.one(CREATE_IMAGE, input=chosen | {"dryRun": is_dry}) for is_dry in (False, True)]
    assert wet == dry
    assert (wet["image"], wet["job"]) == (None, None)
    (error,) = wet["userErrors"]
    return told(error)


async def again(job_uuid: UUID, **fault: object) -> None:
    """Have a job that has ended run once more, or with a fault only be abandoned: as after a kill just before it was written down."""
    async with db.transaction():
        columns = {"status": JobStatus.INIT, "attempt": 0, "run_at": db.now(), "finished_at": None, "progress": 0.0}
        await Job.filter(id=job_uuid).update(**columns, **fault)
        await states.tell("Job", job_uuid)
