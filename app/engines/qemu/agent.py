"""The guest's agent, if there is one: qemu-ga, at the other end of a virtio-serial port (QEMU's docs/interop/qemu-ga).

Whatever answers there belongs to the guest, so it is believed nothing but that: answers have a size limit and a time limit, and what is
not an answer is passed over. A guest that was asked to bring its file systems to rest is marked in its folder until it has said that they
work again, so it is told so also after a crash of ours.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from app.engines.qemu.qmp import Monitor, MonitorFailed, open_socket

SOCKET = "qga.sock"
SYNC_LIMIT_S = 1.0
FREEZE_LIMIT_S = 5.0
THAW_LIMIT_S = 10.0
MAX_ANSWER_BYTES = 64 << 10
DELIMITER = b"\xff"
"""A byte that JSON never has: what was under way before it is forgotten by both sides."""

log = structlog.get_logger(__name__)


class AgentFailed(Exception):
    """No answer, or none that makes sense."""


class Agent:
    """The agent of one machine's guest."""

    def __init__(self, folder: Path, *, sync_limit_s: float = SYNC_LIMIT_S, thaw_limit_s: float = THAW_LIMIT_S) -> None:
        self._folder, self._sync_limit_s, self._thaw_limit_s = folder, sync_limit_s, thaw_limit_s
        self._mark = folder / "frozen"

    @property
    def may_be_frozen(self) -> bool:
        """Whether its file systems were brought to rest and it has not said since that they work again."""
        return self._mark.exists()

    async def is_there(self, monitor: Monitor) -> bool:
        """Whether something in the guest listens; where nothing does this takes no time."""
        try:
            chardevs = await monitor.ask("query-chardev")
        except MonitorFailed:
            return False
        ports = chardevs if isinstance(chardevs, list) else []
        return any(port["label"] == "qga" and port["frontend-open"] for port in ports)

    async def freeze(self, limit_s: float) -> bool:
        """Have it bring all its file systems to rest; whether it says that it did. When it may be frozen afterwards, `thaw` it."""
        try:
            async with asyncio.timeout(limit_s), self._connected(self._sync_limit_s) as connection:
                self._mark.touch()
                count = await connection.ask("guest-fsfreeze-freeze")
        except (AgentFailed, TimeoutError) as error:
            log.info("a guest did not freeze its file systems", machine_id=self._folder.name, error=str(error))
            return False
        return isinstance(count, int) and count > 0

    async def thaw(self) -> bool:
        """Have its file systems work again; whether it says that they do. Until then the mark stays."""
        try:
            async with asyncio.timeout(self._thaw_limit_s), self._connected(self._thaw_limit_s) as connection:
                await connection.ask("guest-fsfreeze-thaw")
        except (AgentFailed, TimeoutError) as error:
            log.warning("a guest may be left frozen", machine_id=self._folder.name, error=str(error))
            return False
        self.forget()
        return True

    def forget(self) -> None:
        """Its guest does not run any longer, or has said that it is not frozen."""
        self._mark.unlink(missing_ok=True)

    @asynccontextmanager
    async def _connected(self, sync_limit_s: float) -> AsyncIterator[_Connection]:
        """A connection on which both sides start anew. Raises: AgentFailed."""
        try:
            reader, writer = await asyncio.open_unix_connection(
                sock=await open_socket(self._folder, SOCKET), limit=MAX_ANSWER_BYTES
            )
        except OSError as error:
            raise AgentFailed("the machine has no port for an agent") from error
        try:
            connection = _Connection(reader, writer)
            try:
                async with asyncio.timeout(sync_limit_s):
                    await connection.synchronize()
            except TimeoutError as error:
                raise AgentFailed("no answer") from error
            yield connection
        except OSError as error:
            raise AgentFailed("the machine is gone") from error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def synchronize(self) -> None:
        """Have the answers to what anybody asked before passed over. Raises: AgentFailed."""
        number = secrets.randbelow(1 << 31)
        await self._send(DELIMITER, "guest-sync-delimited", {"id": number})
        passed_over = 0
        while passed_over < MAX_ANSWER_BYTES:
            line = await self._line()
            passed_over += len(line)
            _, delimiter, answer = line.rpartition(DELIMITER)
            with suppress(AgentFailed):
                if delimiter and _read(answer) == number:
                    return
        raise AgentFailed("it says too much")

    async def ask(self, command: str) -> object:
        """What it answers to a command. Raises: AgentFailed."""
        await self._send(b"", command, {})
        return _read(await self._line())

    async def _send(self, before: bytes, command: str, arguments: dict[str, object]) -> None:
        request = json.dumps({"execute": command} | ({"arguments": arguments} if arguments else {}))
        self._writer.write(before + request.encode() + b"\n")
        await self._writer.drain()

    async def _line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\n")
        except (asyncio.LimitOverrunError, ValueError) as error:
            raise AgentFailed("it says too much") from error
        except asyncio.IncompleteReadError as error:
            raise AgentFailed("the machine is gone") from error


def _read(line: bytes) -> object:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AgentFailed("it talks nonsense") from error
    if not isinstance(answer, dict) or "return" not in answer:
        raise AgentFailed(f"it refuses: {str(answer)[:200]}")
    return answer["return"]
