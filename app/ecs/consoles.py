"""Serial consoles: the one thing of a machine that a request reads itself."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.ecs import host
from app.ecs.reads import ECS
from app.errors import EngineError, InvalidInput, NotFound
from app.policy import Caller
from app.reading import Wanted, find

MAX_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ConsoleChunk:
    """Output, and where it stands; offsets count bytes since the machine was launched."""

    text: str
    start_offset: int
    end_offset: int

    @classmethod
    def of(cls, start: int, data: bytes) -> ConsoleChunk:
        """Bytes that are no UTF-8, or no text for JSON, are shown as such; a NUL is none."""
        return cls(_shown(data.decode(errors="replace")), start, start + len(data))


def _shown(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


class ConsoleLog:
    """ecsInstance.consoleLog(tailBytes): of one machine at a time."""

    needs = ("id",)

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        tail_bytes = part.args["tail_bytes"]
        if not 1 <= tail_bytes <= MAX_TAIL_BYTES:
            raise InvalidInput(f"tailBytes is 1 to {MAX_TAIL_BYTES}, not {tail_bytes}.", field=("tail_bytes",))
        if len(rows) > 1:
            raise InvalidInput("consoleLog is read of one machine at a time; ask for it by ecsInstance(id).")
        return [await read_console(row.id, tail_bytes) for row in rows]


async def read_console(ecs_id: str, tail_bytes: int) -> ConsoleChunk | None:
    """The last of a machine's output: none while it has not been launched, None when the engine cannot be reached."""
    try:
        start, data = await host.current().consoles.tail(UUID(ecs_id), max_bytes=tail_bytes)
    except NotFound:
        return ConsoleChunk("", 0, 0)
    except EngineError:
        return None
    return ConsoleChunk.of(start, data)


async def follow_console(caller: Caller, ecs_id: str, from_offset: int | None) -> AsyncIterator[ConsoleChunk]:
    """Output as it comes.

    Raises: NotFound: no such ECS, or it has not been launched. InvalidInput: the offset is negative.
    """
    if from_offset is not None and from_offset < 0:
        raise InvalidInput("fromOffset is not negative.", field=("from_offset",))
    if ecs_id not in await find(caller, ECS, [ecs_id], Wanted()):
        raise NotFound("There is no such ECS.", otc="Ecs.0031")
    decoder, end = getincrementaldecoder("utf-8")("replace"), -1
    async for start, data in host.current().consoles.follow(UUID(ecs_id), from_offset=from_offset):
        if start != end + len(decoder.getstate()[0]):
            decoder.reset()
            end = start
        # A character whose last bytes are still to come waits for them.
        text, begin = decoder.decode(data), end
        end = start + len(data) - len(decoder.getstate()[0])
        if end > begin:
            yield ConsoleChunk(_shown(text), begin, end)


ECS.relations["console_log"] = ConsoleLog()
