"""A list of 100 images with 13 fields and their tags, planned and the usual way.

The usual way is plain Strawberry: types made from the ORM's models, DataLoaders for tags and owner, stock execution, `json.dumps`. Both
read the same SQLite file through the same policy, and what they answer is compared before anything is measured.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from uuid import UUID

import orjson
import strawberry
from strawberry import Info
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from app import policy
from app.enums import Architecture, ImageStatus, ImageVisibility
from app.images.models import Image as ImageModel
from app.images.models import ImageTag
from app.policy import Caller
from app.projects.models import Project as ProjectModel
from bench.stage import ROUNDS, Work, analyze, by_turns, database, ratio
from schema import make_schema
from schema.context import Context
from schema.ids import opaque
from schema.scalars import SCALAR_MAP, BigInt
from tests.reading.seed import Sheet, caller_of

IMAGES, TAGS = 5000, 3
QUERY = """query($first: Int!) { images(first: $first) { totalCount pageInfo { hasNextPage } nodes {
  id uuid name description visibility status architecture minDiskGib minRamMib sizeBytes protected createdAt updatedAt
  tags { key value } } } }"""


@dataclass
class StockContext:
    """One per request."""

    caller: Caller
    tags: DataLoader[UUID, list[Tag]]
    projects: DataLoader[UUID, Project]


@strawberry.type
class Tag:
    key: str
    value: str


@strawberry.type
class Project:
    id: strawberry.ID
    name: str


@strawberry.type
class Image:
    id: strawberry.ID
    uuid: UUID
    name: str
    description: str | None
    visibility: ImageVisibility
    status: ImageStatus
    architecture: Architecture | None
    min_disk_gib: int
    min_ram_mib: int
    size_bytes: BigInt | None
    protected: bool
    created_at: datetime
    updated_at: datetime
    project_id: strawberry.Private[UUID]

    @strawberry.field
    async def tags(self, info: Info[StockContext, None]) -> list[Tag]:
        return await info.context.tags.load(self.uuid)

    @strawberry.field
    async def owner(self, info: Info[StockContext, None]) -> Project:
        return await info.context.projects.load(self.project_id)

    @classmethod
    def of(cls, row: ImageModel, caller: Caller) -> Image:
        own = ImageVisibility.PRIVATE if str(row.project_id) == caller.project_id else ImageVisibility.SHARED
        return cls(
            id=opaque("Image", str(row.id)),
            uuid=row.id,
            name=row.name,
            description=row.description,
            visibility=ImageVisibility.PUBLIC if row.is_public else own,
            status=row.status,
            architecture=row.architecture,
            min_disk_gib=row.min_disk_gib,
            min_ram_mib=row.min_ram_mib,
            size_bytes=BigInt(row.stored_bytes) if row.stored_bytes else None,
            protected=row.protected,
            created_at=row.created_at,
            updated_at=row.updated_at,
            project_id=row.project_id,
        )


@strawberry.type
class PageInfo:
    has_next_page: bool


@strawberry.type
class ImageConnection:
    nodes: list[Image]
    page_info: PageInfo
    total_count: int


@strawberry.type
class Query:
    @strawberry.field
    async def images(self, info: Info[StockContext, None], first: int) -> ImageConnection:
        caller = info.context.caller
        query = policy.listed_images(caller)
        rows = await query.order_by("-created_at", "-id").limit(first + 1)
        nodes = [Image.of(row, caller) for row in rows[:first]]
        page_info = PageInfo(has_next_page=len(rows) > first)
        return ImageConnection(nodes=nodes, page_info=page_info, total_count=await query.count())


async def load_tags(ids: list[UUID]) -> list[list[Tag]]:
    found = defaultdict(list)
    for row in await ImageTag.filter(image_id__in=ids).order_by("key", "id"):
        found[row.image_id].append(Tag(key=row.key, value=row.value))
    return [found[id_] for id_ in ids]


async def load_projects(ids: list[UUID]) -> list[Project]:
    found = {row.id: row for row in await ProjectModel.filter(id__in=ids)}
    return [Project(id=opaque("Project", str(id_)), name=found[id_].name) for id_ in ids]


def usual(caller: Caller, *, caches: bool) -> Work:
    """A request to the stock schema, with or without its caches of parsed and validated documents."""
    extensions = [lambda: ParserCache(maxsize=100), lambda: ValidationCache(maxsize=100)] if caches else []
    schema = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=SCALAR_MAP), extensions=extensions)

    async def work() -> str:
        context = StockContext(caller, DataLoader(load_tags), DataLoader(load_projects))
        result = await schema.execute(QUERY, {"first": 100}, context)
        assert not result.errors, result.errors
        return json.dumps({"data": result.data})

    return work


def planned(caller: Caller) -> Work:
    """A request to the service's schema."""
    schema = make_schema()

    async def work() -> str:
        result = await schema.execute(QUERY, {"first": 100}, Context(caller, "bench"))
        assert not result.errors, result.errors
        return orjson.dumps({"data": result.data}).decode()

    return work


async def seed() -> Caller:
    """Images of one's own, public ones, and ones that are shared with one, in turn; and as many that one does not see."""
    sheet = Sheet()
    me, other = sheet.project("me"), sheet.project("other")
    for number in range(IMAGES):
        kind = number % 4
        image = sheet.image(me if kind == 0 else other, tags=TAGS, disks=0, is_public=kind == 1, stored_bytes=number)
        if kind == 2:
            sheet.share(image, me)
    await sheet.write()
    await analyze()
    return caller_of(me)


async def main() -> None:
    async with database():
        caller = await seed()
        works = {
            "planned": planned(caller),
            "usual, caches": usual(caller, caches=True),
            "usual": usual(caller, caches=False),
        }
        answers = [json.loads(str(await work())) for work in works.values()]
        assert answers[0] == answers[1] == answers[2]
        times = await by_turns(works)
    print(f"100 of {IMAGES} images, 13 fields and {TAGS} tags each: medians of {ROUNDS} rounds, by turns")
    print(f"{'':16}{'wall ms':>9}{'CPU ms':>9}   wall ratio to planned   CPU ratio to planned")
    for name, spent in times.items():
        ratios = f"{ratio(spent.wall, times['planned'].wall):>21}  {ratio(spent.cpu, times['planned'].cpu):>21}"
        print(f"{name:16}{median(spent.wall):9.2f}{median(spent.cpu):9.2f}   {ratios}")


if __name__ == "__main__":
    asyncio.run(main())
