"""The service on a socket: listening, answering until somebody stops it, and ending in good order."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn

from app.errors import StartupError
from app.settings import Settings

MAX_MESSAGE_BYTES = 128 << 10
"""Of a WebSocket message; an operation has no more over HTTP."""
GRACE_S = 5
"""How long answers on their way may take once the service is to stop."""


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals alone: it would raise them again before the engine is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; 0 is any free port. Whoever connects now is answered once the service is open.

    Raises: StartupError: the port is in use or privileged, or the address is not one of this host.
    """
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "it is in use; stop what uses it or give another port (--port; 0: any free one)",
            errno.EACCES: "it is a privileged port; give one from 1024 on (--port; 0: any free one)",
        }.get(error.errno or 0, f"{(error.strerror or str(error)).lower()}; give an address of this host (--host)")
        raise StartupError(f"Cannot listen on port {port} of {host}: {reason}.") from error


def address_of(listener: socket.socket) -> str:
    """Where a client on this host reaches the service."""
    host, port = listener.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def endpoint(settings: Settings, listener: socket.socket) -> str:
    """Where clients reach the API."""
    return (settings.public_url or address_of(listener)).rstrip("/") + "/graphql"


@asynccontextmanager
async def serving(settings: Settings, listener: socket.socket, *, work: bool = True) -> AsyncIterator[None]:
    """While open, the service answers on the socket. At the end requests are finished; machines run on.

    Raises: StartupError: with the remedy.
    """
    from app.asgi import create_app  # late: a port in use is told at once

    app = create_app(settings, work=work)
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            http="h11",  # and not what happens to be installed beside it
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    # Not by uvicorn's lifespan, which would log what a StartupError says as a traceback.
    async with app.router.lifespan_context(app):
        answering = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if answering.done():
                    await answering
                await asyncio.sleep(0.005)  # there is no event to wait for
            yield
        finally:
            server.should_exit = True
            await answering


async def until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM, which is a good end."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


def stop_on_sigterm() -> None:
    """End the current task like Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
