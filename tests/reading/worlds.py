"""Projects whose rows are all related to something: a relation that no row has is not read, and so would hide a statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tortoise.models import Model

from app.backups.models import Backup
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance, Flavor, KeyPair
from app.enums import EcsStatus, ImageSourceKind, JobStatus, ShareStatus
from app.images.models import Image
from app.jobs.models import Job
from app.policy import Caller
from schema import make_schema
from schema.context import Context
from schema.ids import opaque
from schema.limits import Limits
from tests.reading.conftest import counting
from tests.reading.seed import Sheet, caller_of

MANY = 10**6
UNBOUND = make_schema(
    Limits(depth=99, aliases=MANY, directives=MANY, fields=MANY, nodes=10**9, tokens=MANY, source_chars=10 * MANY)
)
"""The service's schema, of which one may ask everything at once."""


@dataclass
class World:
    """A project and what it sees: only what a test asks for by name."""

    caller: Caller
    partner: Caller
    stranger: str
    flavor: Flavor
    images: list[Image] = field(default_factory=list)
    offered: list[Image] = field(default_factory=list)
    """Of the partner, and not answered yet."""
    machines: list[EcsInstance] = field(default_factory=list)
    """Each held by a job."""
    idle: list[EcsInstance] = field(default_factory=list)
    stopped: list[EcsInstance] = field(default_factory=list)
    disks: list[EvsDisk] = field(default_factory=list)
    """Of no machine."""
    attached: list[EvsDisk] = field(default_factory=list)
    """Data disks of an idle machine."""
    backups: list[Backup] = field(default_factory=list)
    """Without an image."""
    jobs: list[Job] = field(default_factory=list)
    keys: list[KeyPair] = field(default_factory=list)

    @property
    def given(self) -> dict[str, str]:
        """Arguments that fields need, as they are written."""
        return {"flavorId": f'"{self.flavor.name}"', "imageId": f'"{self.images[0].id}"', "by": "TAG"}

    @property
    def context(self) -> Context:
        return Context(self.caller, "test")

    async def run(self, text: str, **variables: Any) -> tuple[dict[str, Any], list[str]]:
        """The data of an answer without errors, and its statements."""
        with counting() as statements:
            result = await UNBOUND.execute(text, variables, self.context)
        assert not getattr(result, "errors", None), result
        data: dict[str, Any] = result.data  # type: ignore[union-attr, assignment]
        return data, statements


def ids(rows: Sequence[Model], noun: str = "") -> list[str]:
    """Opaque ids."""
    return [opaque(noun or type(row).__name__, str(row.pk)) for row in rows]


def related(sheet: Sheet, world: World, image: Image, number: int) -> None:
    """For an image so many machines of the caller's, jobs about both, and members where it is the caller's; a source, and a fault."""
    owner, partner = world.caller.project, world.partner.project
    if image.project_id == owner:
        sheet.share(image, partner)
    elif not image.is_public:
        sheet.share(image, owner)
    for _ in range(number):
        machine = sheet.machine(owner, image, world.flavor, fault=True)
        job = sheet.job(owner, image, [machine], fault=True)
        backup = sheet.backup(machine)
        job.backup_id = backup.id
        sheet.export(job, image)
        machine.job_id = job.id
        world.machines.append(machine)
        world.jobs.append(job)
    for _ in range(number - 1):
        sheet.share(image, sheet.project("member"))
    image.source_kind, image.source_ecs_id, image.source_ecs_name = ImageSourceKind.ECS, machine.id, machine.name
    image.source_backup_id = backup.id if image.project_id == owner else None
    image.source_image_id, image.source_image_name = world.images[0].id, world.images[0].name


def world_of(sheet: Sheet, number: int, *, mixed: bool = False, each: int = 1) -> World:
    """So many own images, and if mixed as many shared and public ones, in turn; a key pair, and `each` machine and job for each."""
    owner, partner, publisher = (sheet.project(name) for name in ("owner", "partner", "publisher"))
    world = World(caller_of(owner), caller_of(partner), str(sheet.project("stranger")), sheet.flavor())
    for _ in range(number):
        for project in (owner, partner, publisher) if mixed else (owner,):
            world.images.append(sheet.image(project, is_public=project == publisher, tags=2, fault=True))
            related(sheet, world, world.images[-1], each)
        world.keys.append(sheet.key_pair(owner))
        sheet.upload(owner)
    return world


def world_with(sheet: Sheet, number: int) -> World:
    """An image with so many of each relation; a machine with so many disks and tags; a job about so many machines."""
    world = world_of(sheet, 1, each=number)
    image, owner = world.images[0], world.caller.project
    world.machines.append(sheet.machine(owner, image, world.flavor, tags=number, disks=number))
    about = world.machines[:number]
    world.jobs.append(sheet.job(owner, image, about, status=JobStatus.INIT))
    world.machines[-1].job_id = world.jobs[-1].id
    world.idle.append(sheet.machine(owner, image, world.flavor, tags=number))
    world.stopped.append(sheet.machine(owner, image, world.flavor, disks=number, status=EcsStatus.SHUTOFF))
    for machine in (world.machines[-1], world.idle[-1]):
        world.backups += [sheet.backup(machine) for _ in range(number)]
    world.backups.append(sheet.backup(world.stopped[-1], disks=number))
    world.attached.append(sheet.disks_of[sheet.machine(owner, image, world.flavor, disks=number + 1).id][-1])
    world.disks.append(sheet.free_disk(owner, image))
    return world


def world_to_change(sheet: Sheet, number: int) -> World:
    """So many images, offers and machines in each state, to do something to all of them at once."""
    world = world_of(sheet, number)
    owner, partner = world.caller.project, world.partner.project
    for image in world.images:
        world.idle.append(sheet.machine(owner, image, world.flavor))
        world.stopped.append(sheet.machine(owner, image, world.flavor, status=EcsStatus.SHUTOFF))
        world.offered.append(sheet.image(partner))
        sheet.share(world.offered[-1], owner, ShareStatus.PENDING)
        sheet.machine(owner, world.offered[-1], world.flavor)
        world.disks.append(sheet.free_disk(owner, image))
        world.backups.append(sheet.backup(world.idle[-1]))
    return world
