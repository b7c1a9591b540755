"""What mutations and subscriptions answer with is read in a number of statements that does not depend on how much it is.

A mutation of many things writes each in a transaction of its own, so its statements grow with their number. To tell the writing from
the reading afterwards, each mutation runs twice, each time in a project of its own: once selecting only its errors, which reads nothing
afterwards, and once selecting everything. The difference is what the payload was read with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from graphql import get_named_type

from tests.reading.conftest import counting
from tests.reading.everything import CORE, everything
from tests.reading.seed import Sheet
from tests.reading.worlds import UNBOUND, World, ids, world_to_change, world_with

Input = Callable[[World, int], dict[str, Any]]
MUTATIONS = CORE.type_map["Mutation"].fields

BATCHES: dict[str, Input] = {
    "tagImages": lambda w, n: {"imageIds": ids(w.images), "tags": [{"key": "key0", "value": "new"}]},
    "untagImages": lambda w, n: {"imageIds": ids(w.images), "keys": ["key1"]},
    "deleteImages": lambda w, n: {"imageIds": ids(w.images)},
    "shareImages": lambda w, n: {"imageIds": ids(w.images), "projectIds": [w.stranger]},
    "unshareImages": lambda w, n: {"imageIds": ids(w.images), "projectIds": [w.partner.project_id]},
    "acceptShares": lambda w, n: {"imageIds": ids(w.offered)},
    "rejectShares": lambda w, n: {"imageIds": ids(w.offered)},
    "startEcs": lambda w, n: {"ecsIds": ids(w.stopped)},
    "stopEcs": lambda w, n: {"ecsIds": ids(w.idle)},
    "rebootEcs": lambda w, n: {"ecsIds": ids(w.idle)},
    "deleteEcs": lambda w, n: {"ecsIds": ids(w.idle)},
    "launchEcs": lambda w, n: (
        {"name": "vm", "imageId": ids(w.images)[0], "flavorId": w.flavor.name, "count": n} | {"tags": [{"key": "a"}]}
    ),
    "createEvsDisks": lambda w, n: {"name": "disk", "sizeGib": 10, "count": n},
    "deleteBackups": lambda w, n: {"backupIds": ids(w.backups)},
    "deleteEvsDisks": lambda w, n: {"diskIds": ids(w.disks)},
}
"""Mutations of so many things at once."""

SINGLES: dict[str, Input] = {
    "updateImage": lambda w, n: {"imageId": ids(w.images)[0], "name": "new"},
    "updateEcs": lambda w, n: {"ecsId": ids(w.machines)[-1], "name": "new"},
    "updateEvsDisk": lambda w, n: {"diskId": ids(w.disks)[0], "name": "new"},
    "attachEvsDisk": lambda w, n: {"diskId": ids(w.disks)[0], "ecsId": ids(w.idle)[0]},
    "extendEvsDisk": lambda w, n: {"diskId": ids(w.disks)[0], "sizeGib": 20},
    "detachEvsDisk": lambda w, n: {"diskId": ids(w.attached)[0]},
    "createBackup": lambda w, n: {"ecsId": ids(w.idle)[0], "name": "backup"},
    "restoreBackup": lambda w, n: {"backupId": ids(w.backups)[-1], "target": {"ecsId": ids(w.stopped)[0]}},
    "exportImage": lambda w, n: {"imageId": ids(w.images)[0], "format": "RAW"},  # which is there: only so many may be
    "cancelJob": lambda w, n: {"jobId": ids(w.jobs)[-1]},
}
"""Mutations of one thing that has so many of each relation."""

FIXED = {"createImage", "createKeyPair", "createUpload", "deleteKeyPair"}
"""Mutations whose payload is about things that have one of each relation at most."""


LARGEST = {"acceptShares": (100,)}
"""One of them a hundred times: a hundred transactions take their time."""


async def act(world: World, name: str, number: int, selection: str = "{ userErrors { message } }") -> list[str]:
    """Do it: the statements of it all."""
    text = f"mutation($input: {MUTATIONS[name].args['input'].type}) {{ {name}(input: $input) {selection} }}"
    data, statements = await world.run(text, input=(BATCHES | SINGLES)[name](world, number))
    assert data[name]["userErrors"] == []
    return statements


def test_every_mutation_is_counted() -> None:
    assert {*BATCHES, *SINGLES, *FIXED} == set(MUTATIONS)


async def read_back(make: Callable[[Sheet, int], World], name: str, number: int) -> int:
    """How many statements a payload with everything takes beyond one without anything."""
    sheet = Sheet()
    bare, full = make(sheet, number), make(sheet, number)
    await sheet.write()
    writing = await act(bare, name, number)
    both = await act(full, name, number, everything(get_named_type(MUTATIONS[name].type).name, 3, full.given))
    return len(both) - len(writing)


@pytest.mark.parametrize("name", BATCHES)
async def test_the_payload_of_a_mutation_is_read_at_once_however_many_things_it_changed(
    shared_database: None, name: str
) -> None:
    counts = [await read_back(world_to_change, name, number) for number in (1, 10, *LARGEST.get(name, ()))]

    assert len(set(counts)) == 1, counts
    assert bool(counts[0]) is (name != "unshareImages")  # what is gone is not read


@pytest.mark.parametrize("name", SINGLES)
async def test_the_payload_of_a_mutation_is_read_at_once_however_much_belongs_to_the_thing(
    shared_database: None, name: str
) -> None:
    counts = [await read_back(world_with, name, number) for number in (1, 10, 100)]

    assert len(set(counts)) == 1, counts
    assert counts[0] > 0


# ---------------------------------------------------------------- subscriptions

VALUES = {
    "imageEvents": "shareImages",
    "ecsUpdated": "updateEcs",
    "ecsEvents": "updateEcs",
    "jobUpdated": "cancelJob",
    "jobEvents": "cancelJob",
}
"""Subscriptions, and a mutation that has each of them tell something."""


def test_every_subscription_is_counted() -> None:
    assert {*VALUES, "ecsConsole"} == set(CORE.type_map["Subscription"].fields)  # a console is no rows


@pytest.mark.parametrize("name", VALUES)
async def test_a_value_is_read_at_once_however_much_belongs_to_the_thing(shared_database: None, name: str) -> None:
    counts = [await told(name, number) for number in (1, 10, 100)]

    assert len(set(counts)) == 1, counts
    assert counts[0] > 3


async def told(name: str, number: int) -> int:
    """How many statements a value with everything takes, after a change of a thing that has so many of each relation."""
    sheet = Sheet()
    world = world_with(sheet, number)
    await sheet.write()
    field = CORE.type_map["Subscription"].fields[name]
    things = {"ecsUpdated": world.machines, "jobUpdated": world.jobs}
    argument = f'(id: "{ids(things[name])[-1]}")' if name in things else ""
    # an event is about a thing, a level further down
    selection = everything(get_named_type(field.type).name, 2 if argument else 3, world.given)
    text = f"subscription {{ {name}{argument} {selection} }}"

    stream: Any = await UNBOUND.subscribe(text, context_value=world.context)
    async with aclosing(stream):
        await anext(stream)
        await act(world, VALUES[name], number)
        with counting() as statements:
            value = await anext(stream)

    assert not value.errors, value.errors
    shown = value.data[name]
    assert None not in [shown.get(part, 0) for part in ("image", "member", "memberProject", "ecsInstance", "job")]
    return len(statements)
