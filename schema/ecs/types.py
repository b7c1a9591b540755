"""ECSs, flavors and key pairs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from uuid import UUID

import strawberry
from strawberry import Info

from app.ecs.reads import Endpoint
from app.enums import Architecture, EcsStatus, FlavorState, PortProtocol
from app.reading import Row
from schema.disks.types import EvsDisk
from schema.ids import Node
from schema.jobs.types import Job
from schema.paging import Connection, paged
from schema.payloads import Fault, Launchability, Tag
from schema.scalars import BigInt
from schema.selection import loaded
from schema.sources.types import SourceImage

if TYPE_CHECKING:
    from schema.backups.types import Backup

OfImage = Annotated[strawberry.ID, strawberry.argument(description="The image's id, opaque or plain.")]
TailBytes = Annotated[int, strawberry.argument(description="The last so many bytes, 1 to 65536.")]


def _of_image(root: strawberry.Parent[Row], info: Info, image_id: OfImage) -> Any:
    return loaded(root, info)


def _console_log(root: strawberry.Parent[Row], info: Info, tail_bytes: TailBytes = 16384) -> Any:
    return loaded(root, info)


class HasEndpoints(Protocol):
    """A row whose endpoints are as they were written: JSON."""

    endpoints: list[dict[str, Any]]


def _endpoints(root: strawberry.Parent[HasEndpoints]) -> Any:
    return [Endpoint(**each) for each in root.endpoints]


@strawberry.type(description="A size that ECSs are launched in.")
class Flavor(Node):
    name: str = strawberry.field(description="Unique; may stand wherever a flavor's id may.")
    vcpus: int = strawberry.field(description="Virtual processors.")
    ram_mib: int = strawberry.field(description="Memory in MiB.")
    architecture: Architecture = strawberry.field(description="Of its processors.")
    state: FlavorState = strawberry.field(description="Whether it is sold.")
    max_data_disks: int = strawberry.field(description="Disks that an ECS may have besides its system disk.")
    launchability: Launchability = strawberry.field(
        resolver=_of_image,
        description="The same answer as Image.launchability, seen from the flavor: one request for a whole wizard page.",
    )


@strawberry.type(description="Where a guest port can be reached from outside: a forwarded port of the host.")
class EcsEndpoint:
    guest_port: int = strawberry.field(description="The port inside the machine, 1 to 65535.")
    host: str = strawberry.field(description="Name or address to connect to.")
    port: int = strawberry.field(description="The port to connect to, 1 to 65535; changes whenever the machine starts.")
    protocol: PortProtocol = strawberry.field(description="Transport protocol.")


@strawberry.type(
    description="A stretch of serial console output. Offsets count bytes since the machine was launched; a chunk whose "
    "startOffset is beyond the one asked for says that older output is gone."
)
class ConsoleChunk:
    text: str = strawberry.field(description="UTF-8; what is not, is replaced.")
    start_offset: BigInt = strawberry.field(description="Of its first byte.")
    end_offset: BigInt = strawberry.field(description="Of the byte after its last: where to go on.")


@strawberry.type(description="A virtual machine.")
class EcsInstance(Node):
    uuid: UUID = strawberry.field(description="The plain id.")
    name: str = strawberry.field(description="1 to 128 characters; need not be unique.")
    description: str | None = strawberry.field(description="At most 85 characters.")
    status: EcsStatus = strawberry.field(description="Where it is in its life.")
    fault: Fault | None = strawberry.field(description="Why it could not be launched, or what befell it.")
    current_job: Job | None = strawberry.field(
        description="The job that holds it now (an image job locks its source). Null when idle."
    )
    flavor: Flavor = strawberry.field(description="Its size.")
    image: SourceImage = strawberry.field(description="The image that it was launched from.")
    disks: list[EvsDisk] = strawberry.field(description="Its disks, the system disk first.")
    endpoints: list[EcsEndpoint] = strawberry.field(
        resolver=_endpoints, description="Where its exposed ports can be reached; empty unless it runs."
    )
    tags: list[Tag] = strawberry.field(description="At most 10, by key.")
    key_pair_name: str | None = strawberry.field(description="The key pair that it was launched with.")
    console_log: ConsoleChunk | None = strawberry.field(
        resolver=_console_log,
        description="The end of its serial console output. Null when there is none, or when the engine cannot be reached. "
        "On one machine at a time: not below a list.",
    )
    backups: Connection[Annotated[Backup, strawberry.lazy("schema.backups.types")]] = strawberry.field(
        resolver=paged, description="Its backups, newest first. They outlive it (backups with filter ecsIds)."
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
    launched_at: datetime | None = strawberry.field(description="When it first ran.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")


@strawberry.type(description="An SSH public key that ECSs can be launched with.")
class KeyPair(Node):
    name: str = strawberry.field(description="1 to 64 characters; unique in the project.")
    fingerprint: str = strawberry.field(description="Of the public key: SHA256 and base64, as ssh-keygen -l prints it.")
    public_key: str = strawberry.field(description="In OpenSSH's form, at most 1024 characters.")
    created_at: datetime = strawberry.field(description="When it was made.")
