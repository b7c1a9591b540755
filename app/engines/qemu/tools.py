"""Runs of qemu-img: with limits, and never outliving the process that asked for them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.enums import ErrorCode
from app.errors import EngineError

# What `convert -W -m 8` needs: it aborts at 512 MiB.
MEMORY_LIMIT = "--as=2147483648"
# Their messages are read, so they are in English; our own environment may hold secrets that are none of their business.
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
MODESTLY = ("nice", "-n", "19")
MOST_SAID = 1 << 20
"""Bytes of an answer that is read whole. What a tool complains of is cut to its end: of a broken file it may be no end of lines."""
MOST_COMPLAINED = 4096
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use that is shown a file of a stranger's."""

    cpu_s: int
    wall_s: float
    written_bytes: int
    """The largest file that it may write."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """For prlimit(1). A second limit kills what goes on after the first."""
        return f"--cpu={self.cpu_s}:{self.cpu_s + 5}", f"--fsize={self.written_bytes}"


GAVE_UP = frozenset({1, 2})
"""How a run ends that has met an error, or found one in a file that it was to check."""
EXCEEDED = frozenset({-signal.SIGXCPU, -signal.SIGKILL})
"""How a run ends that wanted more of the processor."""


class Tools:
    """qemu-img, as this store calls it."""

    def __init__(self, qemu_img: str, timeout_s: float, *, file_cpu_s: int = 60, file_wall_s: float = 600.0) -> None:
        self._qemu_img, self._timeout_s = qemu_img, timeout_s
        self._file_cpu_s, self._file_wall_s = file_cpu_s, file_wall_s

    def limits_of(self, size_bytes: int, *, written_bytes: int = 0) -> Limits:
        """What a run may use for a file from outside of some size, when it writes so much."""
        times = 1 + size_bytes / (1 << 30)
        return Limits(
            cpu_s=int(self._file_cpu_s * times), wall_s=self._file_wall_s * times, written_bytes=written_bytes
        )

    async def run(
        self,
        *arguments: str,
        accept: frozenset[int] = frozenset({0}),
        failure: ErrorCode = ErrorCode.ENGINE_FAILED,
        limits: Limits | None = None,
    ) -> int:
        """Run qemu-img to its end and answer its exit status, which is one of those accepted.

        Raises: EngineError: INSUFFICIENT_STORAGE, TIMED_OUT, or with what the tool said: `failure` when it gave up, else ENGINE_FAILED.
        """
        with _in_time(arguments):
            async with asyncio.timeout(limits.wall_s if limits else self._timeout_s):
                return await self._run(arguments, accept, None, failure=failure, limits=limits)

    async def run_with_progress(
        self,
        *arguments: str,
        on_percent: Callable[[float], Awaitable[None]],
        is_modest: bool = False,
        failure: ErrorCode = ErrorCode.ENGINE_FAILED,
        limits: Limits | None = None,
    ) -> None:
        """Run a qemu-img that was given -p, as long as its limits let it, and say how far it is; what on_percent raises ends it.

        `is_modest`: it takes what others leave of the processors and disks. Raises: as run.
        """
        with _in_time(arguments):
            async with asyncio.timeout(limits.wall_s if limits else None):
                accept = frozenset({0})
                await self._run(arguments, accept, on_percent, is_modest=is_modest, failure=failure, limits=limits)

    async def said(self, *arguments: str, failure: ErrorCode, limits: Limits) -> bytes:
        """All that qemu-img says.

        Raises: EngineError: as run; `failure` also when that is more than anybody would read.
        """
        with _in_time(arguments):
            async with asyncio.timeout(limits.wall_s), self._running(arguments, limits=limits) as (process, errors):
                assert process.stdout is not None
                said = b""
                while chunk := await process.stdout.read(MOST_SAID):
                    said += chunk
                    if len(said) > MOST_SAID:
                        raise EngineError(failure, f"qemu-img {arguments[0]} says too much")
                await self._end(arguments, process, errors, accept=frozenset({0}), failure=failure, limits=limits)
                return said

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
        failure: ErrorCode = ErrorCode.ENGINE_FAILED,
        limits: Limits | None = None,
    ) -> int:
        async with self._running(arguments, is_modest=is_modest, limits=limits) as (process, errors):
            assert process.stdout is not None
            while chunk := await process.stdout.read(4096):
                if on_percent is not None and (percents := PERCENT.findall(chunk)):
                    await on_percent(float(percents[-1]))
            return await self._end(arguments, process, errors, accept=accept, failure=failure, limits=limits)

    @asynccontextmanager
    async def _running(
        self, arguments: tuple[str, ...], *, is_modest: bool = False, limits: Limits | None = None
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Future[bytes]]]:
        """A process, and what it will have written to its standard error; it does not outlive the context."""
        process = await asyncio.create_subprocess_exec(
            *guarded(MEMORY_LIMIT, "--nofile=1024:1024", *(limits.arguments if limits else ())),
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
        errors = asyncio.ensure_future(_end_of(process.stderr))
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
        limits: Limits | None = None,
    ) -> int:
        said = (await errors).decode(errors="replace").strip()
        status = await process.wait()
        if status in accept:
            return status
        if "No space left on device" in said:
            raise EngineError(ErrorCode.INSUFFICIENT_STORAGE, "the engine's store is full")
        if limits and status in EXCEEDED:
            message = (
                f"qemu-img {arguments[0]} was stopped: the file asks for more than {limits.cpu_s} s of a processor"
            )
            raise EngineError(ErrorCode.TIMED_OUT, message)
        if limits and "File too large" in said:
            raise EngineError(failure, "it becomes larger than was measured")
        for path in filter(os.path.isabs, arguments):
            said = said.replace(path, Path(path).name)
        # By 1 it gives up; by others it was not there, or was killed.
        code = failure if status in GAVE_UP and "error while writing" not in said else ErrorCode.ENGINE_FAILED
        raise EngineError(code, f"qemu-img {arguments[0]} failed ({status}): {said[-300:]}")


@contextmanager
def _in_time(arguments: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise EngineError(ErrorCode.TIMED_OUT, f"qemu-img {arguments[0]} took too long") from error


async def _end_of(stream: asyncio.StreamReader) -> bytes:
    """The last that is said on a stream, which is read to its end."""
    said = b""
    while chunk := await stream.read(MOST_COMPLAINED):
        said = (said + chunk)[-MOST_COMPLAINED:]
    return said
