"""Rows by the hundred, for tests of reading: made in memory, written with one statement per table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID, uuid4

from tortoise.models import Model

from app.backups.models import Backup, BackupDisk
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance, EcsTag, Flavor, KeyPair
from app.enums import (
    Architecture,
    BackupStatus,
    ContentState,
    DiskStatus,
    DiskType,
    EcsStatus,
    ErrorCode,
    ExportFormat,
    Firmware,
    FlavorState,
    ImageKind,
    ImageSourceKind,
    ImageStatus,
    JobStatus,
    JobType,
    OsType,
    QuotaResource,
    ShareStatus,
    TokenScope,
    UploadStatus,
)
from app.exports.models import Export
from app.images.models import Image, ImageDisk, ImageTag
from app.jobs.models import Job, JobDisk, JobEcs
from app.policy import Caller
from app.projects.models import Project, Quota
from app.sharing.models import ImageMember
from app.uploads.models import Upload

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
FAULT: dict[str, Any] = {"fault_code": ErrorCode.ENGINE_FAILED, "fault_message": "It broke.", "fault_at": BEGINNING}
ORDER = (
    Project, Quota, Flavor, KeyPair, Content, Image, ImageTag, ImageDisk, ImageMember, Job, EcsInstance, EcsTag, EvsDisk, Backup,
    BackupDisk, JobEcs, JobDisk, Upload, Export,
)  # fmt: skip


def at(seconds: float) -> datetime:
    """A time on the first day."""
    return BEGINNING + timedelta(seconds=seconds)


def caller_of(project_id: UUID | str, *more: TokenScope) -> Caller:
    """Somebody who may do everything in a project, and more where it is said."""
    scopes = frozenset(TokenScope) - {TokenScope.OPERATOR} | set(more)
    return Caller(project_id=str(project_id), scopes=scopes, token_id=str(uuid4()), token_name="test")


class Sheet:
    """Rows that are to be written."""

    def __init__(self, random: Random | None = None) -> None:
        self.random = random or Random(uuid4().int)
        self.rows: dict[type[Model], list[Model]] = defaultdict(list)
        self.numbers = count(1)
        self.disks_of: dict[UUID, list[EvsDisk]] = defaultdict(list)

    def id(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)

    def add(self, model: type[Model], **columns: Any) -> Any:
        """A row; tables whose ids are numbers get theirs from the database."""
        if model not in (Quota, ImageTag, EcsTag, JobEcs, JobDisk):
            columns.setdefault("id", self.id())
        row = model(**columns)
        self.rows[model].append(row)
        return row

    async def write(self) -> None:
        for model in ORDER:
            if rows := self.rows.pop(model, []):
                await model.bulk_create(rows, batch_size=400)

    # ------------------------------------------------------------ nouns, with what a test has no opinion on

    def project(self, name: str) -> UUID:
        project: Project = self.add(Project, name=f"{name}-{self.id().hex[:8]}")
        for resource in QuotaResource:
            self.add(Quota, project_id=project.id, resource=resource, limit=10**9)
        return project.id

    def flavor(self, **columns: Any) -> Flavor:
        values = {"vcpus": 1, "ram_mib": 2048, "architecture": Architecture.X86_64, "state": FlavorState.NORMAL}
        flavor: Flavor = self.add(Flavor, name=f"f-{self.id().hex[:8]}", **values | columns)
        return flavor

    def image(self, project_id: UUID, *, tags: int = 1, disks: int = 1, fault: bool = False, **columns: Any) -> Image:
        values: dict[str, Any] = {
            "name": f"image-{next(self.numbers)}",
            "kind": ImageKind.SYSTEM_DISK,
            "status": ImageStatus.ACTIVE,
            "source_kind": ImageSourceKind.INSTALLED,
            "os_type": OsType.LINUX,
            "architecture": Architecture.X86_64,
            "firmware": Firmware.BIOS,
            "created_at": at(next(self.numbers)),
        }
        image: Image = self.add(Image, project_id=project_id, **values | (FAULT if fault else {}) | columns)
        for number in range(tags):
            self.add(ImageTag, image_id=image.id, key=f"key{number}", value=f"value{number}")
        for index in range(disks):
            content = self.content()
            self.add(
                ImageDisk,
                image_id=image.id,
                content_id=content.id,
                boot_index=index,
                size_gib=10 + index,
                is_system=index == 0,
            )
        return image

    def content(self) -> Content:
        """Bytes whose checksum is known, or not yet."""
        sha256 = self.random.choice((None, f"{next(self.numbers):064x}"))
        content: Content = self.add(Content, engine="qemu", state=ContentState.SEALED, sha256=sha256)
        return content

    def share(self, image: Image, project_id: UUID, status: ShareStatus = ShareStatus.ACCEPTED, **columns: Any) -> None:
        self.add(ImageMember, image_id=image.id, project_id=project_id, status=status, **columns)

    def machine(
        self,
        project_id: UUID,
        image: Image,
        flavor: Flavor,
        *,
        tags: int = 1,
        disks: int = 1,
        fault: bool = False,
        **columns: Any,
    ) -> EcsInstance:
        values: dict[str, Any] = {
            "name": f"vm-{next(self.numbers)}",
            "status": EcsStatus.ACTIVE,
            "image_name": image.name,
            "traits": {"os_type": OsType.LINUX, "min_ram_mib": 0, "max_ram_mib": None},
            "hostname": "vm",
            "firmware": Firmware.BIOS,
            "expose_ports": [22],
            "endpoints": [{"guest_port": 22, "host": "127.0.0.1", "port": 40022}],
            "created_at": at(next(self.numbers)),
        }
        machine: EcsInstance = self.add(
            EcsInstance,
            project_id=project_id,
            image_id=image.id,
            flavor_id=flavor.id,
            **values | (FAULT if fault else {}) | columns,
        )
        for number in range(tags):
            self.add(EcsTag, ecs_id=machine.id, key=f"key{number}", value=f"value{number}")
        self.disks(machine, image, 0, disks)
        return machine

    def disks(self, machine: EcsInstance, image: Image, first: int, end: int) -> None:
        """Disks of a machine, by their places."""
        for index in range(first, end):
            disk: EvsDisk = self.add(
                EvsDisk,
                project_id=machine.project_id,
                ecs_id=machine.id,
                name=f"disk-{index}",
                size_gib=10,
                type=DiskType.SAS,
                status=DiskStatus.IN_USE,
                is_system=index == 0,
                boot_index=index,
                image_id=image.id,
                image_name=image.name,
                created_at=at(next(self.numbers)),
            )
            self.disks_of[machine.id].append(disk)

    def free_disk(self, project_id: UUID, image: Image) -> EvsDisk:
        """A disk of no machine."""
        disk: EvsDisk = self.add(
            EvsDisk,
            project_id=project_id,
            name="disk",
            size_gib=10,
            type=DiskType.SAS,
            status=DiskStatus.AVAILABLE,
            is_system=False,
            image_id=image.id,
            image_name=image.name,
            created_at=at(next(self.numbers)),
        )
        return disk

    def backup(self, machine: EcsInstance, *, disks: int = 1, **columns: Any) -> Backup:
        """A backup of so many disks of a machine."""
        values: dict[str, Any] = {
            "name": f"backup-{next(self.numbers)}",
            "status": BackupStatus.AVAILABLE,
            "traits": {**machine.traits, "image_id": str(machine.image_id), "image_name": machine.image_name},
            "created_at": at(next(self.numbers)),
        }
        backup: Backup = self.add(
            Backup,
            project_id=machine.project_id,
            ecs_id=machine.id,
            ecs_name=machine.name,
            **values | FAULT | columns,
        )
        for disk in self.disks_of[machine.id][:disks]:
            content = self.content()
            self.add(
                BackupDisk,
                backup_id=backup.id,
                content_id=content.id,
                disk_id=disk.id,
                boot_index=disk.boot_index,
                size_gib=disk.size_gib,
                is_system=disk.is_system,
            )
        return backup

    def upload(self, project_id: UUID) -> Upload:
        """One that has failed, so that there is something to say of it."""
        upload: Upload = self.add(
            Upload,
            project_id=project_id,
            status=UploadStatus.FAILED,
            size_bytes=1,
            sha256="0" * 64,
            expires_at=datetime(2999, 1, 1, tzinfo=UTC),
            created_at=at(next(self.numbers)),
            **FAULT,
        )
        return upload

    def export(self, job: Job, image: Image) -> Export:
        """The file that a job has made of an image."""
        export: Export = self.add(
            Export,
            project_id=job.project_id,
            job_id=job.id,
            image_id=image.id,
            format=ExportFormat.RAW,
            size_bytes=1,
            sha256="0" * 64,
            expires_at=datetime(2999, 1, 1, tzinfo=UTC) + timedelta(seconds=next(self.numbers)),  # the last is found
        )
        return export

    def job(
        self,
        project_id: UUID,
        image: Image | None,
        machines: Sequence[EcsInstance] = (),
        *,
        fault: bool = False,
        **columns: Any,
    ) -> Job:
        values: dict[str, Any] = {
            "type": JobType.CREATE_IMAGE,
            "status": JobStatus.SUCCESS,
            "input": {},
            "run_at": BEGINNING,
            "created_at": at(next(self.numbers)),
        }
        values |= (FAULT if fault else {}) | columns
        job: Job = self.add(Job, project_id=project_id, image_id=image.id if image else None, **values)
        for machine in machines:
            self.add(JobEcs, job_id=job.id, ecs_id=machine.id)
            for disk in self.disks_of[machine.id][:1]:
                self.add(JobDisk, job_id=job.id, disk_id=disk.pk)
        return job

    def key_pair(self, project_id: UUID, **columns: Any) -> KeyPair:
        values = {"name": f"key-{next(self.numbers)}", "fingerprint": "SHA256:x", "public_key": "ssh-ed25519 x"}
        key: KeyPair = self.add(KeyPair, project_id=project_id, **values | columns)
        return key
