"""The command line: what each command does, and that what it refuses is one sentence with a remedy."""

import json
import re
import shutil
import signal
import socket
from contextlib import closing
from datetime import timedelta

import pytest
import typer
from typer.testing import CliRunner

import schema
from app import db, migrating
from app.__main__ import cli, duration, in_database, load_settings
from app.errors import StartupError
from app.projects import service as projects
from app.serving import listen
from tests.client import Client
from tests.command import run, started
from tests.conftest import new_database

TOOLS = ("setpriv", "prlimit", "env", "fallocate", "sh")


@pytest.fixture(scope="module")
async def served(scratch):
    """`serve --demo`: its file, and the folder that it uses."""
    data = scratch / "cli"
    async with started("serve", "--demo", "--no-linux", "--port", "0", "--data", data) as running:
        await running.read_until("Serving at", errors=True)
        yield json.loads((data / "demo.json").read_text()), data
        ended = await running.stop(signal.SIGTERM)
    assert (ended.status, ended.output) == (0, "")
    assert "Traceback" not in ended.errors


@pytest.fixture
def sqlite_only(monkeypatch, tmp_path):
    """No settings of whoever runs the tests."""
    for name in ("DATABASE_URL", "IMAGE_SERVICE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


async def status_of(url, token):
    client = Client(url.removesuffix("/graphql"), token)
    try:
        return (await client.http.post("/graphql", json={"query": "{ viewer { tokenName } }"})).status_code
    finally:
        await client.close()


# ---------------------------------------------------------------- what commands do


async def test_service_with_the_demo_answers_as_its_file_says(served):
    file, data = served

    assert (data / "demo.json").stat().st_mode & 0o777 == 0o600
    assert [await status_of(file["url"], token) for token in file["tokens"].values()] == [200, 200, 200]


async def test_token_opens_a_running_service_until_it_is_revoked(served):
    file, data = served

    made = await run("project", "create", "carol", "--data", data)
    created = await run(
        *("token", "create", "--project", "carol", "--name", "ci", "--expires", "30d"),
        *("--scope", "READ", "--scope", "IMAGES", "--data", data),
    )
    token = created.output.strip()
    before = await status_of(file["url"], token)
    revoked = await run("token", "revoke", token.split("_")[1], "--data", data)
    after = await status_of(file["url"], token)
    listed = await run("token", "list", "--project", "carol", "--data", data)

    assert re.fullmatch(r"[0-9a-f-]{36}\n", made.output)
    assert (created.status, revoked.status, before, after) == (0, 0, 200, 401)
    _header, row = listed.output.splitlines()
    assert re.split(r"  +", row)[:4] == [token.split("_")[1], "carol", "ci", "IMAGES,READ"]
    assert "-" not in re.split(r"  +", row)[5:]  # used, expiring and revoked
    assert token.split("_", 2)[2] not in listed.output


def test_schema_is_printed_as_it_is_committed():
    result = CliRunner().invoke(cli, ["schema"])

    assert result.exit_code == 0
    assert result.output == schema.SDL.read_text()


def commands(command, *path):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *path, name)


@pytest.mark.parametrize("path", list(commands(typer.main.get_command(cli))), ids=" ".join)
def test_every_command_explains_itself(path):
    result = CliRunner().invoke(cli, [*path, "--help"])

    assert result.exit_code == 0
    assert "Usage: " in result.output


async def test_migrate_makes_a_database_and_says_what_it_applied(scratch):
    data = scratch / "migrated"

    ended = await run("migrate", "--data", data)

    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.startswith("0001_initial\n")
    assert (data / "service.sqlite").exists()


# ---------------------------------------------------------------- what they refuse


async def test_folder_of_a_running_service_is_refused(served):
    file, data = served

    refused = (await run("serve", "--demo", "--no-linux", "--port", "0", "--data", data)).refusal()

    assert refused.startswith("Another process owns the store")
    assert "stop it first" in refused
    assert json.loads((data / "demo.json").read_text()) == file


async def test_port_in_use_is_refused_before_anything_is_opened(scratch):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        ended = await run("serve", "--port", str(port), "--data", scratch / "port")

    assert ended.refusal() == (
        f"Cannot listen on port {port} of 127.0.0.1: it is in use; "
        "stop what uses it or give another port (--port; 0: any free one)."
    )
    assert not (scratch / "port").exists()


def test_address_of_another_host_is_refused():
    with pytest.raises(StartupError, match=r"192\.0\.2\.1: .*\(--host\)"):
        listen("192.0.2.1", 0)


async def test_missing_qemu_is_refused_with_the_packages(scratch):
    tools = scratch / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))

    refused = (await run("serve", "--port", "0", "--data", scratch / "qemu", PATH=str(tools))).refusal()

    assert refused == (
        "qemu-system-x86_64 is not installed; install the packages qemu-system-x86, qemu-utils and util-linux."
    )


@pytest.mark.usefixtures("sqlite_only")
async def test_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.touch()

    with pytest.raises(StartupError) as refused:
        await in_database(load_settings(data_dir=path), migrating.migrate, fresh=True)

    assert str(refused.value) == f"Cannot use the folder {path} (it is a file); give another (--data)."


async def test_database_that_cannot_be_opened_is_refused(scratch):
    data = scratch / "closed"
    (data / "service.sqlite").mkdir(parents=True)

    refused = (await run("migrate", "--data", data)).refusal()

    assert refused.startswith("Cannot open the database in the data folder (unable to open database file)")


@pytest.mark.usefixtures("sqlite_only")
async def test_folder_without_a_service_has_no_tokens_and_stays_as_it_was(tmp_path):
    with pytest.raises(StartupError, match="--data"):
        await in_database(load_settings(data_dir=tmp_path / "nothing"), projects.list_tokens)

    assert not (tmp_path / "nothing").exists()


@pytest.mark.usefixtures("database")
async def test_database_of_a_later_version_is_refused():
    await db.execute(
        "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('app', '9999_later', '2030-01-01 00:00:00')"
    )

    with pytest.raises(StartupError, match=r"later version .*9999_later.*; install that version"):
        await migrating.migrate()


@pytest.mark.usefixtures("sqlite_only")
@pytest.mark.parametrize("arguments", [["worker"], ["serve", "--no-work"]], ids=" ".join)
def test_working_apart_needs_postgresql(arguments):
    result = CliRunner().invoke(cli, arguments)

    assert isinstance(result.exception, StartupError)
    assert "DATABASE_URL" in str(result.exception)


@pytest.mark.usefixtures("sqlite_only")
def test_wrong_setting_is_named_without_its_value(monkeypatch):
    monkeypatch.setenv("IMAGE_SERVICE_PORT", "hush")

    with pytest.raises(StartupError, match="IMAGE_SERVICE_PORT is wrong: ") as refused:
        load_settings()

    assert "hush" not in str(refused.value)


@pytest.mark.usefixtures("sqlite_only")
def test_options_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("IMAGE_SERVICE_PORT", "1234")

    assert load_settings(port=None).port == 1234
    assert load_settings(port=0).port == 0


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
    ],
)
def test_durations_have_a_unit(text, time):
    assert duration(text) == time


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5h", "1y", "9999999d"])
def test_other_durations_are_refused(text):
    with pytest.raises(typer.BadParameter):
        duration(text)


# ---------------------------------------------------------------- several processes on PostgreSQL


@pytest.mark.server
async def test_worker_does_the_work_of_a_service_without(request, scratch):
    async with new_database(request.config.getoption("--db")) as url:
        data = scratch / "apart"
        behind = await run("worker", "--data", data, DATABASE_URL=url)
        await run("migrate", "--data", data, DATABASE_URL=url)
        async with (
            started("worker", "--data", data, DATABASE_URL=url) as worker,
            started(
                "serve", "--no-work", "--demo", "--no-linux", "--port", "0", "--data", data, DATABASE_URL=url
            ) as service,
        ):
            await service.read_until("Serving at", errors=True)
            file = json.loads((data / "demo.json").read_text())
            answered = await status_of(file["url"], file["tokens"]["alice"])
            ended = [await service.stop(), await worker.stop(signal.SIGTERM)]

    assert "migrate" in behind.refusal()
    assert answered == 200
    assert [each.status for each in ended] == [0, 0]
