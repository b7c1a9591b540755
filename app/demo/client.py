"""A plain client of the API, for the walk-through: it knows the address, a token and the GraphQL documents, and nothing of ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from gql import Client as GqlClient
from gql import GraphQLRequest
from gql.client import AsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

DEADLINE_S = 600.0
"""For what lasts: a machine that boots, a disk that is copied."""
REQUEST_TIMEOUT_S = 30.0

logging.getLogger("gql").setLevel(logging.WARNING)  # its debug lines hold the token

Answer = dict[str, Any]

WATCH_JOB = """subscription ($id: ID!) {
  jobUpdated(id: $id) { status progress phase bytesDone bytesTotal fault { code message } }
}"""
READ_CONSOLE = """subscription ($id: ID!) { ecsConsole(id: $id, fromOffset: 0) { text } }"""


class Refused(Exception):
    """The service said no, a job failed, or an answer is not what was promised."""


class Client:
    """One project's token at one service: requests over HTTP, subscriptions over one WebSocket."""

    def __init__(self, http: AsyncClientSession, socket: AsyncClientSession) -> None:
        self._http, self._socket = http, socket

    async def ask(self, document: str, /, **variables: object) -> Any:
        """The value of the only root field.

        Raises: Refused: a payload with userErrors.
        """
        data = await self._http.execute(GraphQLRequest(document, variable_values=variables))
        (value,) = data.values()
        if isinstance(value, dict) and (errors := value.get("userErrors")):
            raise Refused("; ".join(f"{error['code']}: {error['message']}" for error in errors))
        return value

    @asynccontextmanager
    async def _watch(self, document: str, /, **variables: object) -> AsyncIterator[AsyncIterator[Any]]:
        request = GraphQLRequest(document, variable_values=variables)
        async with asyncio.timeout(DEADLINE_S), aclosing(self._socket.subscribe(request)) as values:
            yield (next(iter(value.values())) async for value in values)

    async def finish(self, job_id: str, on_progress: Callable[[Answer], None] | None = None) -> Answer:
        """Watch a job until it has succeeded.

        Raises: Refused: it has not. TimeoutError.
        """
        job: Answer = {}
        async with self._watch(WATCH_JOB, id=job_id) as values:
            async for job in values:
                if on_progress:
                    on_progress(job)
        if job.get("status") != "SUCCESS":
            fault = job.get("fault") or {"code": job.get("status"), "message": "the job did not succeed"}
            raise Refused(f"{fault['code']}: {fault['message']}")
        return job

    async def read_console(self, ecs_id: str, until: str) -> str:
        """A machine's output from its beginning, once it holds a text.

        Raises: Refused: it ends before. TimeoutError.
        """
        text: str = ""
        async with self._watch(READ_CONSOLE, id=ecs_id) as chunks:
            async for chunk in chunks:
                text += chunk["text"]
                if until in text:
                    return text
        raise Refused(f"the console ended without {until!r}")


@asynccontextmanager
async def connected(url: str, token: str) -> AsyncIterator[Client]:
    """A client of the service whose endpoint this is."""
    headers = {"Authorization": f"Bearer {token}"}
    http = AIOHTTPTransport(url, headers=headers)
    socket = AIOHTTPWebsocketsTransport(
        url.replace("http", "ws", 1), init_payload=headers, subprotocols=["graphql-transport-ws"]
    )
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(GqlClient(transport=transport, execute_timeout=REQUEST_TIMEOUT_S))
            for transport in (http, socket)
        ]
        yield Client(*sessions)
