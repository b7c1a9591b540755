"""Columns and steps of migrations of our own making, around what Tortoise does to SQLite's tables.

To change a column Tortoise 1.1.9 makes a table of SQLite anew and forgets its indexes; a new word in an enum is such a change, as it
lists the words in the column's description. So columns of words describe nothing, and what was forgotten once is made again.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

from tortoise.fields import CharEnumField, Field
from tortoise.fields.data import CharEnumFieldInstance
from tortoise.indexes import Index
from tortoise.migrations.operations import TortoiseOperation
from tortoise.migrations.schema_generator.state import State

Word = TypeVar("Word", bound=Enum)


def words(enum: type[Word], *, max_length: int, null: bool = False) -> Field[Word]:
    """A column that holds a word of a closed set."""
    return CharEnumField(enum, description="", max_length=max_length, null=null)


class DescribeNoWords(TortoiseOperation):
    """In a migration: from here on columns of words describe nothing. Their tables stay as they are."""

    def state_forward(self, app_label: str, state: State) -> None:
        """What later migrations start from."""
        mine = [key for key in state.models if key[0] == app_label]
        for key in mine:
            for field in state.models[key].fields.values():
                if isinstance(field, CharEnumFieldInstance):
                    field.description = ""
        state.reload_models(mine)

    async def database_forward(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    async def database_backward(self, *_: Any, **__: Any) -> None:
        """Nothing."""


async def make_missing_indexes(apps: Any, editor: Any) -> None:
    """In a migration: indexes that tables of SQLite ought to have and lost."""
    if editor.DIALECT != "sqlite":
        return
    _, rows = await editor.client.execute_query("SELECT name FROM sqlite_master WHERE type = 'index'")
    there = {row["name"] for row in rows}
    for model in apps.apps["app"].values():
        for columns in model._meta.indexes:
            index = columns if isinstance(columns, Index) else Index(fields=tuple(columns))
            if editor._index_name_for_model(model, index) not in there:
                await editor.add_index(model, index)
