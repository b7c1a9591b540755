"""How many SQL statements lists of 1, 10 and 100 images take, and what one image with 20,000 machines costs a list."""

from __future__ import annotations

import asyncio
import logging
from statistics import median

from app.enums import ImageSourceKind
from app.policy import Caller
from bench.stage import ROUNDS, Times, Work, analyze, by_turns, database, ratio
from schema import make_schema
from schema.context import Context
from tests.reading.seed import Sheet, caller_of

IMAGES, MACHINES, MANY = 100, 20_000, 20_000
FEW = 6
"""Machines of each other image: one more than a page shows."""
QUERY = """query($first: Int!) { images(first: $first) { nodes {
  id name tags { key value } owner { name } ecsInstances(first: 5) { nodes { id name status } }
  ... on PrivateImage { source { kind image { name image { name } } ecs { name ecsInstance { status } } }
    members(first: 5) { nodes { status project { name } } } } } } }"""
SCHEMA = make_schema()


def listing(caller: Caller, first: int) -> Work:
    """A request for a page."""

    async def work() -> object:
        result = await SCHEMA.execute(QUERY, {"first": first}, Context(caller, "bench"))
        assert not result.errors, result.errors
        return result.data

    return work


async def seed(sizes: list[int]) -> Caller:
    """A project with an image for each size, which so many machines were launched from."""
    sheet = Sheet()
    owner, flavor = sheet.project("owner"), sheet.flavor()
    for size in sizes:
        image = sheet.image(owner, tags=3, disks=0, source_kind=ImageSourceKind.ECS)
        for _ in range(FEW):
            sheet.share(image, sheet.project("member"))
        machines = [sheet.machine(owner, image, flavor, tags=0, disks=0) for _ in range(size)]
        image.source_ecs_id, image.source_ecs_name = machines[0].id, machines[0].name
        image.source_image_id, image.source_image_name = image.id, image.name
        await sheet.write()
    return caller_of(owner)


class Statements(logging.Handler):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.number = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.number += 1


async def statements(work: Work) -> int:
    """How many SQL statements it takes."""
    logger, counter = logging.getLogger("tortoise.db_client"), Statements()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(counter)
    await work()
    logger.removeHandler(counter)
    logger.setLevel(logging.WARNING)
    return counter.number


def row(name: str, times: Times, even: Times) -> str:
    return f"{name:46}{median(times.wall):9.2f}{median(times.cpu):9.2f}   {ratio(times.wall, even.wall)}"


async def main() -> None:
    async with database():
        even = await seed([MACHINES // IMAGES] * IMAGES)
        skewed = await seed([FEW] * (IMAGES - 1) + [MANY])
        await analyze()
        print("SQL statements of a list with tags, owner, source, members(first: 5), ecsInstances(first: 5)")
        for first in (1, 10, 100):
            print(f"  {first:3} images: {await statements(listing(even, first))}")
        works = {"even": listing(even, 100), "skewed": listing(skewed, 100)}
        times = await by_turns(works, repeat=1)
    print(f"\nThe same list of {IMAGES} images: medians of {ROUNDS} rounds, by turns")
    print(f"{'':46}{'wall ms':>9}{'CPU ms':>9}   wall ratio to even")
    print(row(f"even: {MACHINES // IMAGES} machines each", times["even"], times["even"]))
    print(row(f"skewed: one has {MANY}, the others {FEW}", times["skewed"], times["even"]))


if __name__ == "__main__":
    asyncio.run(main())
