"""Runs of qemu-img: with limits, and never outliving the process that asked for them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.enums import ErrorCode
from app.errors import EngineError

# What `convert -W -m 8` needs: it aborts at 512 MiB.
MEMORY_LIMIT = "--as=2147483648"
# Their messages are read, so they are in English; our own environment may hold secrets that are none of their business.
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
MODESTLY = ("nice", "-n", "19")
PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


def guarded(*limits: str) -> tuple[str, ...]:
    """What a tool is started by: no killed service leaves one behind that still writes, and it keeps to limits (prlimit(1))."""
    # The shell closes a gap: a parent that died before setpriv had its say sends no signal, but is no longer the parent.
    refuse_orphans = '[ "$PPID" = "$0" ] || exit 1; exec "$@"'
    return (
        "setpriv",
        "--pdeathsig",
        "KILL",
        "sh",
        "-c",
        refuse_orphans,
        str(os.getpid()),
        "prlimit",
        "--core=0:0",
        *limits,
    )


class Tools:
    """qemu-img, as this store calls it."""

    def __init__(self, qemu_img: str, timeout_s: float) -> None:
        self._qemu_img, self._timeout_s = qemu_img, timeout_s

    async def run(self, *arguments: str, accept: frozenset[int] = frozenset({0})) -> int:
        """Run qemu-img to its end and answer its exit status, which is one of those accepted.

        Raises: EngineError: INSUFFICIENT_STORAGE, TIMED_OUT, or ENGINE_FAILED with what the tool said.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._run(arguments, accept, None)
        except TimeoutError as error:
            raise EngineError(ErrorCode.TIMED_OUT, f"qemu-img {arguments[0]} took too long") from error

    async def run_with_progress(
        self, *arguments: str, on_percent: Callable[[float], Awaitable[None]], is_modest: bool = False
    ) -> None:
        """Run a qemu-img that was given -p, however long it takes, and say how far it is; what on_percent raises ends it.

        `is_modest`: it takes what others leave of the processors and disks.
        """
        await self._run(arguments, frozenset({0}), on_percent, is_modest=is_modest)

    async def lines(self, *arguments: str, failure: ErrorCode) -> AsyncGenerator[bytes, None]:
        """What qemu-img says, line by line, however long it takes.

        Raises: EngineError: with what the tool said: `failure` when it gave up, ENGINE_FAILED when it was killed.
        """
        async with self._running(arguments) as (process, errors):
            assert process.stdout is not None
            async for line in process.stdout:
                yield line
            await self._end(arguments, process, errors, accept=frozenset({0}), failure=failure)

    async def _run(
        self,
        arguments: tuple[str, ...],
        accept: frozenset[int],
        on_percent: Callable[[float], Awaitable[None]] | None,
        *,
        is_modest: bool = False,
    ) -> int:
        async with self._running(arguments, is_modest=is_modest) as (process, errors):
            assert process.stdout is not None
            while chunk := await process.stdout.read(4096):
                if on_percent is not None and (percents := PERCENT.findall(chunk)):
                    await on_percent(float(percents[-1]))
            return await self._end(arguments, process, errors, accept=accept)

    @asynccontextmanager
    async def _running(
        self, arguments: tuple[str, ...], *, is_modest: bool = False
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Future[bytes]]]:
        """A process, and what it will have written to its standard error; it does not outlive the context."""
        process = await asyncio.create_subprocess_exec(
            *guarded(MEMORY_LIMIT, "--nofile=1024:1024"),
            *(MODESTLY if is_modest else ()),
            self._qemu_img,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for us: we put the job back, and the tool ends when we say so
        )
        assert process.stderr is not None
        errors = asyncio.ensure_future(process.stderr.read())
        try:
            yield process, errors
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await asyncio.gather(errors, return_exceptions=True)
            raise

    @staticmethod
    async def _end(
        arguments: tuple[str, ...],
        process: asyncio.subprocess.Process,
        errors: asyncio.Future[bytes],
        *,
        accept: frozenset[int],
        failure: ErrorCode = ErrorCode.ENGINE_FAILED,
    ) -> int:
        said = (await errors).decode(errors="replace").strip()
        status = await process.wait()
        if status in accept:
            return status
        if "No space left on device" in said:
            raise EngineError(ErrorCode.INSUFFICIENT_STORAGE, "the engine's store is full")
        for path in filter(os.path.isabs, arguments):
            said = said.replace(path, Path(path).name)
        code = failure if status > 0 else ErrorCode.ENGINE_FAILED
        raise EngineError(code, f"qemu-img {arguments[0]} failed ({status}): {said[-300:]}")
