"""What tests of sharing ask for."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

from app.enums import ShareStatus
from app.images.models import Image
from app.projects.models import Project
from app.sharing.models import ImageMember
from tests.client import Client

SHARE = """mutation($input: ShareImagesInput!) { shareImages(input: $input) {
  results { imageId projectId outcome member { id status project { uuid } } error { code otcCode field } }
  userErrors { code otcCode field } } }"""
UNSHARE = """mutation($input: UnshareImagesInput!) { unshareImages(input: $input) {
  results { imageId projectId outcome member { id } error { code otcCode field } } userErrors { code otcCode field } } }"""
ACCEPT = """mutation($ids: [ID!]!) { acceptShares(input: {imageIds: $ids}) {
  results { imageId image { id tags { key } ... on SharedImage { membership { status } } } error { code field } }
  userErrors { code otcCode field } } }"""
REJECT = ACCEPT.replace("acceptShares", "rejectShares")
LISTED = "query($f: ImageFilter) { images(filter: $f, first: 100) { nodes { uuid } } }"


def opaque(noun: str, id_: object) -> str:
    return b64encode(f"{noun}:{id_}".encode()).decode()


async def make_projects(number: int) -> list[str]:
    """Ids of projects without tokens or quotas, which nobody uses but to share with."""
    rows = [Project(id=uuid4(), name=f"p-{uuid4().hex}") for _ in range(number)]
    await Project.bulk_create(rows)
    return [str(row.id) for row in rows]


async def fill(image: Image, members: int) -> None:
    ids = await make_projects(members)
    rows = [ImageMember(id=uuid4(), image_id=image.id, project_id=UUID(id_), status=ShareStatus.PENDING) for id_ in ids]
    await ImageMember.bulk_create(rows)


async def share(client: Client, images: list[Any], projects: list[Any], **more: object) -> dict[str, Any]:
    given = {"imageIds": [str(getattr(i, "id", i)) for i in images], "projectIds": projects, **more}
    answer: dict[str, Any] = await client.one(SHARE, input=given)
    return answer


async def outcomes(client: Client, images: list[Any], projects: list[Any], **more: object) -> list[str]:
    return [result["outcome"] for result in (await share(client, images, projects, **more))["results"]]


async def unshare(client: Client, images: list[Any], projects: list[Any]) -> dict[str, Any]:
    given = {"imageIds": [str(getattr(i, "id", i)) for i in images], "projectIds": projects}
    answer: dict[str, Any] = await client.one(UNSHARE, input=given)
    return answer


async def listed(client: Client, **where: object) -> set[str]:
    return {node["uuid"] for node in (await client.one(LISTED, f=where))["nodes"]}


async def members(image: Image) -> list[dict[str, Any]]:
    return await ImageMember.filter(image_id=image.id).order_by("id").values()
