"""The demo as people run it: twice on one folder, and once where it cannot hold."""

import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from app.demo.screen import Screen, StepFailed
from tests.client import Client
from tests.command import Ended, machines_of, remove_machines, run, started

STEPS = [
    "the service starts",
    "projects, tokens and public images are there",
    "what earlier runs left is removed",
    "alice launches an ECS from the public image hello",
    "its console appears",
    "her machine writes 4 MiB to its disk",
    "she makes a system disk image of it while it runs",
    "she makes a full-ECS image of it while it runs",
    "her machine has run on all the while",
    "she shares the full-ECS image with bob",
    "bob sees it pending",
    "bob accepts it",
    "bob launches an ECS from it",
    "its console shows what alice's machine had written",
]
LINUX = [
    "Tiny Linux is there, made of Debian's packages",
    "alice launches an ECS from it, with a key pair",
    "its console shows its SSH host key",
    "she logs in by SSH",
    "she backs it up while it runs",
]


@dataclass
class First:
    """What a first run was seen to do."""

    data: Path
    ended: Ended
    file: dict
    mode: int
    viewers: dict[str, dict]
    machines_while: set[int]
    machines_after: set[int]


@pytest.fixture(scope="module")
async def first(scratch):
    """Where no Linux can be built."""
    data = scratch / "demo"
    (scratch / "apt.conf").write_text('Dir::State::lists "/nonexistent"; Dir::State::status "/dev/null";\n')
    without = {"APT_CONFIG": str(scratch / "apt.conf"), "XDG_CACHE_HOME": str(scratch / "cache")}
    async with started("demo", "--port", "0", "--written", "4", "--data", data, **without) as demo:
        await demo.read_until("demo --exit")
        file = json.loads((data / "demo.json").read_text())
        mode = (data / "demo.json").stat().st_mode & 0o777
        viewers = {who: await viewer(file["url"], token) for who, token in file["tokens"].items()}
        machines = machines_of(data)
        ended = await demo.stop()
    yield First(data, ended, file, mode, viewers, machines, machines_of(data))
    remove_machines(data)


async def viewer(url, token):
    client = Client(url.removesuffix("/graphql"), token)
    try:
        return await client.one("{ viewer { project { uuid name } isOperator scopes } }")
    finally:
        await client.close()


@pytest.fixture(scope="module")
async def second(first):
    """Where it can."""
    return await run("demo", "--exit", "--port", "0", "--written", "4", "--data", first.data)


def steps(output):
    return [line.strip().removeprefix("✓ ")[:51].strip() for line in output.splitlines() if line.startswith("  ✓ ")]


async def test_every_step_of_the_main_job_holds(first):
    assert first.ended.status == 0
    assert steps(first.ended.output) == STEPS
    assert "machines: 0, images: 0" in first.ended.output
    assert "4 MiB copied" in first.ended.output
    assert "nothing copied" in first.ended.output


async def test_demo_goes_on_without_a_linux_and_says_why(first):
    said = [line for line in first.ended.output.splitlines() if "Linux" in line]

    assert len(said) == 1
    assert said[0].startswith(
        "  - Tiny Linux is left out: apt does not know the packages; run `apt-get update` as root"
    )


async def test_demo_logs_in_to_a_linux_and_backs_it_up(second):
    lines = [line for line in second.output.splitlines() if line.startswith("  ✓ ")]
    login = next(line for line in lines if "logs in by SSH" in line)

    assert "Tiny Linux 1 (" in login
    assert ", demo-linux, " in login
    assert "its agent had brought the file systems to rest" in second.output


async def test_service_with_demo_has_a_linux_soon(first, second):
    async with started("serve", "--demo", "--port", "0", "--data", first.data) as service:
        await service.read_until("Tiny Linux is a public image: it is there already.", errors=True)
        ended = await service.stop()

    assert ended.errors.index("Serving at ") < ended.errors.index("Tiny Linux")


async def test_without_a_terminal_there_are_plain_lines_and_no_errors(first):
    assert first.ended.errors == ""
    assert all(char.isprintable() or char == "\n" for char in first.ended.output)


async def test_file_of_the_demo_is_its_owners_alone_and_says_how_to_come_in(first):
    assert first.mode == 0o600
    assert first.file.keys() == {"url", "tokens", "projects"}
    assert first.file["url"].endswith("/graphql")
    assert first.file["tokens"].keys() == {"alice", "bob", "operator"}
    for who in ("alice", "bob"):
        assert first.viewers[who]["project"] == {"uuid": first.file["projects"][who], "name": who}
        assert not first.viewers[who]["isOperator"]
        assert f"{first.file['url']}#token={first.file['tokens'][who]}" in first.ended.output
    assert first.viewers["operator"]["isOperator"]


async def test_machines_outlive_the_demo(first):
    assert len(first.machines_while) == 2
    assert first.machines_after == first.machines_while


async def test_second_run_works_on_what_is_there_and_leaves_no_machine(first, second):
    assert second.status == 0, second
    assert steps(second.output) == [*STEPS, *LINUX, "the demo's machines are removed"]
    assert "machines: 2, images: 0" in second.output
    again = json.loads((first.data / "demo.json").read_text())
    assert (again["tokens"], again["projects"]) == (first.file["tokens"], first.file["projects"])
    assert machines_of(first.data) == set()


async def test_demo_that_cannot_hold_says_where_and_fails(scratch):
    data = scratch / "full"

    ended = await run("demo", "--port", "0", "--data", data, IMAGE_SERVICE_RESERVE_MEMORY_MIB=str(1 << 30))

    assert ended.status == 1
    assert steps(ended.output) == STEPS[:3]
    assert "✗ alice launches an ECS from the public image hello" in ended.output
    assert "NO_CAPACITY" in ended.output
    assert "Traceback" not in ended.errors
    assert machines_of(data) == set()


def test_terminal_shows_how_far_a_step_is():
    console = Console(file=StringIO(), force_terminal=True, width=120)

    with Screen(console).step("copying") as step:
        step.done(0.25, "32 of 128 MiB")

    shown = console.file.getvalue()
    assert "━" in shown
    assert "32 of 128 MiB" in shown
    assert "✓" in shown.splitlines()[-1]


def test_console_without_unicode_gets_none():
    class Ascii(StringIO):
        encoding = "ascii"

    console = Console(file=Ascii())

    with Screen(console).step("copying") as step:
        step.detail = "\x1b[2Jdone"

    assert console.file.getvalue().split() == ["ok", "copying", "0.00", "s", "[2Jdone"]


def test_step_that_fails_says_why():
    console = Console(file=StringIO(), width=120)

    with pytest.raises(StepFailed), Screen(console).step("copying"):
        raise TimeoutError("too long")

    assert console.file.getvalue().split("\n")[1].strip() == "TimeoutError: too long"
