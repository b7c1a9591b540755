"""Random documents over random rows are answered as by an interpreter that does the obvious: identical JSON, order of keys included.

A failure prints its seed; `READING_SEED=… pytest tests/reading/test_same_answers.py` repeats it.
"""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from graphql import parse
from strawberry.types.execution import PreExecutionError

from app.disks.models import EvsDisk
from app.enums import (
    Architecture,
    BackupStatus,
    Consistency,
    DiskFormat,
    DiskStatus,
    DiskType,
    EcsStatus,
    ErrorCode,
    ExportFormat,
    FlavorState,
    ImageKind,
    ImageSourceKind,
    ImageStatus,
    JobStatus,
    JobType,
    OsType,
    ShareStatus,
    TokenScope,
    UploadStatus,
)
from app.exports.models import Export
from app.jobs.models import JobDisk
from app.uploads.models import Upload
from schema.context import Context
from schema.ids import opaque
from tests.reading.documents import Author
from tests.reading.naive import Interpreter, Naive, Tables, tables
from tests.reading.seed import FAULT, Sheet, at, caller_of
from tests.reading.worlds import UNBOUND

DOCUMENTS = 80
"""For each caller."""
IMAGES, MACHINES, BACKUPS, JOBS, UPLOADS = 40, 50, 60, 40, 20
LONG_AGO, NOT_SOON = datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


class Data:
    """Rows with all that can be missing missing here and there, times that many of them share, and who looks at them."""

    def __init__(self, chance: random.Random, seed: int) -> None:
        self.seed, self.chance, self.sheet = seed, chance, Sheet(chance)
        self.projects = [self.sheet.project(name) for name in ("owner", "recipient", "third", "operator")]
        owner, recipient, _, operator = self.projects
        self.callers = [caller_of(owner), caller_of(recipient), caller_of(operator, TokenScope.OPERATOR)]
        self.flavors = [
            self.sheet.flavor(ram_mib=chance.choice((256, 2048, 8192)), state=state, architecture=architecture)
            for state in (FlavorState.NORMAL, FlavorState.PROMOTION, FlavorState.SELLOUT)
            for architecture in Architecture
        ]
        self.images = [self.image(number) for number in range(IMAGES)]
        self.machines = [self.machine(number) for number in range(MACHINES)]
        for image in self.images:
            if chance.random() < 0.6:
                machine, before = chance.choice(self.machines), chance.choice([*self.images, self.gone()])
                image.source_kind, image.source_ecs_id, image.source_ecs_name = ImageSourceKind.ECS, machine.id, "from"
                image.source_image_id, image.source_image_name = before.id, before.name
        self.backups = [self.backup() for _ in range(BACKUPS)]
        for image in self.images:
            self.made_from(image)
        self.jobs = [self.job() for _ in range(JOBS)]
        self.uploads = [self.upload() for _ in range(UPLOADS)]
        for machine in self.machines:
            machine.job_id = chance.choice([None, *[job.id for job in self.jobs[:10]]])
        for number in range(5):
            self.sheet.key_pair(chance.choice(self.projects), created_at=at(number // 2))
            self.sheet.add(EvsDisk, project_id=owner, name=f"loose{number}", size_gib=1, type=DiskType.SSD, is_system=False,
                           status=DiskStatus.AVAILABLE, created_at=at(number // 3))  # fmt: skip

        nouns = {"Image": self.images, "EcsInstance": self.machines, "Job": self.jobs, "Flavor": self.flavors,
                 "Backup": self.backups, "Upload": self.uploads}  # fmt: skip
        self.ids = {noun: [opaque(noun, str(row.id)) for row in (*some, self.gone())] for noun, some in nouns.items()}
        self.ids["Project"] = [opaque("Project", str(project)) for project in self.projects]
        self.ids["Flavor"].pop()  # launchability of a flavor that is not there would be an error

    def variables(self, chance: random.Random) -> dict[str, object]:
        """One of two sets of values, in the second of which a number is left out."""
        public = next(image for image in self.images if image.is_public)
        given = {"flavor": chance.choice(self.flavors).name, "image": str(public.id)}
        first = {"n": 2, "s": ["ACCEPTED"], "t": "PENDING", "yes": True, "no": False}
        return given | chance.choice([first, {"s": None, "t": "REJECTED", "yes": False, "no": True}])

    def gone(self) -> SimpleNamespace:
        """Something that there is no more."""
        return SimpleNamespace(id=self.sheet.id(), name="gone")

    def image(self, number: int) -> Any:
        pick = self.chance.choice
        image = self.sheet.image(
            pick(self.projects),
            tags=pick((0, 1, 3)),
            disks=pick((0, 1, 2)),
            is_public=number % 6 == 0,
            name=f"image{pick('abc')}{number:03}",
            description=pick((None, "text")),
            kind=pick(list(ImageKind)),
            status=pick(list(ImageStatus)),
            os_type=pick((None, *OsType)),
            os_platform=pick((None, "Debian")),
            os_bits=pick((None, 32, 64)),
            architecture=pick((None, *Architecture)),
            min_disk_gib=pick((0, 10)),
            min_ram_mib=pick((0, 4096)),
            max_ram_mib=pick((None, 4096)),
            stored_bytes=pick((0, 0, 2**40)),
            disk_format=pick((None, *DiskFormat)),
            sha256=pick((None, "1" * 64)),
            protected=pick((True, False)),
            created_at=at(pick((0, 1, 2, 2.5))),
            **pick((FAULT, FAULT | {"fault_code": ErrorCode.DAMAGED}, {}, {})),
        )
        for project in self.projects:
            if project != image.project_id and self.chance.random() < 0.5:
                self.sheet.share(image, project, pick(list(ShareStatus)), created_at=at(pick((0, 1))))
        return image

    def machine(self, number: int) -> Any:
        pick = self.chance.choice
        return self.sheet.machine(
            pick(self.projects),
            pick([*self.images, self.gone()]),
            pick(self.flavors),
            tags=pick((0, 2)),
            disks=pick((0, 1, 2)),
            fault=pick((True, False)),
            status=pick(list(EcsStatus)),
            endpoints=pick(([], [{"guest_port": 22, "host": "h", "port": 1}])),
            created_at=at(pick((0, 1))),
        )

    def backup(self) -> Any:
        pick = self.chance.choice
        return self.sheet.backup(
            pick(self.machines[:20]),
            disks=pick((0, 1, 2)),
            status=pick(list(BackupStatus)),
            consistency=pick((None, *Consistency)),
            changed_bytes=pick((None, 0, 2**40)),
            created_at=at(pick((0, 1))),
            **pick((FAULT, dict.fromkeys(FAULT))),
        )

    def made_from(self, image: Any) -> None:
        """What else there is to say of where an image came from. A backup has one image, and any number that could not be made."""
        pick = self.chance.choice
        image.source_disk_id = pick((None, self.sheet.id()))
        image.source_file_name, image.source_format = pick((None, "disk.vmdk")), pick((None, *DiskFormat))
        taken = {other.source_backup_id for other in self.images if other.status is not ImageStatus.KILLED}
        fitting = [backup for backup in self.backups if backup.project_id == image.project_id and not image.is_public]
        if image.status is not ImageStatus.KILLED:
            fitting = [backup for backup in fitting if backup.id not in taken]
        image.source_backup_id = pick([None, self.sheet.id(), *(backup.id for backup in fitting)])

    def upload(self) -> Any:
        pick = self.chance.choice
        return self.sheet.add(
            Upload,
            project_id=pick(self.projects),
            file_name=pick((None, "disk.vmdk")),
            status=pick(list(UploadStatus)),
            size_bytes=2**40,
            offset_bytes=pick((0, 2**40)),
            sha256=pick((None, "0" * 64)),
            expires_at=pick((LONG_AGO, NOT_SOON)),
            created_at=at(pick((0, 1))),
            **pick((FAULT, {})),
        )

    def export(self, job: Any) -> None:
        """The file of a job: not there yet, there, or expired."""
        expires_at = self.chance.choice((None, LONG_AGO, NOT_SOON, NOT_SOON))
        self.sheet.add(
            Export,
            project_id=job.project_id,
            job_id=job.id,
            image_id=self.sheet.id(),
            format=self.chance.choice(list(ExportFormat)),
            size_bytes=2**40 if expires_at else 0,
            sha256=expires_at and "0" * 64,
            expires_at=expires_at,
        )

    def job(self) -> Any:
        pick = self.chance.choice
        job = self.sheet.job(
            pick(self.projects),
            pick([None, self.gone(), *self.images[:20]]),
            self.chance.sample(self.machines, pick((0, 1, 3))),
            fault=pick((True, False)),
            type=pick(list(JobType)),
            status=pick(list(JobStatus)),
            backup_id=pick([None, self.gone().id, *(backup.id for backup in self.backups[:20])]),
            cancel_requested=pick((True, False)),
            created_at=at(pick((0, 1))),
        )
        if pick((True, False)):
            self.sheet.add(JobDisk, job_id=job.id, disk_id=self.gone().id)
        if pick((True, False)):
            self.export(job)
        return job


@pytest.fixture(scope="module")
async def data(shared_database: None) -> tuple[Data, Tables]:
    """The rows as they were made, and as they are read back."""
    seed = int(os.environ.get("READING_SEED", random.randrange(10**9)))
    made = Data(random.Random(seed), seed)
    await made.sheet.write()
    return made, await tables()


@pytest.mark.parametrize("who", range(3), ids=["owner", "recipient", "operator"])
async def test_answers_are_the_same_as_those_of_the_obvious_implementation(data: tuple[Data, Tables], who: int) -> None:
    made, rows = data
    caller, done = made.callers[who], 0

    for number in range(DOCUMENTS):
        chance = random.Random(f"{made.seed} {who} {number}")
        author = Author(chance, made.ids)
        text = author.document()
        given = {name: value for name, value in made.variables(chance).items() if name in author.used}

        result = await UNBOUND.execute(text, given, Context(caller, "test"))
        if isinstance(result, PreExecutionError):  # the document is not valid
            continue
        expected = Interpreter(parse(text), given, Naive(rows, caller)).answer()

        done += 1
        said = f"READING_SEED={made.seed}, {who}, {number}: {given}\n{text}"
        assert not result.errors, f"{result.errors}\n{said}"
        assert json.dumps(result.data) == json.dumps(expected), said

    assert done > DOCUMENTS * 0.9
