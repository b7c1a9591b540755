"""What a damaged content means for others: who stands on its layers is named, and has a fault for as long as that is so.

`Content.damaged_at` says what is damaged, and `verified_at` when it was last found right. The faults of images, backups, disks and
ECSs follow from that and from what stands on what, so they are worked out anew as often as one likes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from tortoise.expressions import Q

from app import db, faults, policy, states
from app.backups.models import BackupDisk
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.engines.base import Chains
from app.enums import BackupStatus, ContentState, EcsStatus, ErrorCode, ImageStatus
from app.errors import EngineError
from app.images.models import ImageDisk
from app.upkeep.standing import standing_on, stretch

log = structlog.get_logger(__name__)

FAULTS = {
    "Image": policy.DAMAGED,
    "Backup": "Bytes of the backup are not what they were; the operator knows.",
    "EvsDisk": "The disk stands on bytes that are not what they were, so that what it holds may be wrong; the operator knows.",
    "EcsInstance": "A disk of the ECS stands on bytes that are not what they were; the operator knows.",
}
"""What the faults say; by that they are known as ours, as a job that met the damage leaves a fault with the same code."""
FAULTY = {
    "Image": Q(status=ImageStatus.ACTIVE),
    "Backup": Q(status__in=[BackupStatus.AVAILABLE, BackupStatus.RESTORING]),
    "EvsDisk": Q(),
    "EcsInstance": ~Q(status__in=[EcsStatus.ERROR, EcsStatus.DELETED]),
}
"""What can have such a fault: of the others the one that they have says more."""
TOLD = ("Image", "EcsInstance")
"""Nouns that have events."""


@dataclass(frozen=True, slots=True)
class Change:
    """What has a fault now that had none, and the other way round: id and name, by noun."""

    hit: dict[str, dict[str, str]] = field(default_factory=dict)
    well: dict[str, dict[str, str]] = field(default_factory=dict)

    def tell(self) -> None:
        """Let the operator know."""
        if any(self.hit.values()):
            log.error("damage_found", **{noun: names for noun, names in self.hit.items() if names})
        if any(self.well.values()):
            log.info("damage_gone", **{noun: names for noun, names in self.well.items() if names})


def _damaged() -> Any:
    return Content.filter(state=ContentState.SEALED, damaged_at__isnull=False)


async def is_doubtful(content: Content, chains: Chains) -> bool:
    """Whether a checksum proves nothing, as it may have been worked out from what was damaged already."""
    answering = await _answering(chains)
    mine = chains.contents.get(content.id, ())
    for other in await _damaged().exclude(id=content.id):
        was_right = other.verified_at is not None and other.verified_at >= content.created_at
        if not was_right and not stretch(other.id, chains, answering).isdisjoint(mine):
            return True
    return False


async def condemn(content: Content, chains: Chains, why: str) -> set[UUID]:
    """In a transaction: a content is damaged, and so is what stands on it until it shows that it is not; the ids of those."""
    layers = stretch(content.id, chains, await _answering(chains))
    log.error("content_damaged", content_id=str(content.id), reason=why, layers=sorted(layers))
    hit = {content.id, *standing_on(layers, chains).contents}
    fresh = Content.filter(id__in=list(hit), state=ContentState.SEALED, damaged_at__isnull=True)
    ids: list[Any] = list(await fresh.order_by("id").values_list("id", flat=True))
    await Content.filter(id__in=ids).update(damaged_at=db.now())
    return set(ids)


async def _answering(chains: Chains) -> Collection[UUID]:
    known: list[Any] = list(await Content.filter(sha256__isnull=False).values_list("id", flat=True))
    return set(known) & chains.contents.keys()


async def all_hit(chains: Chains) -> set[UUID]:
    """Contents and disks with damaged layers: a copy of those could not be repaired any more by putting their bytes back."""
    hit = standing_on(await _damaged_layers(chains), chains)
    return set(hit.contents | hit.disks)


async def _damaged_layers(chains: Chains) -> set[str]:
    damaged: list[Any] = list(await _damaged().values_list("id", flat=True))
    answering = await _answering(chains) if damaged else ()
    return set[str]().union(*(stretch(content_id, chains, answering) for content_id in damaged))


async def assess(chains: Chains) -> Change:
    """In a transaction: faults as they follow from what is damaged, announced where they are new or gone."""
    damaged: list[Any] = list(await _damaged().values_list("id", flat=True))
    disks = list(standing_on(await _damaged_layers(chains), chains).disks)
    hit: Mapping[str, Sequence[Any]] = {
        "Image": await ImageDisk.filter(content_id__in=damaged).distinct().values_list("image_id", flat=True),
        "Backup": await BackupDisk.filter(content_id__in=damaged).distinct().values_list("backup_id", flat=True),
        "EvsDisk": disks,
        "EcsInstance": await EvsDisk.filter(id__in=disks, ecs_id__isnull=False).values_list("ecs_id", flat=True),
    }
    change = Change()
    for noun, ids in hit.items():
        change.hit[noun], change.well[noun] = await _mark(noun, set(ids))
    return change


async def _mark(noun: str, hit: set[UUID]) -> tuple[dict[str, str], dict[str, str]]:
    """Those that are hit have the fault, and no others; which have it newly, and which no longer."""
    model, code, message = states.table(noun), ErrorCode.DAMAGED, FAULTS[noun]
    names: list[Any] = list(await model.filter(fault_code=code, fault_message=message).values_list("id", "name"))
    marked = dict(names)
    names = list(await model.filter(FAULTY[noun], id__in=list(hit - marked.keys())).values_list("id", "name"))
    fresh, well = dict(names), {id_: name for id_, name in marked.items() if id_ not in hit}
    await model.filter(id__in=list(fresh)).update(**faults.columns(EngineError(code, message)))
    await model.filter(id__in=list(well)).update(**faults.CLEARED)
    for id_ in sorted([*fresh, *well]) if noun in TOLD else ():
        await states.tell(noun, id_)
    return {str(id_): name for id_, name in fresh.items()}, {str(id_): name for id_, name in well.items()}
