"""What benches share: a database of their own, a caller, and measuring by turns."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import structlog
from tortoise.context import TortoiseContext

from app import db, migrating
from app.settings import Settings
from app.worker import introduce, make_engine

ROUNDS = 21

Work = Callable[[], Awaitable[object]]


@asynccontextmanager
async def database() -> AsyncIterator[None]:
    """An empty SQLite database, and an engine that is known, but runs nothing."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with TortoiseContext():
            await db.connect(None, folder, everywhere=False)
            await migrating.migrate()
            introduce(make_engine(Settings(data_dir=folder)))
            yield
            await db.disconnect()


async def analyze() -> None:
    """Let SQLite's planner know the tables, as those of a service in use are known."""
    await db.execute("ANALYZE")


@dataclass
class Times:
    """Milliseconds of each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


async def by_turns(works: Mapping[str, Work], *, rounds: int = ROUNDS, repeat: int = 3) -> dict[str, Times]:
    """Each work so many times in each round, so that a noisy moment disturbs all of them alike; two rounds before are for warming up."""
    times = {name: Times() for name in works}
    for number in range(-2, rounds):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeat):
                await work()
            if number >= 0:
                times[name].wall.append((time.perf_counter() - wall) * 1000 / repeat)
                times[name].cpu.append((time.process_time() - cpu) * 1000 / repeat)
    return times


def ratio(slow: list[float], fast: list[float]) -> str:
    """The median of the rounds' ratios, and the middle half of them."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return f"{median(ratios):5.2f} ({low:.2f}-{high:.2f})"
