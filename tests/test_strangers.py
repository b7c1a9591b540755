"""A stranger cannot tell what exists: every ID argument of the schema answers the same for what is there and for what is not.

The schema is walked for arguments and input fields that take an ID, and for each a minimal document is made. Whoever adds one says in
NOUNS of what it is an id, or this test fails.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from app.backups.models import Backup, BackupDisk
from app.db import now
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance, Flavor, KeyPair
from app.enums import (
    BackupStatus,
    DiskStatus,
    DiskType,
    EcsStatus,
    Firmware,
    JobStatus,
    JobType,
    ShareStatus,
    UploadStatus,
)
from app.images.models import Image, ImageDisk
from app.jobs.models import Job, JobEcs
from app.projects import service as projects
from app.sharing.models import ImageMember
from app.uploads.models import Upload
from schema import make_schema
from tests.client import Client
from tests.factories import make_image, make_member

SCHEMA = make_schema()._schema

ANY = "Node"
NOUNS = {
    "imageId": "Image",
    "imageIds": "Image",
    "sourceImageIds": "Image",
    "launchableImageId": "Image",
    "ImageFilter.ids": "Image",
    "Query.image.id": "Image",
    "imageDiskId": "ImageDisk",
    "ecsId": "EcsInstance",
    "ecsIds": "EcsInstance",
    "sourceEcsIds": "EcsInstance",
    "EcsFilter.ids": "EcsInstance",
    "Query.ecsInstance.id": "EcsInstance",
    "Subscription.ecsUpdated.id": "EcsInstance",
    "Subscription.ecsConsole.id": "EcsInstance",
    "EvsDiskFilter.ids": "EvsDisk",
    "Query.evsDisk.id": "EvsDisk",
    "diskId": "EvsDisk",
    "diskIds": "EvsDisk",
    "backupId": "Backup",
    "backupIds": "Backup",
    "BackupFilter.ids": "Backup",
    "Query.backup.id": "Backup",
    "jobId": "Job",
    "JobFilter.ids": "Job",
    "Query.job.id": "Job",
    "Subscription.jobUpdated.id": "Job",
    "uploadId": "Upload",
    "keyPairId": "KeyPair",
    "flavorId": "Flavor",
    "flavorIds": "Flavor",
    "launchableOnFlavorId": "Flavor",
    "projectIds": "Project",
    "ownerIds": "Project",
    "sharedWithProjectIds": "Project",
    "ProjectBy.id": "Project",
    "Query.node.id": ANY,
    "Query.nodes.ids": ANY,
}
"""Of what an argument or input field is an id: by its name, or by owner and name where the name does not say."""

KNOWN_PROJECTS = {
    "ProjectBy.id",
    "ShareImagesInput.projectIds",
    "UnshareImagesInput.projectIds",
    "Query.node.id",
    "Query.nodes.ids",
}
"""Where a project's existence is no secret: whoever knows its id may share with it. Flavors are everybody's."""

TEXTS = {"publicKey": "ssh-ed25519 AAAA", "key": "key", "keys": "key"}
SCHEMA_NOUN = {"PublicImage": "Image", "PrivateImage": "Image", "SharedImage": "Image"}
"""Types that are kinds of one noun."""
SKIPPED = {"consoleLog", "edges"}
"""Only on one machine at a time, so not below a list; and what nodes show as well."""


@dataclass(frozen=True)
class Place:
    """Where an ID is asked for."""

    operation: str
    root: str
    below: tuple[tuple[str, str], ...]
    """Types and fields from the root field down to the one with the argument."""
    argument: str
    path: tuple[str, ...]
    """Input fields below the argument."""
    owner: str

    @property
    def name(self) -> str:
        return self.path[-1] if self.path else self.argument

    @property
    def keys(self) -> tuple[str, str]:
        return f"{self.owner}.{self.name}", self.name

    @property
    def noun(self) -> str | None:
        return next((NOUNS[key] for key in self.keys if key in NOUNS), None)

    def __str__(self) -> str:
        fields = ".".join((self.root, *(f"{type_}.{field}" for type_, field in self.below)))
        return f"{self.operation} {fields}({'.'.join((self.argument, *self.path))})"


def places() -> Iterator[Place]:
    """Every argument and input field of the schema that takes an ID, each by the shortest way to it."""
    roots = {"query": SCHEMA.query_type, "mutation": SCHEMA.mutation_type, "subscription": SCHEMA.subscription_type}
    for operation, type_ in roots.items():
        for root, field in type_.fields.items():
            yield from _of_field(operation, root, (), type_.name, root, field)
    seen = {"Query"}
    free = [
        (name, f) for name, f in SCHEMA.query_type.fields.items() if not any(map(is_required_argument, f.args.values()))
    ]
    level = [(root, (), get_named_type(field.type)) for root, field in free]
    while level:
        following = []
        for root, below, type_ in level:
            for concrete in _concrete(type_):
                if concrete.name in seen:
                    continue
                seen.add(concrete.name)
                for name, field in concrete.fields.items():
                    way = (*below, (concrete.name, name))
                    yield from _of_field("query", root, way, concrete.name, name, field)
                    if not any(map(is_required_argument, field.args.values())):
                        following.append((root, way, get_named_type(field.type)))
        level = following


def _concrete(type_: object) -> list[GraphQLObjectType]:
    if isinstance(type_, GraphQLInterfaceType):
        return list(SCHEMA.get_possible_types(type_))
    return [type_] if isinstance(type_, GraphQLObjectType) else []


def _of_field(
    operation: str, root: str, below: tuple[tuple[str, str], ...], owner: str, name: str, field: GraphQLField
) -> Iterator[Place]:
    for argument, definition in field.args.items():
        for path, input_owner in _ids_in(definition.type):
            yield Place(operation, root, below, argument, path, input_owner or f"{owner}.{name}")


def _ids_in(type_: object, seen: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    named = get_named_type(type_)
    if named.name == "ID":
        yield (), ""
    elif isinstance(named, GraphQLInputObjectType) and named.name not in seen:
        for name, field in named.fields.items():
            for path, owner in _ids_in(field.type, (*seen, named.name)):
                yield (name, *path), owner or named.name


def _filled(type_: object, name: str, path: tuple[str, ...], value: object, own: dict[str, str]) -> object:
    """A valid value of an input type with the ID in its place: only what has to be there, and a dry run where there is one."""
    if isinstance(type_, GraphQLNonNull):
        return _filled(type_.of_type, name, path, value, own)
    if isinstance(type_, GraphQLList):
        return [_filled(type_.of_type, name, path, value, own)]
    if isinstance(type_, GraphQLInputObjectType):
        on_path = {path[0]} if path else set()
        required = {key for key, field in type_.fields.items() if is_required_input_field(field)}
        if type_.extensions["strawberry-definition"].is_one_of and not on_path:
            required = {next(iter(type_.fields))}
        names = on_path | required | ({"dryRun"} & set(type_.fields))
        return {
            key: _filled(type_.fields[key].type, key, path[1:], value if key in on_path else None, own) for key in names
        }
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if type_.name == "ID":
        return value if value is not None else own[NOUNS[name]]
    return {"String": TEXTS.get(name, "some-name"), "Boolean": True, "Int": 1}[type_.name]


def _selection(type_: object, depth: int = 2) -> str:
    """All fields without required arguments, so deep."""
    named = get_named_type(type_)
    if is_leaf_type(named):
        return ""
    fields = [
        name + _selection(field.type, depth - 1)
        for name, field in named.fields.items()
        if name not in SKIPPED
        and not any(map(is_required_argument, field.args.values()))
        and (depth > 0 or is_leaf_type(get_named_type(field.type)))
    ]
    return " { __typename " + " ".join(fields) + " }"


def document(place: Place, value: str, own: dict[str, str]) -> tuple[str, dict[str, object]]:
    """An operation that asks with an ID in its place, and its variables."""
    root_type = {"query": SCHEMA.query_type, "mutation": SCHEMA.mutation_type, "subscription": SCHEMA.subscription_type}
    field: GraphQLField = root_type[place.operation].fields[place.root]
    steps = [(None, place.root, field)]
    steps += [(type_, name, SCHEMA.type_map[type_].fields[name]) for type_, name in place.below]
    variables: dict[str, object] = {}
    types: list[str] = []
    arguments = []
    for _, _, step in steps:
        asked = {
            name: argument
            for name, argument in step.args.items()
            if is_required_argument(argument) or (step is steps[-1][2] and name == place.argument)
        }
        for name, argument in asked.items():
            at = step is steps[-1][2] and name == place.argument
            path, given = (place.path, value) if at else ((), None)
            variables[name] = _filled(argument.type, name, path, given, own)
            types.append(f"${name}: {argument.type}")
        arguments.append("(" + ", ".join(f"{name}: ${name}" for name in asked) + ")" if asked else "")
    text = _selection(steps[-1][2].type)
    for (type_, name, _), given in reversed(list(zip(steps, arguments, strict=True))):
        text = f"{name}{given}{text}"
        text = f" {{ ... on {type_} {{ {text} }} }}" if type_ else f" {{ {text} }}"
    return f"{place.operation}({', '.join(types)}){text}", variables


# ---------------------------------------------------------------- what there is


@pytest.fixture
async def stranger(project) -> AsyncIterator[Client]:
    """A project with every right, an image and a backup of its own, and an image that is shared with it."""
    client = await project("stranger")
    image = await make_image(client.project_id, "own")
    await make_backup(client.project_id, image)
    await make_member(await make_image(str(await projects.create_project(f"friend-{uuid4().hex}"))), client.project_id)
    return client


async def make_backup(project_id: str, image: Image) -> Backup:
    """A backup of an ECS that is gone."""
    traits = dict.fromkeys(
        ("os_type", "os_platform", "os_version", "os_bits", "architecture", "firmware", "max_ram_mib")
    )
    backup = await Backup.create(
        id=uuid4(),
        project_id=UUID(project_id),
        ecs_id=uuid4(),
        ecs_name="secret",
        name="secret",
        status=BackupStatus.AVAILABLE,
        traits={
            **traits,
            "min_ram_mib": 0,
            "supports_user_data": True,
            "image_id": str(image.id),
            "image_name": image.name,
        },
    )
    disk = await ImageDisk.get(image_id=image.id)
    await BackupDisk.create(
        id=uuid4(),
        backup_id=backup.id,
        content_id=disk.content_id,
        disk_id=uuid4(),
        boot_index=0,
        size_gib=1,
        is_system=True,
    )
    return backup


@pytest.fixture
async def foreign() -> AsyncIterator[dict[str, str]]:
    """One thing of each noun, by noun, in a project that the stranger has nothing to do with."""
    owner = await projects.create_project(f"owner-{uuid4().hex}")
    other = await projects.create_project(f"other-{uuid4().hex}")
    image = await make_image(str(owner), "secret", tags={"secret": "yes"})
    disk = await ImageDisk.get(image_id=image.id)
    member = await make_member(image, str(other), ShareStatus.ACCEPTED)
    flavor = await Flavor.get(name="t1.nano")
    ecs = await EcsInstance.create(
        id=uuid4(),
        project_id=owner,
        flavor_id=flavor.id,
        name="secret",
        status=EcsStatus.ACTIVE,
        image_id=image.id,
        image_name=image.name,
        traits={},
        hostname="secret",
        firmware=Firmware.BIOS,
        expose_ports=[],
        endpoints=[],
    )
    evs = await EvsDisk.create(
        id=uuid4(),
        project_id=owner,
        ecs_id=ecs.id,
        name="secret",
        size_gib=1,
        type=DiskType.SAS,
        status=DiskStatus.IN_USE,
        is_system=True,
        boot_index=0,
        image_id=image.id,
        image_name=image.name,
    )
    backup = await make_backup(str(owner), image)
    upload = await Upload.create(
        id=uuid4(), project_id=owner, status=UploadStatus.COMPLETE, size_bytes=1, expires_at=now() + timedelta(days=1)
    )
    key = await KeyPair.create(id=uuid4(), project_id=owner, name="secret", fingerprint="f", public_key="k")
    job = await Job.create(
        id=uuid4(),
        project_id=owner,
        type=JobType.CREATE_IMAGE,
        status=JobStatus.SUCCESS,
        image_id=image.id,
        input={},
        run_at=now(),
    )
    await JobEcs.create(job_id=job.id, ecs_id=ecs.id)
    yield {
        "Image": str(image.id),
        "ImageDisk": str(disk.id),
        "ImageMember": str(member.id),
        "EcsInstance": str(ecs.id),
        "EvsDisk": str(evs.id),
        "Backup": str(backup.id),
        "Upload": str(upload.id),
        "KeyPair": str(key.id),
        "Job": str(job.id),
        "Project": str(owner),
    }
    await evs.delete()
    await ecs.delete()


async def everything(foreign: dict[str, str]) -> list[object]:
    """All columns of the foreign things."""
    tables = (Image, ImageDisk, ImageMember, EcsInstance, EvsDisk, Backup, Upload, KeyPair, Job)
    return [await table.filter(id=foreign[table.__name__]).values() for table in tables]


def opaque(noun: str, id_: str) -> str:
    return b64encode(f"{noun}:{id_}".encode()).decode()


def forms(noun: str, known: str | None) -> dict[str, str]:
    """IDs that have to get one and the same answer."""
    unknown = str(uuid4())
    found = {
        "unknown": opaque(noun, unknown),
        "unknown, plain": unknown,
        "nothing": "",
        "broken base64": opaque(noun, unknown)[:-3],
        "other letters": "\u00fc\U0001f600' OR 1=1 --",
        "very long": "A" * 4000,
    }
    if known:
        found |= {"there": opaque(noun, known), "there, plain": known, "there, as another noun": opaque("Tag", known)}
    return found


async def answer(client: Client, place: Place, value: str, own: dict[str, str]) -> str:
    """What is said, without the echo of what was asked."""
    query, variables = document(place, value, own)
    body = {"query": query, "variables": variables}
    if place.operation == "subscription":
        said = await first_message(client, body)
    else:
        response = await client.http.post("/graphql", json=body)
        said = f"{response.status_code} {response.text}"
    return said.replace(json.dumps(value, ensure_ascii=False), '"ID"')


async def first_message(client: Client, body: dict[str, object]) -> str:
    url = client.url.replace("http", "ws", 1) + "/graphql"
    async with connect(url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {client.token}"}}
        await socket.send(json.dumps(init))
        await socket.recv()
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": body}))
        return str(await socket.recv())


# ---------------------------------------------------------------- tests


def test_every_id_argument_is_known_to_the_walker():
    strange = [str(place) for place in places() if place.noun is None]

    assert not strange, "say in NOUNS of what these are ids"


def test_the_walker_meets_every_type_that_takes_an_id():
    owners = {
        (type_.name, name)
        for type_ in SCHEMA.type_map.values()
        if isinstance(type_, GraphQLInputObjectType)
        for name, field in type_.fields.items()
        if get_named_type(field.type).name == "ID"
    }
    owners |= {
        (f"{type_.name}.{field_name}", name)
        for type_ in SCHEMA.type_map.values()
        if isinstance(type_, GraphQLObjectType)
        for field_name, field in type_.fields.items()
        if not type_.name.startswith("__")
        for name, argument in field.args.items()
        if get_named_type(argument.type).name == "ID"
    }

    assert {(place.owner, place.name) for place in places()} == owners


async def test_a_stranger_is_told_the_same_whether_an_object_exists_or_not(stranger, foreign):
    flavor = await Flavor.get(name="t1.nano")
    image = await Image.get(project_id=UUID(stranger.project_id))
    backup = await Backup.get(project_id=UUID(stranger.project_id))
    own = dict.fromkeys(NOUNS.values(), str(uuid4())) | {"Image": str(image.id), "Backup": str(backup.id)}
    own |= {"Flavor": str(flavor.id), "Project": foreign["Project"]}
    nodes = {SCHEMA_NOUN.get(type_.name, type_.name) for type_ in SCHEMA.get_possible_types(SCHEMA.type_map["Node"])}
    assert nodes - {"Flavor"} <= set(foreign), "make one thing of each noun"
    before = await everything(foreign)

    asked_at = [(place, noun) for place in places() for noun in (sorted(nodes) if place.noun == ANY else [place.noun])]
    with capture_logs() as logged:
        for place, noun in asked_at:
            is_public = noun == "Flavor" or (noun == "Project" and place.keys[0] in KNOWN_PROJECTS)
            asked = forms(noun, None if is_public else foreign[noun])
            said = {form: await answer(stranger, place, value, own) for form, value in asked.items()}

            different = {form: text for form, text in said.items() if text != said["unknown"]}
            assert not different, (str(place), noun, said["unknown"], different)
            assert not any(word in said["unknown"] for word in ("INTERNAL", "BAD_USER_INPUT", "VALIDATION")), (
                str(place),
                said["unknown"],
            )
    assert await everything(foreign) == before
    assert [event for event in logged if event["log_level"] in ("warning", "error", "critical")] == []


async def test_an_id_with_a_nul_is_refused_before_anything_is_read(stranger, foreign):
    own = dict.fromkeys(NOUNS.values(), str(uuid4())) | {"Image": foreign["Image"], "Flavor": "t1.nano"}

    said = {str(place): await answer(stranger, place, "a\0b", own) for place in places()}

    wrong = {place: text for place, text in said.items() if "BAD_USER_INPUT" not in text or "NUL" not in text}
    assert not wrong
