"""Launching ECSs."""

from __future__ import annotations

from uuid import UUID

import strawberry
from strawberry import Info

from app.ecs import launch, planning
from app.ecs import service as ecs
from app.ecs.rules import DataDisk
from app.enums import DiskType, TokenScope
from app.jobs import service as jobs
from app.policy import Caller
from schema.context import caller
from schema.ecs.queries import flavor_ids
from schema.ecs.types import EcsInstance
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import uuid_of
from schema.jobs.types import Job
from schema.payloads import Caution, TagInput, errors_field, reread, reread_one, shown, tags_of
from schema.selection import wanted


@strawberry.input(one_of=True, description="How to log in. Without it a Linux image's own users and passwords hold.")
class EcsLoginInput:
    key_pair_name: strawberry.Maybe[str] = strawberry.field(description="Of a key pair of the viewer's project.")
    password: strawberry.Maybe[str] = strawberry.field(
        description="For root: 8 to 26 characters, of three of: upper case, lower case, digits, !@$%^-_=+[{}]:,./?~#*"
    )


@strawberry.input(description="The disk that a machine boots from.")
class SystemDiskInput:
    size_gib: int | None = strawberry.field(
        default=None, description="The image's minDiskGib to 1024 GiB. Null: minDiskGib."
    )
    type: DiskType | None = strawberry.field(default=None, description="Performance class. Null: SAS.")


@strawberry.input(description="A data disk: empty, or made from a data disk image.")
class DataDiskInput:
    name: str | None = strawberry.field(default=None, description="At most 255 characters. Null: data and a number.")
    size_gib: int | None = strawberry.field(
        default=None, description="10 to 32768 GiB. Null: what the image needs; of an empty disk it has to be given."
    )
    type: DiskType | None = strawberry.field(default=None, description="Performance class. Null: SAS.")

    image_id: strawberry.ID | None = strawberry.field(
        default=None, description="A data disk image, opaque or plain; each for one disk only. Null: empty."
    )

    def plain(self) -> DataDisk:
        """The disk as the service has it."""
        image_id = None if self.image_id is None else uuid_of(self.image_id, "Image")
        return DataDisk(self.name, self.size_gib, self.type, image_id)


@strawberry.input(description="Another size or type for one disk that a full-ECS image restores.")
class DiskOverrideInput:
    image_disk_id: strawberry.ID = strawberry.field(description="ImageDisk.id of one of the image's disks.")
    size_gib: int | None = strawberry.field(default=None, description="Only larger, up to 32768 GiB. Null: as it was.")
    type: DiskType | None = strawberry.field(default=None, description="Performance class. Null: SAS.")

    def plain(self) -> planning.DiskOverride:
        """The disk as the service has it."""
        return planning.DiskOverride(uuid_of(self.image_disk_id, "ImageDisk"), self.size_gib, self.type)


@strawberry.input(description="What to launch.")
class LaunchEcsInput:
    name: str = strawberry.field(
        description="1 to 128 letters, digits, dots, hyphens and underscores. With a count above 1 at most 59; a number from "
        "-0000 is put behind it."
    )
    description: str | None = strawberry.field(default=None, description="At most 85 characters on one line.")
    image_id: strawberry.ID = strawberry.field(description="The image's id, opaque or plain.")
    flavor_id: strawberry.ID = strawberry.field(description="The flavor's id, opaque or plain, or its name.")
    count: int = strawberry.field(default=1, description="How many, 1 to 100.")
    min_count: int | None = strawberry.field(
        default=None,
        description="With how many it counts as a success, 1 to count. Null: with all. With less none is kept.",
    )
    system_disk: SystemDiskInput | None = strawberry.field(default=None, description="Its system disk.")
    data_disks: list[DataDiskInput] | None = strawberry.field(
        default=None, description="Data disks, at most Flavor.maxDataDisks with those of a full-ECS image."
    )
    disk_overrides: list[DiskOverrideInput] | None = strawberry.field(
        default=None, description="Changes to disks that a full-ECS image restores."
    )
    login: EcsLoginInput | None = strawberry.field(default=None, description="How to log in.")
    user_data: str | None = strawberry.field(
        default=None, description="For cloud-init, as it is: at most 32768 bytes of UTF-8."
    )
    expose_ports: list[int] = strawberry.field(
        default_factory=lambda: [22],
        description="Guest TCP ports to be reachable from outside (endpoints), 1 to 65535; at most 20.",
    )
    tags: list[TagInput] | None = strawberry.field(default=None, description="At most 10, with different keys.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be refused.")

    async def request(self, who: Caller) -> planning.LaunchRequest:
        """The request as the service has it."""
        disk, login = self.system_disk or SystemDiskInput(), self.login
        return planning.LaunchRequest(
            name=self.name,
            description=self.description,
            image_id=uuid_of(self.image_id, "Image"),
            flavor_id=UUID((await flavor_ids(who, [self.flavor_id]))[0]),
            count=self.count,
            min_count=self.min_count,
            system_disk_gib=disk.size_gib,
            system_disk_type=disk.type,
            data_disks=[each.plain() for each in self.data_disks or ()],
            disk_overrides=[each.plain() for each in self.disk_overrides or ()],
            key_pair_name=login.key_pair_name.value if login and login.key_pair_name else None,
            password=login.password.value if login and login.password else None,
            user_data=self.user_data,
            expose_ports=self.expose_ports,
            tags=tags_of(self.tags),
        )


@strawberry.type(description="The machines that were begun, and the job that launches them.")
class LaunchEcsPayload:
    ecs_instances: list[EcsInstance] = strawberry.field(
        default_factory=list, description="By their numbers. Empty when it was refused, and in a dry run."
    )
    job: Job | None = strawberry.field(default=None, description="Null when it was refused, and in a dry run.")
    warnings: list[Caution] = strawberry.field(default_factory=list, description="What should be known.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class LaunchMutations:
    @changing("Launch ECSs from an image. Needs scope ECS.")
    async def launch_ecs(self, info: Info, input: Input[LaunchEcsInput]) -> LaunchEcsPayload | None:
        return await refusable(LaunchEcsPayload, _launch(info, input))


async def _launch(info: Info, input: LaunchEcsInput) -> LaunchEcsPayload:
    who = caller(info, TokenScope.ECS)
    request = await input.request(who)
    begun = await launch.launch_ecs(who, request, idempotency_key=input.idempotency_key, dry_run=input.dry_run)
    rows = await reread(ecs.find_ecs, who, begun.ecs_ids, wanted(info).of("ecs_instances"))
    job = await reread_one(jobs.find_jobs, who, begun.job_id, wanted(info).of("job"))
    machines = [rows[id_] for id_ in begun.ecs_ids if id_ in rows]
    return shown(LaunchEcsPayload, ecs_instances=machines, job=job, warnings=begun.warnings)
