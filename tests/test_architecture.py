"""What architecture and house rules promise and neither the type checker nor import contracts can see."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, get_named_type
from strawberry.types.field import StrawberryField
from tortoise import Tortoise, connections
from tortoise.context import TortoiseContext
from tortoise.fields.data import CharEnumFieldInstance
from tortoise.fields.relational import ForeignKeyFieldInstance
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.models import Model

import app
import schema as graphql
from app import db
from app.backups.reads import BACKUP_DISKS, BACKUPS
from app.contents.reads import CONTENTS
from app.disks.reads import EVS_DISKS
from app.ecs.reads import ECS, ECS_TAGS, FLAVORS, KEY_PAIRS, LAST_SEEN_ECS
from app.exports.reads import EXPORTS
from app.images.reads import IMAGE_DISKS, IMAGES, TAGS
from app.jobs.reads import JOB_DISKS, JOB_ECS, JOBS
from app.migrating import APPS
from app.projects.reads import PROJECTS, QUOTAS, VIEWER
from app.reading import ASIDE, Children, Noun, Paged
from app.sharing.reads import MEMBERS, OWN_MEMBERSHIPS
from app.uploads.reads import UPLOADS

CORE = graphql.schema._schema
APP, SCHEMA = (Path(str(package.__file__)).parent for package in (app, graphql))
WORDS = ("app.enums", "app.tables")
ROOTS = {"Query", "Mutation", "Subscription"}
SHOWN: dict[str, tuple[Noun[Any], ...]] = {
    "PublicImage": (IMAGES,),
    "PrivateImage": (IMAGES,),
    "SharedImage": (IMAGES,),
    "ImageDisk": (IMAGE_DISKS, BACKUP_DISKS),
    "ImageMember": (MEMBERS, OWN_MEMBERSHIPS),
    "EcsInstance": (ECS, LAST_SEEN_ECS),
    "EvsDisk": (EVS_DISKS,),
    "Backup": (BACKUPS,),
    "Flavor": (FLAVORS,),
    "KeyPair": (KEY_PAIRS,),
    "Job": (JOBS,),
    "Export": (EXPORTS,),
    "Project": (PROJECTS,),
    "Quota": (QUOTAS,),
    "Tag": (TAGS, ECS_TAGS),
    "Upload": (UPLOADS,),
    "Viewer": (VIEWER,),
}
"""Types whose values are rows, and the nouns that these are read from."""
NOUNS = [*(noun for nouns in SHOWN.values() for noun in nouns), CONTENTS, JOB_ECS, JOB_DISKS]
OBJECTS = {
    name: type_
    for name, type_ in CORE.type_map.items()
    if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)) and not name.startswith("__")
}


def definition(field: Any) -> StrawberryField | None:
    """What Strawberry knows of a field."""
    found: StrawberryField | None = field.extensions.get("strawberry-definition")
    return found


def properties(row: type) -> set[str]:
    return {name for kind in row.__mro__ for name, value in vars(kind).items() if isinstance(value, property)}


def name_of(noun: Noun[Any]) -> str:
    return noun.row.__name__


@cache
def sources(folder: Path) -> list[tuple[str, ast.AST]]:
    """Every node of every module but migrations, with its place."""
    modules = {
        str(path.relative_to(folder.parent)): path for path in folder.rglob("*.py") if "migrations" not in path.parts
    }
    return [
        (f"{name}:{getattr(node, 'lineno', 0)}", node)
        for name, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text()))
    ]


@pytest.fixture(autouse=True, scope="module")
async def models(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[type[Model]]]:
    """Models know the columns of their relations only once the ORM has seen them all."""
    async with TortoiseContext():
        await Tortoise.init(config=db.config(None, tmp_path_factory.mktemp("models")))
        assert Tortoise.apps
        yield list(Tortoise.apps["app"].values())


# ---------------------------------------------------------------- what is shown can be read


def test_every_node_is_a_row() -> None:
    nodes = CORE.get_possible_types(CORE.type_map["Node"])  # type: ignore[arg-type]

    assert {type_.name for type_ in nodes} <= set(SHOWN)


@pytest.mark.parametrize("type_name", SHOWN)
def test_every_shown_field_is_a_column_a_property_or_a_relation(type_name: str) -> None:
    for noun in SHOWN[type_name]:
        columns = noun.model._meta.db_fields
        for name, field in OBJECTS[type_name].fields.items():
            shown = definition(field)
            assert shown
            assert shown.python_name in {*columns, *noun.relations, *noun.computed}, f"nothing reads {type_name}.{name}"
            if field.args:
                assert shown.python_name in noun.relations, (
                    f"{type_name}.{name} has arguments: a relation has to read it"
                )


@pytest.mark.parametrize("noun", NOUNS, ids=name_of)
def test_what_a_noun_reads_is_there(noun: Noun[Any]) -> None:
    columns = noun.model._meta.db_fields

    assert {*noun.always, *(name for names in noun.computed.values() for name in names)} <= columns
    assert set(noun.computed) <= properties(noun.row)
    assert {name for relation in noun.relations.values() for name in relation.needs} <= columns
    wrapping = {"edges", "node", "nodes", "page_info", "cursor", *ASIDE}
    assert not {*columns, *noun.computed, *noun.relations} & wrapping


@pytest.mark.parametrize("noun", NOUNS, ids=name_of)
def test_a_cursor_can_stand_in_every_order(noun: Noun[Any]) -> None:
    pages = [r for r in noun.relations.values() if isinstance(r, Paged)]
    orders = [(noun.model, noun.order), *((page.target.model, page.order or page.target.order) for page in pages)]

    for model, order in orders:
        columns = [name.removeprefix("-") for name in order]
        assert not [name for name in columns if model._meta.fields_map[name].null]
        assert model._meta.fields_map[columns[-1]].unique
        assert len({name.startswith("-") for name in order}) == 1, "no index serves an order in two directions"


def test_no_order_that_can_be_asked_for_has_nulls() -> None:
    from app.ecs import service as ecs
    from app.images import service as images

    for noun, columns in ((IMAGES, images.ORDER), (ECS, ecs.ORDER)):
        for column in columns.values():
            assert column in db.ANNOTATED or not noun.model._meta.fields_map[column].null


def test_children_are_found_by_an_index() -> None:
    for noun in NOUNS:
        for name, relation in noun.relations.items():
            if isinstance(relation, Children):
                meta = relation.target.model._meta
                firsts = {fields[0] for fields in (*meta.indexes, *meta.unique_together)}
                field = meta.fields_map[relation.key]
                assert relation.key in firsts or field.index or field.unique, f"{name_of(noun)}.{name}"


# ---------------------------------------------------------------- only roots do anything


def test_nothing_below_a_root_resolver_awaits() -> None:
    for type_name, type_ in OBJECTS.items():
        if type_name not in ROOTS:
            for name, field in type_.fields.items():
                shown = definition(field)
                resolver = shown and shown.base_resolver
                assert not (resolver and resolver.is_async), f"{type_name}.{name}"


def test_input_objects_are_arguments_of_root_fields_only() -> None:
    for type_name, type_ in OBJECTS.items():
        if type_name not in ROOTS:
            for name, field in type_.fields.items():
                kinds = [get_named_type(argument.type) for argument in field.args.values()]
                assert not any(isinstance(kind, GraphQLInputObjectType) for kind in kinds), f"{type_name}.{name}"


def test_every_noun_of_the_schema_is_one_of_the_service() -> None:
    nouns = {path.name for path in SCHEMA.iterdir() if (path / "types.py").exists()}

    assert nouns <= {path.name for path in APP.iterdir()}


# ---------------------------------------------------------------- models and migrations


async def test_enum_columns_have_room_for_longer_words(models: list[type[Model]]) -> None:
    """Else a new word would be an ALTER."""
    for model in models:
        for name, field in model._meta.fields_map.items():
            if isinstance(field, CharEnumFieldInstance):
                assert field.max_length > max(map(len, field.enum_type)), f"{model.__name__}.{name}"


async def test_ids_are_uuids_or_numbers_and_foreign_keys_are_annotated(models: list[type[Model]]) -> None:
    for model in models:
        assert type(model._meta.pk).__name__ in ("UUIDField", "BigIntField"), model.__name__
        for name, field in model._meta.fields_map.items():
            if isinstance(field, ForeignKeyFieldInstance):
                assert f"{name}_id" in model.__annotations__, f"{model.__name__}.{name}"


def test_models_say_what_becomes_of_rows_and_how_long_words_are() -> None:
    said = {"ForeignKeyField": "on_delete", "OneToOneField": "on_delete", "CharEnumField": "max_length"}

    for place, node in sources(APP):
        if "/models.py" in place and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            needed = said.get(node.func.attr)
            assert needed is None or needed in {keyword.arg for keyword in node.keywords}, f"{place}: no {needed}"


def test_models_import_nothing_of_ours_but_words() -> None:
    for place, node in sources(APP):
        if "/models.py" in place and isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            assert not [name for name in names if name.startswith(("app", "schema")) and name not in WORDS], place


async def test_migrations_make_the_tables_that_models_describe(models: list[type[Model]]) -> None:
    assert Tortoise.apps

    changes = await MigrationAutodetector(Tortoise.apps, APPS).changes()

    assert [operation for migration in changes for operation in migration.operations] == []


async def test_migrations_go_down_to_nothing_and_up_again(database: str | None) -> None:
    tables = {model._meta.db_table for model in Tortoise.apps["app"].values()}  # type: ignore[index]
    assert tables <= await there()

    await MigrationExecutor(connections.get("default"), APPS).migrate([MigrationTarget("app", "__first__")])
    left = await there()
    await MigrationExecutor(connections.get("default"), APPS).migrate(None)

    assert not tables & left
    assert tables <= await there()


async def test_every_table_has_the_indexes_that_its_model_names(database: str | None) -> None:
    queries = {
        "sqlite": "SELECT tbl_name AS name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgres": "SELECT tablename AS name FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE 'idx_%'",
    }
    made = Counter(row["name"] for row in await db.execute(queries[db.dialect()]))

    models = Tortoise.apps["app"].values()  # type: ignore[index]
    named = {model._meta.db_table: len(model._meta.indexes) for model in models if model._meta.indexes}
    assert named
    assert {table: number for table, number in named.items() if made[table] < number} == {}


async def there() -> set[str]:
    """The tables of the database."""
    queries = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgres": "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
    }
    return {row["name"] for row in await db.execute(queries[db.dialect()])}


# ---------------------------------------------------------------- house rules


def test_a_status_changes_through_its_life_cycle_only() -> None:
    for place, node in sources(APP):
        if place.startswith("app/states.py"):
            continue
        if isinstance(node, ast.Assign):
            targets = [target.attr for target in node.targets if isinstance(target, ast.Attribute)]
            assert not {"status", "state"} & set(targets), place
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            assert not {"status", "state"} & {keyword.arg for keyword in node.keywords}, place


def test_few_files_know_which_database_it_is() -> None:
    words = {"dialect", "sqlite_master", "json_each", "unnest", "LATERAL", "pg_notify"}

    for place, node in sources(APP):
        if place.split(":")[0] in ("app/db.py", "app/events.py", "app/sqlite.py", "app/tables.py"):
            continue
        names = [node.attr] if isinstance(node, ast.Attribute) else []
        texts = [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
        assert not words & {word for text in (*names, *texts) for word in text.replace("(", " ").split()}, place
