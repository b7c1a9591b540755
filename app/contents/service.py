"""Who holds a content: while an image disk, or an EVS disk yet to be made, points at it, it stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from app import states
from app.contents.models import Content
from app.enums import ContentState, JobType
from app.jobs import queue


@dataclass(frozen=True, slots=True)
class Health:
    """How many contents there are, and of how many of them the bytes are known to be right."""

    sealed: int
    unverified: int
    """Not looked at yet."""
    damaged: int


async def health() -> Health:
    """What an operator wants to know of the contents."""
    sealed = Content.filter(state=ContentState.SEALED)
    return Health(
        sealed=await sealed.count(),
        unverified=await sealed.filter(verified_at__isnull=True).count(),
        damaged=await sealed.filter(damaged_at__isnull=False).count(),
    )


HOLDERS = ("ImageDisk", "EvsDisk", "BackupDisk")
"""Tables whose column content_id holds a content."""


async def expect(engine: str, number: int = 1) -> list[UUID]:
    """Ids of contents that are to be: names before bytes."""
    ids = [uuid4() for _ in range(number)]
    await Content.bulk_create([Content(id=id_, engine=engine, state=ContentState.PENDING) for id_ in ids])
    return ids


async def let_go(content_ids: Iterable[UUID], *, project_id: UUID, image_id: UUID | None = None) -> UUID | None:
    """After holders were removed, in the same transaction: contents that nobody holds any more go, by a job.

    Returns: the job, if there is anything to do.
    """
    released = await give_up(content_ids)
    if not released:
        return None
    return await queue.enqueue(
        JobType.DELETE_IMAGE,
        project_id=project_id,
        image_id=image_id,
        input={"content_ids": [str(content_id) for content_id in released]},
    )


async def give_up(content_ids: Iterable[UUID]) -> list[UUID]:
    """The same without a job: the caller has the engine release those that it answers, and forgets them."""
    ids, released = sorted(set(content_ids)), list[UUID]()
    # Locked first: of two that remove the last two holders, the second sees that it was the last.
    await Content.filter(id__in=ids).order_by("id").select_for_update()
    for content_id in ids:
        held = [await states.table(holder).exists(content_id=content_id) for holder in HOLDERS]
        if not any(held) and await states.CONTENT.move(content_id, ContentState.RELEASED):
            released.append(content_id)
    return released


async def forget(content_ids: Sequence[UUID]) -> None:
    """The engine has let them go."""
    await Content.filter(id__in=list(content_ids), state=ContentState.RELEASED).delete()
