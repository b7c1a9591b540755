"""Anything by its opaque id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated

import strawberry
from strawberry import Info

from app.backups import service as backups
from app.disks import service as disks
from app.ecs import flavors, key_pairs
from app.ecs import service as ecs
from app.errors import LimitExceeded
from app.images import service as images
from app.jobs import service as jobs
from app.policy import Caller
from app.projects import service as projects
from app.reading import Row, Wanted
from app.sharing import service as sharing
from app.uploads import service as uploads
from schema.context import caller
from schema.fields import showing
from schema.ids import Node, Ref, parse
from schema.payloads import MAX_ITEMS
from schema.selection import wanted

FIND: Mapping[str, Callable[[Caller, Iterable[str], Wanted], Awaitable[Mapping[str, Row]]]] = {
    "Image": images.find_images,
    "ImageMember": sharing.find_members,
    "EcsInstance": ecs.find_ecs,
    "EvsDisk": disks.find_evs_disks,
    "Backup": backups.find_backups,
    "Flavor": flavors.find_flavors,
    "KeyPair": key_pairs.find_key_pairs,
    "Job": jobs.find_jobs,
    "Project": projects.find_projects,
    "Upload": uploads.find_uploads,
}
"""What finds the things of each noun."""

OpaqueId = Annotated[strawberry.ID, strawberry.argument(description="An opaque id; a plain UUID does not say of what.")]
OpaqueIds = Annotated[list[strawberry.ID], strawberry.argument(description="At most 100 opaque ids.")]


@strawberry.type
class NodeQueries:
    @showing(Node | None, description="Anything by its opaque id. Null when it is not there or not visible.")
    async def node(self, info: Info, id: OpaqueId) -> Row | None:
        return (await _find(info, [parse(id)]))[0]

    @showing(
        list[Node | None],
        description="Things by their opaque ids, in their order; null where one is not there or not visible.",
    )
    async def nodes(self, info: Info, ids: OpaqueIds) -> list[Row | None]:
        if len(ids) > MAX_ITEMS:
            raise LimitExceeded(f"At most {MAX_ITEMS} ids at a time, not {len(ids)}.", field=("ids",))
        return await _find(info, list(map(parse, ids)))


async def _find(info: Info, refs: Sequence[Ref | None]) -> list[Row | None]:
    """One round for each noun among them."""
    who = caller(info)
    ids = {noun: [ref.id for ref in refs if ref and ref.noun == noun] for noun in FIND}
    found = {noun: await FIND[noun](who, ids[noun], wanted(info, of=noun)) for noun in FIND if ids[noun]}
    return [found.get(ref.noun, {}).get(ref.id) if ref else None for ref in refs]
