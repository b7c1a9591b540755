"""Long chains made short: one flat layer for each so many seals, so that the hundredth backup is no slower than the tenth."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import structlog

from app.engines.base import Chains, Contents
from app.errors import NotFound

log = structlog.get_logger(__name__)

AT_MOST = 2
"""Times the limit, that a content which nobody launches may stand on."""


def next_long(
    chains: Chains, *, max_layers: int, launched: Collection[UUID], but: Collection[UUID] = ()
) -> UUID | None:
    """What to shorten next, the longest first: a disk beyond the limit; a content beyond it, if it is launched often, or far beyond it.

    Contents that are a little too long cost their launches milliseconds and a flat layer each its whole size: those wait.
    """
    disks = {disk_id: len(chain) for disk_id, chain in chains.disks.items() if len(chain) > max_layers}
    contents = {
        content_id: len(chain)
        for content_id, chain in chains.contents.items()
        if len(chain) > (max_layers if content_id in launched else AT_MOST * max_layers)
    }
    for found in (disks, contents):
        if long := found.keys() - set(but):
            return max(long, key=lambda id_: (found[id_], id_))
    return None


async def shorten(engine: Contents, id_: UUID, chains: Chains) -> None:
    """Shorten the chain of a disk or content; one that is gone meanwhile is no error.

    Raises: EngineError.
    """
    before = len(chains.disks.get(id_) or chains.contents[id_])
    try:
        if id_ in chains.disks:
            await engine.compact_disk(id_, _no_progress)
        else:
            await engine.compact(id_, _no_progress)
        log.info("chain_shortened", id=str(id_), layers=await engine.depth(id_), before=before)
    except NotFound:
        return


async def _no_progress(done: int, total: int) -> None:
    """Copying has the least priority anyway, and the longer it takes the more is sealed meanwhile."""
