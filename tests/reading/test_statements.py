"""The number of SQL statements does not depend on the number of rows: lists, nested pages and nodes, with everything selected."""

from __future__ import annotations

import pytest
from graphql import get_named_type

from tests.reading.everything import CORE, everything
from tests.reading.seed import Sheet
from tests.reading.worlds import World, ids, world_of, world_with

DEEP, WIDE = (3, (1, 5)), (2, (1, 10, 100))
"""Levels of objects below a row, and rows on a page: three levels of everything would be too many fields for a hundred rows."""

ROOTS = {name: field for name, field in CORE.type_map["Query"].fields.items() if "after" in field.args}


@pytest.fixture(scope="module")
async def own(shared_database: None) -> World:
    """A project with a hundred of everything, all of its own."""
    sheet = Sheet()
    world = world_of(sheet, 100)
    for _ in range(100):
        sheet.flavor()
    await sheet.write()
    return world


@pytest.fixture(scope="module")
async def mixed(shared_database: None) -> World:
    """A project that sees own, shared and public images in turn."""
    sheet = Sheet()
    world = world_of(sheet, 33, mixed=True)
    await sheet.write()
    return world


def listing(world: World, root: str, depth: int, condition: str = "") -> str:
    """A query for a page of $n rows, with everything."""
    selection = everything(get_named_type(ROOTS[root].type).name, depth, world.given)
    return f"query($n: Int!) {{ {root}({condition}first: $n) {selection} }}"


@pytest.mark.parametrize(("depth", "sizes"), [DEEP, WIDE])
@pytest.mark.parametrize("root", ROOTS)
async def test_a_list_takes_as_many_statements_for_a_hundred_rows_as_for_one(
    own: World, root: str, depth: int, sizes: tuple[int, ...]
) -> None:
    text = listing(own, root, depth, "filter: {visibility: [PRIVATE]}, " if root == "images" else "")

    answers = [await own.run(text, n=n) for n in sizes]

    assert [len(data[root]["nodes"]) for data, _ in answers] == list(sizes)
    assert len({len(statements) for _, statements in answers}) == 1, answers


@pytest.mark.parametrize("root", ["images", "ecsInstances", "evsDisks", "jobs"])
async def test_a_list_of_all_kinds_of_images_does_too(mixed: World, root: str) -> None:
    text = listing(mixed, root, WIDE[0])

    answers = [await mixed.run(text, n=n) for n in (3, 99)]

    assert len({len(statements) for _, statements in answers}) == 1, answers


@pytest.mark.parametrize("root", ["image", "ecsInstance", "job", "node(Image)", "node(EcsInstance)", "node(Job)"])
async def test_one_thing_takes_as_many_statements_with_a_hundred_of_each_relation_as_with_one(
    shared_database: None, root: str
) -> None:
    name, _, of = root.partition("(")
    noun = of.removesuffix(")") or name[0].upper() + name[1:]
    counts = []

    for number in (1, 10, 100):
        sheet = Sheet()
        world = world_with(sheet, number)
        await sheet.write()
        id_ = ids({"Image": world.images, "EcsInstance": world.machines, "Job": world.jobs}[noun])[-1]
        selection = everything("Node" if of else noun, 2, world.given, first=100)
        data, statements = await world.run(f"query($id: ID!) {{ {name}(id: $id) {selection} }}", id=id_)
        counts.append(len(statements))
        assert data[name]["id"] == id_

    assert len(set(counts)) == 1, counts


async def test_nodes_take_one_round_for_each_noun(mixed: World) -> None:
    text = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {everything('Node', 2, mixed.given)} }}"
    rows = [*mixed.images[:33], *mixed.machines[:33], *mixed.jobs[:33]]

    few = await mixed.run(text, ids=ids([*rows[:3], *rows[33:36], *rows[66:69]]))
    more = await mixed.run(text, ids=ids(rows))

    assert len([*filter(None, few[0]["nodes"])]) == 9
    assert len([*filter(None, more[0]["nodes"])]) == 99
    assert len(few[1]) == len(more[1])


async def test_the_viewer_and_projects_take_a_fixed_number_of_statements(own: World, mixed: World) -> None:
    viewer = f"{{ viewer {everything('Viewer', 3, own.given)} }}"
    project = f"query($id: ID!) {{ project(by: {{id: $id}}) {everything('Project', 3, own.given)} }}"

    viewers = {len((await world.run(viewer))[1]) for world in (own, mixed)}
    projects = {len((await world.run(project, id=world.caller.project_id))[1]) for world in (own, mixed)}

    assert (viewers, projects) == ({4}, {1})
