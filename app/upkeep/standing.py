"""What stands on what, as sets: which layers a content answers for, and who else is hit when they are damaged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from app.engines.base import Chains


@dataclass(frozen=True, slots=True)
class Hit:
    """Contents and disks that stand on some layers."""

    contents: frozenset[UUID]
    disks: frozenset[UUID]


def stretch(content_id: UUID, chains: Chains, answering: Collection[UUID]) -> set[str]:
    """The layers that only this content's checksum tells about: its own, and those below it down to the next content that has one."""
    chain = chains.contents.get(content_id, ())
    others = {chains.contents[other][0] for other in answering if other != content_id and other in chains.contents}
    layers: set[str] = set()
    for layer in chain:
        if layer in others:
            break
        layers.add(layer)
    return layers


def standing_on(layers: Collection[str], chains: Chains) -> Hit:
    """All that have one of these layers in their chains."""
    wanted = set(layers)
    return Hit(
        contents=frozenset(id_ for id_, chain in chains.contents.items() if not wanted.isdisjoint(chain)),
        disks=frozenset(id_ for id_, chain in chains.disks.items() if not wanted.isdisjoint(chain)),
    )


def below(content_id: UUID, chains: Chains) -> set[UUID]:
    """The contents that a content stands on."""
    under = set(chains.contents.get(content_id, ())[1:])
    return {other for other, chain in chains.contents.items() if chain[0] in under}


def above(content_id: UUID, chains: Chains) -> set[UUID]:
    """The contents that stand on a content."""
    own = set(chains.contents.get(content_id, ())[:1])
    return {other for other, chain in chains.contents.items() if not own.isdisjoint(chain[1:])}
