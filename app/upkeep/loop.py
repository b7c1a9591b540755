"""The loop of upkeep: one thing at a time, the most urgent first, and a rest after each.

What there is to do is in rows and in the store, so a kill at any point loses nothing but the work of a moment: what was not written down
is done again. Jobs wake the loop; else it looks by itself now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from tortoise.expressions import Q, RawSQL, Subquery
from tortoise.functions import Count
from tortoise.queryset import QuerySet

from app import db, events
from app.backups.models import BackupDisk
from app.contents.models import Content
from app.ecs.models import EcsInstance
from app.engines.base import Engine
from app.enums import ContentState
from app.errors import EngineError
from app.images.models import ImageDisk
from app.settings import Settings
from app.upkeep import checking, damage
from app.upkeep.pace import Pace
from app.upkeep.shortening import next_long, shorten

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 600.0
"""Although nothing woke it."""
DAMAGED_EVERY_S = 3600.0
"""A damaged content is looked at again, in case the operator has put its bytes back."""
LATER_S = 600.0
"""Before something that failed is tried again."""
GATHER_S = 0.2
"""Jobs tell of themselves often; their news are taken together."""
OFTEN = 3
"""ECSs of an image, from which on it counts as launched often."""


class Upkeep:
    """Checksums of new contents, looks at old ones, short chains."""

    def __init__(self, settings: Settings, engine: Engine, *, is_busy: Callable[[], bool]) -> None:
        """`is_busy`: whether jobs copy, so that it is to step aside."""
        self._engine, self._max_layers = engine, settings.max_layers
        self._scrub_every_s = settings.scrub_every_h * 3600
        self._pace = Pace(settings.upkeep_percent, is_busy=is_busy)
        self._urgent: set[UUID] = set()
        self._not_before: dict[UUID, float] = {}
        self._wake = asyncio.Event()
        self._chains_may_be_long = True
        self._assess_at = 0.0

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """While open, it goes on by itself."""
        async with events.listen(lambda event: event.noun == "Job") as listener:
            tasks = [asyncio.create_task(self._listen(listener)), asyncio.create_task(self._run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, listener: events.Listener) -> None:
        async for _ in listener:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            wait_s = LOOK_EVERY_S
            try:
                while await self.do_next():
                    await self._pace.rest()
                wait_s = await self._until_due_s()
            except Exception:
                log.exception("upkeep_failed")
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                self._chains_may_be_long = True

    async def do_next(self) -> bool:
        """Do the most urgent thing; whether there was any."""
        self._pace.begin()
        await self._assess_now_and_then()
        new = await self._first(_new())
        # Each seal that lasts makes a new content, here or where it is copied to.
        if (new or self._chains_may_be_long) and await self._shorten_one():
            return True
        chosen = new or await self._next_old()
        if chosen is None:
            return False
        self._urgent.discard(chosen)
        self._chains_may_be_long |= new is not None
        await self._look_at(chosen)
        return True

    async def _look_at(self, content_id: UUID) -> None:
        self._not_before[content_id] = self._now() + min(DAMAGED_EVERY_S, self._scrub_every_s)
        try:
            looked = await checking.look_at(self._engine, content_id, self._pace)
        except EngineError as error:
            log.warning("content_not_looked_at", content_id=str(content_id), reason=error.message)
            self._not_before[content_id] = self._now() + LATER_S
            return
        self._urgent |= looked.others
        for id_ in looked.others | ({content_id} if looked.is_right else set()):
            self._not_before.pop(id_, None)

    async def _shorten_one(self) -> bool:
        chains = await self._engine.contents.chains()
        but = self._waiting() | await damage.all_hit(chains)
        id_ = next_long(chains, max_layers=self._max_layers, launched=await _launched_often(), but=but)
        self._chains_may_be_long = id_ is not None
        if id_ is None:
            return False
        try:
            await shorten(self._engine.contents, id_, chains)
        except EngineError as error:
            log.warning("chain_not_shortened", id=str(id_), reason=error.message)
            self._not_before[id_] = self._now() + LATER_S
        return True

    async def _next_old(self) -> UUID | None:
        """What is to be looked at again: what others give a reason to, what is damaged, what has not been for long."""
        sealed = Content.filter(state=ContentState.SEALED)
        for query in (
            sealed.filter(id__in=list(self._urgent), damaged_at__isnull=True),
            # From below: what stands on others may show that it is not hit once these are settled.
            sealed.filter(damaged_at__isnull=False).order_by("created_at", "id"),
            self._due().filter(verified_at__lt=db.now() - timedelta(seconds=self._scrub_every_s)),
        ):
            if found := await self._first(query):
                return found
        return None

    @staticmethod
    def _due() -> QuerySet[Content]:
        known = Content.filter(state=ContentState.SEALED, damaged_at__isnull=True, verified_at__isnull=False)
        return known.order_by("verified_at", "id")

    async def _first(self, query: QuerySet[Content]) -> UUID | None:
        waiting = self._waiting()
        found: list[Any] = list(await query.limit(len(waiting) + 1).values_list("id", flat=True))
        return next((id_ for id_ in found if id_ not in waiting), None)

    async def _until_due_s(self) -> float:
        due_s = [LOOK_EVERY_S, *(moment - self._now() for moment in self._not_before.values())]
        for content in await self._due().limit(1):
            assert content.verified_at is not None
            due_s.append(self._scrub_every_s - (db.now() - content.verified_at).total_seconds())
        return max(GATHER_S, min(due_s))

    async def _assess_now_and_then(self) -> None:
        """Faults are right whatever befell the rows meanwhile: a kill, an image that became ACTIVE, a machine that was started."""
        if self._now() < self._assess_at:
            return
        chains = await self._engine.contents.chains()
        async with db.transaction():
            change = await damage.assess(chains)
        change.tell()
        self._assess_at = self._now() + DAMAGED_EVERY_S

    def _waiting(self) -> set[UUID]:
        """What is not to be tried again yet."""
        now = self._now()
        self._not_before = {id_: moment for id_, moment in self._not_before.items() if moment > now}
        return set(self._not_before)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _new() -> QuerySet[Content]:
    """Contents of images and backups that have no checksum, the oldest first; those that jobs hold for a moment get none."""
    lacking = Content.filter(state=ContentState.SEALED, sha256__isnull=True, damaged_at__isnull=True)
    held = Q(id__in=Subquery(_holding(ImageDisk))) | Q(id__in=Subquery(_holding(BackupDisk)))
    return lacking.filter(held).order_by("created_at", "id")


def _holding(model: type[ImageDisk | BackupDisk]) -> Any:
    return model.filter(content_id=RawSQL('"content"."id"')).values("content_id")


async def _launched_often() -> set[UUID]:
    """Contents of images from which several ECSs were made."""
    counted = EcsInstance.all().annotate(number=Count("id")).group_by("image_id").filter(number__gte=OFTEN)
    images: list[Any] = list(await counted.values_list("image_id", flat=True))
    contents: list[Any] = list(await ImageDisk.filter(image_id__in=images).values_list("content_id", flat=True))
    return set(contents)
