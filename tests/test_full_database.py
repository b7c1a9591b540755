"""A database that has no space left."""

import pytest
from tortoise.context import TortoiseContext

from app import db
from app.enums import ErrorCode
from app.errors import Refused


async def insert(*sizes: int) -> None:
    async with db.transaction():
        for size in sizes:
            await db.execute("INSERT INTO bytes VALUES (zeroblob(?1))", [size])


async def test_transaction_that_finds_no_space_is_refused_and_the_next_one_works(tmp_path):
    async with TortoiseContext():
        await db.connect(None, tmp_path, everywhere=False)
        await db.execute("CREATE TABLE bytes (bytes BLOB)")
        await db.execute("PRAGMA max_page_count = 8")

        with pytest.raises(Refused) as refusal:
            await insert(1000, 100_000)
        await insert(10)

        lengths = [row[0] for row in await db.execute("SELECT LENGTH(bytes) FROM bytes")]
        await db.disconnect()

    assert refusal.value.code is ErrorCode.INSUFFICIENT_STORAGE
    assert lengths == [10]
