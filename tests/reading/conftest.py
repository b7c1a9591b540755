"""A database for all tests of a module, and operations run in this process: what is tested is how rows are read, not how they travel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

import pytest
from tortoise.context import TortoiseContext

from app import db, events
from app.ecs import host
from app.exports import shelf
from app.settings import Settings
from app.worker import introduce, make_engine
from tests.conftest import Template


@pytest.fixture(scope="module")
async def shared_database(template: Template, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    """An empty database for the tests of one module, and an engine that is known, but runs nothing."""
    folder = tmp_path_factory.mktemp("reading")
    before = host._Current.host, shelf._Current.shelf
    introduce(make_engine(Settings(data_dir=folder)))
    shelf.use(shelf.Shelf(folder, timedelta(hours=1)))
    async with template.copy(folder) as url, TortoiseContext():
        await db.connect(url, folder, everywhere=False)
        async with events.relay(url):
            yield
        await db.disconnect()
    host._Current.host, shelf._Current.shelf = before


_counted: ContextVar[logging.Handler | None] = ContextVar("counted", default=None)


class Statements(logging.Handler):
    """The SQL texts that Tortoise sends, in order; not those of a service that runs beside, in tasks of its own."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if _counted.get() is self:
            self.texts.append(str(record.args[0] if record.args else record.msg))


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements of what is done inside."""
    logger, handler = logging.getLogger("tortoise.db_client"), Statements()
    level = logger.level
    token = _counted.set(handler)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler.texts
    finally:
        _counted.reset(token)
        logger.removeHandler(handler)
        logger.setLevel(level)
