"""An empty database for each test: SQLite in a folder of its own, or a schema of the PostgreSQL at TEST_DATABASE_URL made anew."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from tortoise import Tortoise

from app import db, events


@pytest.fixture
async def database() -> AsyncIterator[str | None]:
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        connection = await asyncpg.connect(url)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()
    with TemporaryDirectory() as folder:
        await db.connect(url, Path(folder))
        await Tortoise.generate_schemas()
        async with events.relay(url):
            yield url
        await db.disconnect()
