"""What the service asks of whatever runs its machines and keeps their disks.

Every id is a UUID of the service's own, committed to its database before the engine is called, and every verb is idempotent under
it: repeated after a crash, it answers what the first call did. An engine keeps no meaning: which project owns a machine, who may
launch an image and why is none of its business.

All verbs raise `EngineError` (with code ENGINE_FAILED, NO_CAPACITY, INSUFFICIENT_STORAGE, TIMED_OUT or DAMAGED and a message for the
machine's owner) and leave nothing of a failed attempt behind, and `NotFound` for an id that the engine has never heard of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from app.enums import Architecture, Consistency, Firmware

Progress = Callable[[int, int], Awaitable[None]]
"""Called now and then with bytes done and bytes in all; it may raise to stop the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do, known without asking a machine."""

    architectures: frozenset[Architecture]
    firmwares: frozenset[Firmware]
    max_data_disks: int
    """Disks of one machine beside its system disk."""
    live_seal: bool
    """Disks of a running machine can be sealed."""
    consistent_group: bool
    """All disks of a machine are sealed at one instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """A machine as it is to be launched. Disks are in boot order, the system disk first; each was created before."""

    hostname: str
    vcpus: int
    ram_mib: int
    disk_ids: Sequence[UUID]
    firmware: Firmware = Firmware.BIOS
    expose_ports: Sequence[int] = ()
    """Guest TCP ports to be reachable from outside."""
    user_data: str | None = None
    """At most 32 KiB; handed to the guest as NoCloud user-data."""
    public_keys: Sequence[str] = ()
    """OpenSSH public keys for the image's default user."""
    password_hash: str | None = None
    """SHA-512 crypt hash of the default user's password; never the password itself."""


class MachineState(StrEnum):
    """What a machine is doing, as far as the engine can see."""

    RUNNING = "RUNNING"
    OFF = "OFF"
    """Not running: stopped, switched itself off, or died."""
    GONE = "GONE"
    """Never launched, or deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a guest port can be reached from outside."""

    guest_port: int
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """A machine as it is."""

    state: MachineState
    endpoints: Sequence[Endpoint] = ()
    """Of a running machine; another start may give other ports."""
    accelerator: str | None = None
    """"kvm" or "tcg"; of a running machine."""


class StopHow(StrEnum):
    """How a machine came to its end."""

    GUEST = "GUEST"
    """The guest obeyed the power button."""
    FORCED = "FORCED"
    """The power was cut: because that was asked for, or at the deadline."""
    WAS_OFF = "WAS_OFF"


class MachineEventKind(StrEnum):
    """What a machine did by itself."""

    GUEST_OFF = "GUEST_OFF"
    """The guest switched itself off; its process has ended."""
    DIED = "DIED"
    """The process ended without a word: killed or crashed."""
    PAUSED_NO_SPACE = "PAUSED_NO_SPACE"
    """A write failed because the host is out of space; the guest waits."""
    RESUMED = "RESUMED"
    """It goes on after such a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEvent:
    """Something a machine did that nobody asked for."""

    machine_id: UUID
    kind: MachineEventKind
    detail: str = ""
    """For people: the exit status or signal, the last words of the process."""


class Machines(Protocol):
    """Machines: each has its disks, one console and one seed."""

    async def launch(self, machine_id: UUID, spec: MachineSpec) -> MachineFacts:
        """Start a machine for the first time; on failure nothing of it is left (its disks stay, they have verbs of their own).

        Waits for a place when too many machines are starting. A machine that already runs under this id is answered as it is.

        Raises: EngineError: NO_CAPACITY when the host has not the memory; INSUFFICIENT_STORAGE; ENGINE_FAILED with the reason.
        """

    async def start(self, machine_id: UUID) -> MachineFacts:
        """Start a machine that is off, with the spec of its launch. One that runs is answered as it is.

        Raises: NotFound: never launched. EngineError: as launch.
        """

    async def stop(self, machine_id: UUID, *, deadline_s: float, force: bool) -> StopHow:
        """Press the power button and wait for the guest, at most until the deadline; then, or at once with force, cut the power."""

    async def reboot(self, machine_id: UUID, *, force: bool, deadline_s: float) -> MachineFacts:
        """Have the machine boot again on the same ports: by stop and start, or at once by reset with force.

        Raises: EngineError: ENGINE_FAILED when it does not run.
        """

    async def delete(self, machine_id: UUID) -> None:
        """Cut its power and forget it, its console and its seed. What is gone already is a success. Its disks stay."""

    async def attach(self, machine_id: UUID, disk_id: UUID) -> None:
        """Give a machine one more disk, as its last: at once if it runs, else with its next start. One that it has is a success.

        Raises: NotFound: no such machine or disk. EngineError: ENGINE_FAILED when there is no place, or another machine has the disk.
        """

    async def detach(self, machine_id: UUID, disk_id: UUID, *, deadline_s: float) -> None:
        """Take a disk that is not its system disk away from a machine; a guest that runs is asked, and has until the deadline.

        One that it has not is a success. Raises: NotFound: no such machine. EngineError: TIMED_OUT: the guest does not let go.
        """

    async def describe(self, machine_id: UUID) -> MachineFacts:
        """What it is doing now. GONE for an id that was never heard of."""

    def watch(self) -> AsyncIterator[MachineEvent]:
        """What machines do by themselves, from now on, within a second of it; first, what they did while nobody watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """What a disk held at one instant, as it lies in the store."""

    virtual_bytes: int
    own_bytes: int
    """What it added to the store: bytes allocated by its own layer."""
    changed_bytes: int | None = None
    """Of what a seal made: what was written since the disk was last sealed or made, in whole clusters of 64 KiB, without tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A disk file from outside, as far as it has to be known before it is taken in."""

    virtual_bytes: int
    """Of the disk in it."""
    needed_bytes: int | None
    """What it takes in the store at most. None when the disk is larger than was asked for: then nothing more was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What a seal made."""

    contents: Mapping[UUID, ContentFacts]
    consistency: Consistency


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """On which layers contents and disks stand, each its own first.

    Two that name the same layer share its bytes; else the names mean nothing. A chain ends early at a layer that cannot be read.
    """

    contents: Mapping[UUID, Sequence[str]]
    disks: Mapping[UUID, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Part of what a store takes, and all that need it: who is gone last frees it. Nobody needs what the store keeps for itself."""

    allocated_bytes: int
    """In the file system; a hole takes nothing."""
    machines: frozenset[UUID] = frozenset()
    disks: frozenset[UUID] = frozenset()
    contents: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All ids that the database knows: whatever else an engine finds is rubbish."""

    machines: Collection[UUID]
    disks: Collection[UUID]
    contents: Collection[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What reconciling found and did."""

    running: Mapping[UUID, MachineFacts] = field(default_factory=dict)
    """Known machines that run."""
    off: Sequence[UUID] = ()
    """Known machines that do not."""
    removed: Sequence[str] = ()
    """What was rubbish, in words: "machine …", "disk …", "content …", "layer …"."""
    host_rebooted: bool = False
    """The host was started anew since the machines were."""


class Contents(Protocol):
    """Disks, and what they held at one instant. A content never changes; a disk starts as one, or empty."""

    async def create_disk(self, disk_id: UUID, *, size_bytes: int, content_id: UUID | None) -> None:
        """Make a disk, empty or with a content; nothing is copied. `size_bytes` is at least the content's.

        Raises: NotFound: no such content. EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED.
        """

    async def extend(self, disk_id: UUID, size_bytes: int) -> None:
        """Make a disk larger, whether a machine runs on it or not; one that is as large already stays as it is.

        Raises: NotFound. EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED.
        """

    async def delete_disk(self, disk_id: UUID) -> None:
        """Forget a disk that no machine runs on. What is gone already is a success; contents sealed from it stay.

        A machine that is off may have it: it cannot be started again until there is a disk of that id.

        Raises: EngineError: ENGINE_FAILED when a running machine has it.
        """

    async def seal(self, contents: Mapping[UUID, UUID], *, machine_id: UUID | None, freeze: bool = False) -> Sealed:
        """Keep what disks hold now: disk id -> the id that its content gets. Nothing is copied; the disks go on from there.

        All at one instant, whether the machine that has them runs or not. After a kill at any point, none or all of them are there,
        no acknowledged write is lost, and the same call finishes the work. `machine_id`: whose disks they are, None if detached.
        `freeze`: ask the guest's agent, if one answers, to bring its file systems to rest meanwhile, 5 s at most; then they are
        FILESYSTEM consistent, else CRASH. A guest is never left frozen, also after a kill.
        """

    async def copy(self, content_id: UUID, new_id: UUID, progress: Progress) -> ContentFacts:
        """Make an independent, flat copy of a content under a new id, durable when this returns.

        Raises: NotFound. EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED. What progress raises, with nothing left behind.
        """

    async def inspect(self, path: Path, *, format: str, max_bytes: int) -> FileFacts:
        """Look at a disk file that nobody trusts yet ("raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi", "qed", "qcow").

        What it says of other files is never followed into the store: it has to be whole alone. Memory, time and processor that this
        takes are limited, and grow with the file. `max_bytes`: the largest disk that is of interest.

        Raises: EngineError: DAMAGED: it is not of that format, broken, encrypted, or names other files. TIMED_OUT: beyond the limits.
        """

    async def ingest(
        self, path: Path, *, format: str, content_id: UUID, progress: Progress, needed_bytes: int | None = None
    ) -> ContentFacts:
        """Make a content from a disk file of a format that `inspect` knows, which is copied and not kept.

        `needed_bytes`: as `inspect` said of a file from outside; memory, time, processor and the bytes written are limited by it. None
        for a file of the service's own.

        Raises: EngineError: DAMAGED when the file cannot be read to its end as one of that format, TIMED_OUT beyond the limits,
        INSUFFICIENT_STORAGE, ENGINE_FAILED. What progress raises, with nothing left behind.
        """

    async def read(self, content_id: UUID, offset: int, length: int) -> bytes:
        """Some bytes of a content as a guest sees them, at most 1 MiB at once; fewer where it ends, none beyond.

        Raises: NotFound. EngineError: DAMAGED.
        """

    async def export(self, content_id: UUID, path: Path, *, format: str, progress: Progress) -> None:
        """Write a content to a disk file ("qcow2", "raw", "vmdk", "vpc", "vhdx"), flat, durable when this returns.

        Raises: NotFound. EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED. What progress raises, with nothing left behind.
        """

    async def verify(self, content_id: UUID, progress: Progress) -> str:
        """The SHA-256 of all bytes as a guest sees them, in hexadecimal; read from the store each time.

        Raises: NotFound. EngineError: DAMAGED when its bytes cannot be read as they lie in the store. What progress raises.
        """

    async def compact(self, content_id: UUID, progress: Progress) -> None:
        """Put a content on one layer of its own, so that what is made from it later stands on a short chain. Its bytes stay.

        Raises: NotFound. EngineError: INSUFFICIENT_STORAGE, ENGINE_FAILED. What progress raises, with nothing changed.
        """

    async def compact_disk(self, disk_id: UUID, progress: Progress) -> None:
        """Shorten the chain below a disk, whether a machine runs on it or not: the guest stands still for milliseconds.

        What was sealed from it last stands on the short chain, too. Seals go on meanwhile.

        Raises: as compact.
        """

    async def depth(self, id_: UUID) -> int:
        """On how many layers a content or disk stands.

        Raises: NotFound.
        """

    async def chains(self) -> Chains:
        """What stands on what: for whoever looks for long chains, or for all that a damaged layer is part of."""

    async def describe(self, content_id: UUID) -> ContentFacts:
        """Raises: NotFound."""

    async def release(self, content_id: UUID) -> None:
        """Forget a content; what disks and other contents share with it stays. What is gone already is a success."""


class Consoles(Protocol):
    """Serial consoles, read-only, from any process of the host. Offsets count bytes since the machine was launched."""

    async def tail(self, machine_id: UUID, *, max_bytes: int, from_offset: int | None = None) -> tuple[int, bytes]:
        """Up to max_bytes of output and the offset where it begins: from an offset, or the last of it.

        A start beyond the offset asked for says that older output is gone.

        Raises: NotFound: never launched.
        """

    def follow(self, machine_id: UUID, *, from_offset: int | None = None) -> AsyncIterator[tuple[int, bytes]]:
        """Output as it comes, with the offset of each piece, from an offset (default: from now); ends when the machine is deleted.

        Raises: NotFound: never launched.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LentFile:
    """A content as a disk file that stands for itself. Whoever was lent it closes `file`.

    Until then its bytes can be read, even when the content is released meanwhile.
    """

    file: BinaryIO
    format: str
    """Such as "qcow2"."""

    @property
    def path(self) -> Path:
        """Where this process can open it once more, as long as `file` is open."""
        return Path(f"/proc/self/fd/{self.file.fileno()}")


class Files(Protocol):
    """Contents as files, read-only, from any process of the host."""

    async def lend(self, content_id: UUID) -> LentFile:
        """The file of a content that shares no bytes with others, as `copy` and `ingest` make them.

        It is the same file, byte for byte, as long as there is the content: a content never changes, and compaction leaves one that
        stands alone as it is.

        Raises: NotFound. Unsupported: the content stands on others, so no file has all of it. EngineError: DAMAGED.
        """

    async def usage(self) -> Sequence[Piece]:
        """What the store takes now, in pieces of which none is part of another, and which together are all of it.

        Raises: EngineError: ENGINE_FAILED when it cannot be looked at.
        """


class Engine(Protocol):
    """One engine: the machines and disks of one store."""

    @property
    def name(self) -> str:
        """As it is kept beside each content: "qemu"."""

    @property
    def capabilities(self) -> Capabilities:
        """Known without asking a machine."""

    @property
    def machines(self) -> Machines:
        """Its machines."""

    @property
    def contents(self) -> Contents:
        """Its disks and contents."""

    @property
    def consoles(self) -> Consoles:
        """Its consoles."""

    @property
    def files(self) -> Files:
        """Its contents as files."""

    async def open(self) -> None:
        """Take the store, which no other process may own meanwhile.

        Raises: StartupError: another process owns it, a tool is missing, or the folder cannot be used.
        """

    async def reconcile(self, known: Known) -> Report:
        """Once after open, before any other verb: finish or undo what a crash cut short, find machines again, remove rubbish."""

    async def close(self) -> None:
        """Let go of the store. Machines run on."""
