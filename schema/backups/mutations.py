"""Making, restoring and deleting backups."""

from __future__ import annotations

from uuid import UUID

import strawberry
from strawberry import Info

from app.backups import restoring
from app.backups import service as backups
from app.backups.restoring import NewEcs
from app.ecs import service as ecs
from app.enums import TokenScope
from app.jobs import service as jobs
from app.policy import Caller
from schema.backups.types import Backup
from schema.context import caller
from schema.ecs.launch import DiskOverrideInput, EcsLoginInput
from schema.ecs.queries import flavor_ids
from schema.ecs.types import EcsInstance
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import uuid_of
from schema.jobs.batches import results_of
from schema.jobs.types import Job
from schema.payloads import Batch, Caution, errors_field, reread_one, shown
from schema.selection import wanted


@strawberry.input(description="The backup to make, of an ECS that is ACTIVE or SHUTOFF; a running machine runs on.")
class CreateBackupInput:
    ecs_id: strawberry.ID = strawberry.field(description="The ECS's id, opaque or plain.")
    name: str = strawberry.field(
        description="1 to 128 letters, digits, spaces, dots, hyphens and underscores, and no space at its ends."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )


@strawberry.type(description="The backup that was begun, and the job that makes it.")
class CreateBackupPayload:
    backup: Backup | None = strawberry.field(default=None, description="Null when it was refused.")
    job: Job | None = strawberry.field(default=None, description="Null when it was refused.")
    warnings: list[Caution] = strawberry.field(default_factory=list, description="What should be known.")
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="An ECS to launch from a backup, with all disks that the backup has.")
class RestoreToNewEcsInput:
    name: str = strawberry.field(description="1 to 128 letters, digits, dots, hyphens and underscores.")
    flavor_id: strawberry.ID = strawberry.field(description="The flavor's id, opaque or plain, or its name.")
    login: EcsLoginInput | None = strawberry.field(default=None, description="How to log in. Needs cloud-init.")
    expose_ports: list[int] = strawberry.field(
        default_factory=lambda: [22],
        description="Guest TCP ports to be reachable from outside (endpoints), 1 to 65535; at most 20.",
    )
    disk_overrides: list[DiskOverrideInput] | None = strawberry.field(
        default=None, description="Changes to disks; imageDiskId is of the backup's disks."
    )

    async def plain(self, who: Caller) -> NewEcs:
        """The ECS as the service has it."""
        login = self.login
        return NewEcs(
            name=self.name,
            flavor_id=UUID((await flavor_ids(who, [self.flavor_id]))[0]),
            key_pair_name=login.key_pair_name.value if login and login.key_pair_name else None,
            password=login.password.value if login and login.password else None,
            expose_ports=self.expose_ports,
            disk_overrides=[each.plain() for each in self.disk_overrides or ()],
        )


@strawberry.input(one_of=True, description="What a backup is restored to.")
class RestoreTargetInput:
    ecs_id: strawberry.Maybe[strawberry.ID] = strawberry.field(
        description="The ECS that it is a backup of, opaque or plain. It must be SHUTOFF and have all of the backup's disks; these are "
        "overwritten, and keep their ids and sizes. Disks that it was given later stay as they are."
    )
    new_ecs: strawberry.Maybe[RestoreToNewEcsInput] = strawberry.field(
        description="A new ECS, which is started. Needs scope ECS, too."
    )


@strawberry.input(description="The backup to restore, which is AVAILABLE, and where to.")
class RestoreBackupInput:
    backup_id: strawberry.ID = strawberry.field(description="The backup's id, opaque or plain.")
    target: RestoreTargetInput = strawberry.field(description="Where to.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be refused.")


@strawberry.type(description="The ECS that is restored or was begun, and the job that does it.")
class RestoreBackupPayload:
    ecs_instance: EcsInstance | None = strawberry.field(
        default=None, description="Null when it was refused, and in a dry run."
    )
    job: Job | None = strawberry.field(default=None, description="Null when it was refused, and in a dry run.")
    user_errors: list[UserError] = errors_field()


@strawberry.input(
    description="Backups to delete, in any order; others keep all of their bytes. They must be AVAILABLE or ERROR, and one with "
    "an image goes after its image."
)
class DeleteBackupsInput:
    backup_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")


@strawberry.type(description="What was begun for one backup of a batch.")
class BackupResult:
    backup_id: strawberry.ID = strawberry.field(description="The argument, as it was written.")
    backup: Backup | None = strawberry.field(
        default=None, description="The backup now. Null when it was refused, and when it is gone."
    )
    job: Job | None = strawberry.field(default=None, description="What does it. Null when it was refused.")
    error: UserError | None = strawberry.field(default=None, description="Why it was refused.")


@strawberry.type(description="What was begun for each backup.")
class DeleteBackupsPayload:
    results: list[BackupResult] = strawberry.field(
        default_factory=list, description="One for each backup, in the order of backupIds; duplicates are collapsed."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.type
class BackupMutations:
    @changing(
        "Keep what all disks of an ECS hold at one instant. Nothing is copied, so it takes no longer for larger disks. Needs scope "
        "STORAGE."
    )
    async def create_backup(self, info: Info, input: Input[CreateBackupInput]) -> CreateBackupPayload | None:
        return await refusable(CreateBackupPayload, _create(info, input))

    @changing("Restore a backup, onto its own ECS or into a new one. Needs scope STORAGE.")
    async def restore_backup(self, info: Info, input: Input[RestoreBackupInput]) -> RestoreBackupPayload | None:
        return await refusable(RestoreBackupPayload, _restore(info, input))

    @changing("Delete backups. Needs scope STORAGE.")
    async def delete_backups(self, info: Info, input: Input[DeleteBackupsInput]) -> DeleteBackupsPayload | None:
        return await refusable(DeleteBackupsPayload, _delete(info, input))


async def _create(info: Info, input: CreateBackupInput) -> CreateBackupPayload:
    who, ecs_id = caller(info, TokenScope.STORAGE), uuid_of(input.ecs_id, "EcsInstance")
    begun = await backups.create_backup(who, ecs_id, name=input.name, idempotency_key=input.idempotency_key)
    backup = await reread_one(backups.find_backups, who, begun.backup_id, wanted(info).of("backup"))
    job = await reread_one(jobs.find_jobs, who, begun.job_id, wanted(info).of("job"))
    return shown(CreateBackupPayload, backup=backup, job=job, warnings=begun.warnings)


async def _restore(info: Info, input: RestoreBackupInput) -> RestoreBackupPayload:
    who, backup_id = caller(info, TokenScope.STORAGE), uuid_of(input.backup_id, "Backup")
    target: UUID | NewEcs
    if input.target.new_ecs:
        target = await input.target.new_ecs.value.plain(who)
    else:
        assert input.target.ecs_id
        target = uuid_of(input.target.ecs_id.value, "EcsInstance")
    key = input.idempotency_key
    begun = await restoring.restore_backup(who, backup_id, target, idempotency_key=key, dry_run=input.dry_run)
    row = await reread_one(ecs.find_ecs, who, begun.ecs_id, wanted(info).of("ecs_instance"))
    job = await reread_one(jobs.find_jobs, who, begun.job_id, wanted(info).of("job"))
    return shown(RestoreBackupPayload, ecs_instance=row, job=job)


async def _delete(info: Info, input: DeleteBackupsInput) -> DeleteBackupsPayload:
    who, batch = caller(info, TokenScope.STORAGE), Batch.of("Backup", backup_ids=input.backup_ids)
    outcomes = await backups.delete_backups(who, batch.ids)
    results = await results_of(info, who, batch, outcomes, find=backups.find_backups, name="backup", make=BackupResult)
    return shown(DeleteBackupsPayload, **results)
