"""The walk through the main job, as two clients of the API: alice makes images of her running machine, bob launches one of them."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

from app.demo.client import Answer, Client, Refused, connected
from app.demo.screen import Screen

FLAVOR = "t1.nano"
TAG = {"key": "demo", "value": "1"}
"""On everything that the walk makes, so that a later one can remove it."""
KEPT_IMAGES = 4
"""Of earlier walks, so that there is something to look at and the quota never fills."""
SECTOR_BYTES = 512
FIRST_LBA = 0x800
"""Where alice's machine begins to write: 1 MiB, where a first partition would begin."""
MAX_WRITTEN_MIB = 1000
"""The system disk has 1 GiB."""
HEAD_CHARACTERS = 64
"""Of a sector, which hello's `r` prints."""

_REFUSALS = "userErrors { code message }"
_TAGGED = '{tags: {all: [{key: "demo", values: ["1"]}]}}'
MACHINES = f"{{ ecsInstances(filter: {_TAGGED}, first: 100) {{ nodes {{ id currentJob {{ id }} }} }} }}"
IMAGES = """{ images(
  filter: {tags: {all: [{key: "demo", values: ["1"]}]}, visibility: [PRIVATE], status: [ACTIVE, KILLED], protected: false}
  orderBy: [{field: CREATED_AT, direction: DESC}], first: 100) { nodes { id } } }"""
DELETE_MACHINES = f"""mutation ($ids: [ID!]!) {{ deleteEcs(input: {{ecsIds: $ids, deleteDataDisks: true}}) {{
  results {{ job {{ id }} }} {_REFUSALS} }} }}"""
DELETE_IMAGES = f"mutation ($ids: [ID!]!) {{ deleteImages(input: {{imageIds: $ids}}) {{ {_REFUSALS} }} }}"
HELLO = '{ images(filter: {name: {eq: "hello"}, visibility: [PUBLIC], status: [ACTIVE]}, first: 1) { nodes { id } } }'
LAUNCH = f"""mutation ($input: LaunchEcsInput!) {{ launchEcs(input: $input) {{
  ecsInstances {{ id }} job {{ id }} {_REFUSALS} }} }}"""
STATUS = "query ($id: ID!) { ecsInstance(id: $id) { status } }"
CREATE_IMAGE = f"""mutation ($input: CreateImageInput!) {{ createImage(input: $input) {{
  image {{ id }} job {{ id }} {_REFUSALS} }} }}"""
PROJECT = "query ($name: String!) { project(by: {name: $name}) { id } }"
SHARE = f"""mutation ($image: ID!, $project: ID!) {{ shareImages(input: {{imageIds: [$image], projectIds: [$project]}}) {{
  results {{ outcome }} {_REFUSALS} }} }}"""
PENDING = """{ images(filter: {shareStatus: [PENDING]}, first: 100) { nodes { id name owner { name } viewerCan } } }"""
ACCEPT = f"""mutation ($image: ID!) {{ acceptShares(input: {{imageIds: [$image]}}) {{
  results {{ image {{ viewerCan }} }} {_REFUSALS} }} }}"""


@dataclass(slots=True)
class Walk:
    """The two of them, and what one step leaves to the next."""

    screen: Screen
    alice: Client
    bob: Client
    written_mib: int
    stamp: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    secret: str = field(default_factory=lambda: secrets.token_hex(4))
    """In what alice's machine writes, so that nothing older can pass for it."""
    times: dict[str, float] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What her machine notes on its disk."""
        return f"alice was here, {self.stamp}, {self.secret}"

    @property
    def text(self) -> str:
        """What her machine fills its disk with."""
        return f"alice-{self.secret}-"

    @property
    def sectors(self) -> int:
        """How many sectors it fills."""
        return self.written_mib * (1 << 20) // SECTOR_BYTES

    @property
    def last_lba(self) -> int:
        """The last of them."""
        return FIRST_LBA + self.sectors - 1

    @property
    def last_sector(self) -> str:
        """What the console shows of it, by hello's protocol."""
        return f"{self.last_lba:08x} " + "".join(islice(cycle(self.text), HEAD_CHARACTERS - 9))


async def walk(screen: Screen, url: str, tokens: dict[str, str], *, written_mib: int) -> None:
    """Walk through the main job; every step is shown, and checked.

    Raises: StepFailed: one did not hold.
    """
    async with AsyncExitStack() as stack:
        with screen.step("what earlier runs left is removed") as step:
            alice, bob = [await stack.enter_async_context(connected(url, tokens[who])) for who in ("alice", "bob")]
            machines, images = await _tidy(alice, bob)
            step.detail = f"machines: {machines}, images: {images}"
        the = Walk(screen, alice, bob, written_mib)
        machine_id = await _launch(the)
        await _write(the, machine_id)
        await _image(the, machine_id, kind="system disk", source="ecs")
        image_id = await _image(the, machine_id, kind="full-ECS", source="fullEcs")
        await _run_on(the, machine_id)
        await _share(the, image_id)
        await _launch_shared(the, image_id)
    _compare(the)


async def remove_machines(screen: Screen, url: str, tokens: dict[str, str]) -> None:
    """Remove the demo's machines, of this walk and of earlier ones.

    Raises: StepFailed.
    """
    with screen.step("the demo's machines are removed") as step:
        number = 0
        for who in ("alice", "bob"):
            async with connected(url, tokens[who]) as client:
                number += await _delete_machines(client)
        step.detail = f"machines: {number}"


async def _delete_machines(client: Client) -> int:
    nodes = (await client.ask(MACHINES))["nodes"]
    busy = [node["currentJob"]["id"] for node in nodes if node["currentJob"]]
    for job_id in busy:
        with suppress(Refused):  # whatever becomes of it
            await client.finish(job_id)
    if busy:  # one of the jobs may have deleted its machine
        nodes = (await client.ask(MACHINES))["nodes"]
    if nodes:
        payload = await client.ask(DELETE_MACHINES, ids=[node["id"] for node in nodes])
        for result in payload["results"]:
            await client.finish(result["job"]["id"])
    return len(nodes)


async def _tidy(alice: Client, bob: Client) -> tuple[int, int]:
    """How many machines and images are gone."""
    machines = await _delete_machines(alice) + await _delete_machines(bob)
    old = [node["id"] for node in (await alice.ask(IMAGES))["nodes"][KEPT_IMAGES:]]
    if old:
        await alice.ask(DELETE_IMAGES, ids=old)
    return machines, len(old)


async def _launch(the: Walk) -> str:
    commands = [
        f"note {the.note}",
        f"fill 0 {FIRST_LBA:x} {the.sectors:x} {the.text}",
        f"r0 {the.last_lba:x}",
    ]
    with the.screen.step("alice launches an ECS from the public image hello") as step:
        nodes = (await the.alice.ask(HELLO))["nodes"]
        if not nodes:
            raise Refused("there is no public image named hello")
        ecs_id = await _launched(the.alice, "demo-alice", nodes[0]["id"], commands)
        step.detail = f"ACTIVE on {FLAVOR}"
    with the.screen.step("its console appears") as step:
        text = await the.alice.read_console(ecs_id, "\n")
        step.detail = text.splitlines()[0]
        if not step.detail.startswith("HELLO boots=1 "):
            raise Refused(f"it says {step.detail!r}")
    return ecs_id


async def _launched(client: Client, name: str, image_id: str, commands: list[str]) -> str:
    """The id of a machine that runs."""
    wanted = {
        "name": name,
        "imageId": image_id,
        "flavorId": FLAVOR,
        "userData": "\n".join(commands),
        "exposePorts": [],
        "tags": [TAG],
    }
    payload = await client.ask(LAUNCH, input=wanted)
    await client.finish(payload["job"]["id"])
    ecs_id: str = payload["ecsInstances"][0]["id"]
    await _expect_active(client, ecs_id)
    return ecs_id


async def _expect_active(client: Client, ecs_id: str) -> None:
    status = (await client.ask(STATUS, id=ecs_id))["status"]
    if status != "ACTIVE":
        raise Refused(f"the machine is {status}")


async def _write(the: Walk, ecs_id: str) -> None:
    with the.screen.step(f"her machine writes {the.written_mib} MiB to its disk") as step:
        text = await the.alice.read_console(ecs_id, "READY")
        if f"{the.last_sector} ok" not in text:
            raise Refused(f"its console says {text[-200:]!r}")
        step.detail = f"r0 {the.last_lba:x}: {the.last_sector}"


async def _image(the: Walk, ecs_id: str, *, kind: str, source: str) -> str:
    """The id of a new image, made while the machine runs."""

    def show(job: Answer) -> None:
        total = job["bytesTotal"]
        step.done(job["progress"], f"{(job['bytesDone'] or 0) >> 20} of {total >> 20} MiB" if total else "")

    name = f"demo-{kind.replace(' ', '-').lower()}-{the.stamp}"
    with the.screen.step(f"she makes a {kind} image of it while it runs") as step:
        wanted = {"name": name, "source": {source: {"ecsId": ecs_id}}, "tags": [TAG]}
        payload = await the.alice.ask(CREATE_IMAGE, input=wanted)
        job = await the.alice.finish(payload["job"]["id"], show)
        step.detail = f"{job['bytesTotal'] >> 20} MiB copied" if job["bytesTotal"] else "nothing copied"
    the.times[kind] = step.seconds
    image_id: str = payload["image"]["id"]
    return image_id


async def _run_on(the: Walk, ecs_id: str) -> None:
    with the.screen.step("her machine has run on all the while") as step:
        await _expect_active(the.alice, ecs_id)
        boots = (await the.alice.read_console(ecs_id, "READY")).count("HELLO boots=")
        if boots != 1:
            raise Refused(f"its console tells of {boots} boots")
        step.detail = "ACTIVE, one boot"


async def _share(the: Walk, image_id: str) -> None:
    with the.screen.step("she shares the full-ECS image with bob") as step:
        project = await the.alice.ask(PROJECT, name="bob")
        payload = await the.alice.ask(SHARE, image=image_id, project=project["id"])
        step.detail = payload["results"][0]["outcome"]
    with the.screen.step("bob sees it pending") as step:
        offered = next((node for node in (await the.bob.ask(PENDING))["nodes"] if node["id"] == image_id), None)
        if offered is None or "LAUNCH" in offered["viewerCan"] or offered["owner"]["name"] != "alice":
            raise Refused(f"what he sees is {offered}")
        step.detail = f"{offered['name']} of alice; he can {', '.join(offered['viewerCan'])}"
    with the.screen.step("bob accepts it") as step:
        payload = await the.bob.ask(ACCEPT, image=image_id)
        allowed = payload["results"][0]["image"]["viewerCan"]
        if "LAUNCH" not in allowed:
            raise Refused(f"he can only {allowed}")
        step.detail = f"he can {', '.join(allowed)}"


async def _launch_shared(the: Walk, image_id: str) -> None:
    with the.screen.step("bob launches an ECS from it") as step:
        ecs_id = await _launched(the.bob, "demo-bob", image_id, [f"r0 {the.last_lba:x}"])
        step.detail = f"ACTIVE on {FLAVOR}"
    with the.screen.step("its console shows what alice's machine had written") as step:
        text = await the.bob.read_console(ecs_id, "READY")
        for expected in (f"NOTE {the.note}", f"{the.last_sector} ok"):
            if expected not in text:
                raise Refused(f"{expected!r} is not in {text!r}")
        step.detail = f"NOTE {the.note}"


def _compare(the: Walk) -> None:
    disk, full = the.times["system disk"], the.times["full-ECS"]
    the.screen.say()
    the.screen.table(
        [
            ["Image of the running machine", "Took", "How it is made"],
            ["system disk", f"{disk:.2f} s", "the disk is copied: an image of its own"],
            ["full-ECS", f"{full:.2f} s", "all disks are sealed at one instant, and nothing is copied"],
        ]
    )
    the.screen.say(f"  The system disk image took {disk / full:.1f} times as long.")
    the.screen.say()


def invite(screen: Screen, url: str, tokens: dict[str, str], file: Path, *, login: str | None) -> None:
    """Say where to go from here; `login` is the command that logs in to the Linux machine, if there is one."""
    for who in ("alice", "bob"):
        screen.say(f"  The playground as {who}:  {url}#token={tokens[who]}")
    screen.say()
    screen.say("  Tokens, to be sent as `Authorization: Bearer …` (also in the file below):")
    screen.table([[who, token] for who, token in tokens.items()])
    screen.say()
    if login:
        screen.say(f"  alice's Linux machine: {login}")
    screen.say(f"  {file} has the address, tokens and projects for programs.")
    screen.say("  `python -m app schema` prints the API, and the playground explains it.")
    screen.say("  Ctrl-C ends the service, and the machines run on: `python -m app serve --demo` finds them again,")
    screen.say("  a next `demo` makes new ones in their place, and `demo --exit` leaves none.")
