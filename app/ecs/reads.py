"""How ECSs, flavors and key pairs are read, and what they add to the nouns below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app import faults, policy
from app.disks.reads import EVS_DISKS
from app.ecs.models import EcsInstance, EcsTag, Flavor, KeyPair
from app.enums import Architecture, EcsStatus, FlavorState, PortProtocol
from app.faults import Fault
from app.images.reads import IMAGES, TagRow
from app.jobs.reads import JOB_ECS, JOBS
from app.reading import Children, Noun, Paged, Parent, Remembered, Row, Through


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a guest port can be reached from outside."""

    guest_port: int
    host: str
    port: int
    protocol: PortProtocol = PortProtocol.TCP


class EcsRow(Row):
    """A machine."""

    noun = "EcsInstance"
    project_id: str
    flavor_id: str
    name: str
    status: EcsStatus
    job_id: str | None
    image_id: str
    image_name: str
    traits: dict[str, Any]

    @property
    def fault(self) -> Fault | None:
        """Why it could not be launched, or what befell it."""
        return faults.fault_of(self)


class FlavorRow(Row):
    """A size of machine."""

    noun = "Flavor"
    name: str
    vcpus: int
    ram_mib: int
    architecture: Architecture
    state: FlavorState
    max_data_disks: int


class KeyPairRow(Row):
    """An SSH public key."""

    noun = "KeyPair"
    name: str
    public_key: str


FLAVORS = Noun(Flavor, FlavorRow, policy.visible_flavors, order=("ram_mib", "vcpus", "name", "id"))
KEY_PAIRS = Noun(KeyPair, KeyPairRow, policy.visible_key_pairs, order=("-created_at", "-id"))
ECS_TAGS = Noun(EcsTag, TagRow, policy.visible_ecs_tags, order=("key", "id"))
ECS_COMPUTED = {"uuid": ("id",), "fault": faults.COLUMNS}
ECS = Noun(
    EcsInstance,
    EcsRow,
    policy.visible_ecs,
    computed=ECS_COMPUTED,
    relations={
        "flavor": Parent(FLAVORS, "flavor_id"),
        "image": Remembered(IMAGES, "image_id", "image_name", "image"),
        "current_job": Parent(JOBS, "job_id"),
        "disks": Children(EVS_DISKS, "ecs_id", order=("boot_index", "id")),
        "tags": Children(ECS_TAGS, "ecs_id"),
    },
    order=("-created_at", "-id"),
)
LAST_SEEN_ECS = Noun(
    EcsInstance, EcsRow, policy.last_seen_ecs, computed=ECS_COMPUTED, relations=ECS.relations, order=ECS.order
)
"""Deleted ones too: what a subscription's last value is read from."""

IMAGES.relations.update(
    {
        "ecs_instances": Paged(ECS, "image_id"),
        "jobs": Paged(JOBS, "image_id"),
    }
)
EVS_DISKS.relations["ecs_instance"] = Parent(ECS, "ecs_id")
JOBS.relations.update(
    {
        "image": Parent(IMAGES, "image_id"),
        "ecs_instances": Through(JOB_ECS, "job_id", ECS, "ecs_id"),
    }
)
