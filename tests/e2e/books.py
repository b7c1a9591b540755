"""What an installation says of itself: its rows, the files in its folder and the processes of its machines, which have to say the same."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from app.engines.qemu.layers import CLUSTER_BYTES, SUFFIX, read_header
from tests.e2e.installation import Installation

NONE = {
    "job that has not ended": "SELECT type || id FROM job WHERE status NOT IN ('SUCCESS', 'FAIL', 'CANCELLED')",
    "machine that is still held": "SELECT id FROM ecs_instance WHERE job_id IS NOT NULL",
    "disk that is still held": "SELECT id FROM evs_disk WHERE job_id IS NOT NULL",
    "backup that is still held": "SELECT id FROM backup WHERE job_id IS NOT NULL",
    "machine in between": "SELECT id FROM ecs_instance WHERE status NOT IN ('ACTIVE', 'SHUTOFF', 'ERROR', 'DELETED')",
    "disk in between": "SELECT id FROM evs_disk WHERE status NOT IN ('IN_USE', 'AVAILABLE', 'ERROR')",
    "content in between": "SELECT id FROM content WHERE state <> 'SEALED'",
    "image in between": "SELECT id FROM image WHERE status NOT IN ('ACTIVE', 'KILLED')",
    "backup in between": "SELECT id FROM backup WHERE status NOT IN ('AVAILABLE', 'ERROR')",
    "upload in between": "SELECT id FROM upload WHERE status NOT IN ('RECEIVING', 'COMPLETE', 'FAILED')",
    "damaged content": "SELECT id FROM content WHERE damaged_at IS NOT NULL",
}
HELD = " UNION ".join(
    f"SELECT content_id FROM {table} WHERE content_id IS NOT NULL"
    for table in ("image_disk", "backup_disk", "evs_disk")
)
KEPT = "FROM ecs_instance e JOIN flavor f ON f.id = e.flavor_id WHERE e.status IN ('ACTIVE', 'SHUTOFF')"
QUOTAS = {
    "ECS_INSTANCES": f"SELECT e.project_id, 1 {KEPT}",
    "VCPUS": f"SELECT e.project_id, f.vcpus {KEPT}",
    "RAM_MIB": f"SELECT e.project_id, f.ram_mib {KEPT}",
    "DISKS": "SELECT project_id, 1 FROM evs_disk WHERE status <> 'ERROR'",
    "DISK_GIB": "SELECT project_id, size_gib FROM evs_disk WHERE status <> 'ERROR'",
    "IMAGES": "SELECT project_id, 1 FROM image",
    "IMAGE_BYTES": "SELECT project_id, charged_bytes FROM image",
    "BACKUPS": "SELECT project_id, 1 FROM backup",
    "UPLOADS": "SELECT project_id, 1 FROM upload",
}
"""What each resource's use comes to; of the others, nothing is used while no job runs."""
OWN_FILES = {
    "service.sqlite",
    "service.sqlite-wal",
    "service.sqlite-shm",
    "demo.json",
    "reserve",
    "engine/lock",
    "engine/accelerator.json",
}
ENGINE_FILES = {"layers", "disks", "contents", "machines"}
"""Folders of the engine whose files are looked at one by one."""


class Books:
    """Those of one installation, while it is idle or does not run."""

    def __init__(self, installation: Installation) -> None:
        self.data, self.engine = installation.data, installation.engine
        self._machines = installation.machines
        self._digests: dict[tuple[object, ...], str] = {}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with closing(sqlite3.connect(f"file:{self.data / 'service.sqlite'}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def column(self, sql: str) -> list[Any]:
        """The only column of rows, in order."""
        return sorted(value for (value,) in self.rows(sql))

    def contradictions(self) -> list[str]:
        """Where rows, files and processes do not say the same, in words."""
        there = {
            kind: sorted(path.name.removesuffix(".json") for path in (self.engine / kind).iterdir())
            for kind in ENGINE_FILES
        }
        there["held contents"] = there["contents"]
        there["processes"] = sorted(map(str, self._machines()))
        there["exports"] = sorted(path.name for path in self.data.glob("exports/*"))
        wanted = {
            "machines": self.column("SELECT id FROM ecs_instance WHERE status IN ('ACTIVE', 'SHUTOFF')"),
            "processes": self.column("SELECT id FROM ecs_instance WHERE status = 'ACTIVE'"),
            "disks": self.column("SELECT id FROM evs_disk WHERE status <> 'ERROR'"),
            "contents": self.column("SELECT id FROM content"),
            "held contents": self.column(HELD),
            "layers": sorted(self._layers()),
            "exports": self.column("SELECT id || '.' || lower(format) FROM export"),
        }
        found = [f"{kind}: {there[kind]} but {wanted[kind]}" for kind in wanted if there[kind] != wanted[kind]]
        found += [f"{what}: {ids}" for what, sql in NONE.items() if (ids := self.column(sql))]
        return (
            found
            + [f"left behind: {path}" for path in self._strangers()]
            + self._uploads()
            + self._quotas()
            + self._space()
        )

    def _uploads(self) -> list[str]:
        """Uploads that lack a file, and files that lack an upload; one that counts no byte yet may have a file or not."""
        files = {path.stem for path in self.data.glob("uploads/*")}
        rows = {id_: (status, count) for id_, status, count in self.rows("SELECT id, status, offset_bytes FROM upload")}
        due = {id_ for id_, (status, count) in rows.items() if count and status != "FAILED"}
        may_be = {id_ for id_, (status, _) in rows.items() if status != "FAILED"}
        return [f"upload {id_}: {rows.get(id_)}" for id_ in sorted((due - files) | (files - may_be))]

    def _strangers(self) -> Iterator[Path]:
        """Files that nothing looks at one by one, or that are never meant to stay."""
        looked_at = {"uploads", "exports", *(f"engine/{kind}" for kind in ENGINE_FILES)}
        for folder, _, names in os.walk(self.data):
            place = Path(folder).relative_to(self.data)
            for name in names:
                path = place / name
                is_looked_at = any(str(path).startswith(f"{known}/") for known in looked_at)
                passing = name.startswith(".") or name == "seal.json"
                if passing or not (is_looked_at or str(path) in OWN_FILES):
                    yield path

    def _layers(self) -> set[str]:
        reached: set[str] = set()
        for path in (*self.engine.glob("disks/*.json"), *self.engine.glob("contents/*.json")):
            reached.update(self._chain(path))
        return reached

    def _chain(self, record: Path) -> Iterator[str]:
        """The files that a disk or content stands on, top first."""
        name: str | None = json.loads(record.read_bytes())["layer"] + SUFFIX
        while name:
            yield name
            header = read_header(self.engine / "layers" / name)
            name = header.backing if header else None

    def _quotas(self) -> list[str]:
        """Quotas that are not what the rows of their project come to."""
        counted: Counter[tuple[str, str]] = Counter()
        for resource, sql in QUOTAS.items():
            for project_id, amount in self.rows(sql):
                counted[project_id, resource] += amount
        quotas = self.rows("SELECT project_id, resource, used FROM quota")
        return [
            f"quota {resource}: {used} but {counted[project_id, resource]}"
            for project_id, resource, used in quotas
            if used != counted[project_id, resource]
        ]

    def _space(self) -> list[str]:
        """Contents and exports that do not take what they are said to. What was compacted was something else when it was said."""
        records = self.engine.glob("contents/*.json")
        taken = {
            path.stem: (self.engine / "layers" / next(self._chain(path))).stat().st_blocks * 512
            for path in records
            if not json.loads(path.read_bytes()).get("former")
        }
        taken |= {path.stem: path.stat().st_size for path in self.data.glob("exports/*")}
        said = self.rows("SELECT id, own_bytes FROM content UNION SELECT id, size_bytes FROM export")
        return [f"{id_} takes {taken[id_]}, not {size}" for id_, size in said if size != taken.get(id_, size)]

    # ------------------------------------------------------------ bytes

    def disks_of(self, ecs_id: str) -> list[str]:
        """The disks of a machine, in boot order."""
        return [id_ for (id_,) in self.rows(f"SELECT id FROM evs_disk WHERE ecs_id = '{ecs_id}' ORDER BY boot_index")]

    def depths(self, ecs_id: str) -> list[int]:
        """On how many layers each of them stands."""
        return [len(list(self._chain(self.engine / "disks" / f"{id_}.json"))) for id_ in self.disks_of(ecs_id)]

    async def held(self, kind: str, ids: Sequence[str]) -> tuple[str, ...]:
        """What tells the bytes of "disks" or "contents" from others, however they lie in files."""
        return tuple([await self._digest(self.engine / kind / f"{id_}.json") for id_ in ids])

    async def _digest(self, record: Path) -> str:
        files = [self.engine / "layers" / name for name in self._chain(record)]
        # Looked at once: what is not as it was since has another size or time.
        key = tuple((path, (facts := path.stat()).st_size, facts.st_mtime_ns) for path in files)
        if key not in self._digests:
            self._digests[key] = await digest_of(files, "qcow2")
        return self._digests[key]


async def digest_of(files: Sequence[Path], format: str) -> str:
    """A digest of all clusters of a disk that are not zeros, with their places; its size does not matter. `files`: layers, top first."""
    command = ("qemu-img", "map", "--output=json", "-U", "-f", format, str(files[0]))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0, files
    return await asyncio.to_thread(_digest, files, json.loads(said))


def _digest(files: Sequence[Path], extents: list[dict[str, Any]]) -> str:
    digest, zeros = sha256(), bytes(CLUSTER_BYTES)
    pieces: dict[int, bytearray] = {}
    for extent in extents:
        if not extent["data"] or extent["zero"]:
            continue
        with files[extent["depth"]].open("rb") as file:
            file.seek(extent["offset"])
            at, end = extent["start"], extent["start"] + extent["length"]
            while at < end:
                length = min(CLUSTER_BYTES - at % CLUSTER_BYTES, end - at)
                cluster = pieces.setdefault(at // CLUSTER_BYTES, bytearray(zeros))
                data = file.read(length)
                cluster[at % CLUSTER_BYTES : at % CLUSTER_BYTES + len(data)] = data
                at += length
    for number, cluster in sorted(pieces.items()):
        if cluster != zeros:
            digest.update(number.to_bytes(8, "big") + cluster)
    return digest.hexdigest()
