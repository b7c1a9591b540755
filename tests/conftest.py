"""What all tests share: a database of their own, and the whole service with real machines behind a real port.

database   an empty, migrated database for one test that needs no service
service    the service, once for all tests; every test makes projects of its own in it
project    makes projects with a client each
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import uvicorn
from tortoise.context import TortoiseContext

from app import asgi, db, events
from app.demo.catalogue import install_public_images
from app.settings import Settings
from tests.client import Client
from tests.factories import make_client
from tests.migrated import migrate, migrated_folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--db",
        default=os.environ.get("TEST_DATABASE_URL", "sqlite"),
        help="sqlite, or the postgres:// URL of a server on which databases may be made; also TEST_DATABASE_URL",
    )
    parser.addoption(
        "--kills", type=int, default=1, help="how often tests/e2e/test_kills.py kills for each kind of work"
    )
    parser.addoption("--node", action="store_true", help="with the tests that need Node and its package registry, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests for Node are asked for. On a database server those run that have a database: the others have run without."""
    on_server = config.getoption("--db") != "sqlite"

    def is_wanted(item: pytest.Item) -> bool:
        if item.get_closest_marker("node"):
            return bool(config.getoption("--node"))
        if item.get_closest_marker("server"):
            return on_server
        return not on_server or "template" in getattr(item, "fixturenames", ())

    unwanted = [item for item in items if not is_wanted(item)]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if is_wanted(item)]


@dataclass(frozen=True)
class Template:
    """A migrated, empty database: each that a test needs is a copy of it, as migrating costs a hundred times more than copying."""

    server: str
    place: str

    @asynccontextmanager
    async def copy(self, folder: Path) -> AsyncIterator[str | None]:
        """The URL of a copy, or None for SQLite, whose file is then in the folder."""
        if self.server == "sqlite":
            shutil.copytree(self.place, folder, dirs_exist_ok=True)
            yield None
            return
        async with new_database(self.server, template=self.place) as url:
            yield url


@asynccontextmanager
async def new_database(server: str, *, template: str = "template0") -> AsyncIterator[str]:
    """The URL of a new database on a PostgreSQL server, for a while."""
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(server)
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


@pytest.fixture(scope="session")
async def template(request: pytest.FixtureRequest, scratch: Path) -> AsyncIterator[Template]:
    """The database that all others are copies of."""
    server = request.config.getoption("--db")
    if server == "sqlite":
        yield Template(server, str(await migrated_folder()))
        return
    async with new_database(server) as url:
        await migrate(url, scratch)
        yield Template(server, urlsplit(url).path.removeprefix("/"))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder with a short path: sockets have at most 107 bytes."""
    folder = Path(mkdtemp(prefix="t"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def database(template: Template, tmp_path: Path) -> AsyncIterator[str | None]:
    """An empty database, known to this test alone."""
    async with template.copy(tmp_path) as url, TortoiseContext():
        await db.connect(url, tmp_path, everywhere=False)
        async with events.relay(url):
            yield url
        await db.disconnect()


class Service:
    """The running service."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url, self.settings = url, settings


@pytest.fixture(scope="session")
async def service(template: Template, scratch: Path) -> AsyncIterator[Service]:
    """The service on a free port of this process, so that tests can count its statements; machines are real."""
    async with template.copy(scratch / "data") as url:
        settings = Settings(
            data_dir=scratch / "data",
            DATABASE_URL=url,
            reserve_memory_mib=128,
            reserve_disk_mib=64,
            stop_timeout_s=5,
            fetch_networks=("127.0.0.0/8",),  # where tests' own servers are
            upkeep_percent=0,  # it would hash the GiBs of zeros that most machines have
        )
        server = uvicorn.Server(
            uvicorn.Config(
                asgi.create_app(settings),
                port=0,
                log_level="warning",
                http="h11",
                ws="websockets-sansio",
                lifespan="on",
            )
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)
        await install_public_images(settings.data_dir)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Service(f"http://127.0.0.1:{port}", settings)
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving


MakeClient = Callable[..., Awaitable[Client]]


@pytest.fixture
async def project(service: Service) -> AsyncIterator[MakeClient]:
    """Makes a project with a token, and a client for it: `alice = await project("alice")`."""
    clients: list[Client] = []

    async def make(name: str = "project", **options: object) -> Client:
        client = await make_client(service.url, name, **options)  # type: ignore[arg-type]
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.clean_up()
        await client.close()
