"""Operations over a WebSocket: the graphql-transport-ws protocol.

A message that has an id is answered under that id, whatever is wrong with it, so that a mistake in one operation leaves the others
of the socket alone. Only what cannot be answered closes the socket, with the protocol's own codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol, cast

import structlog
from graphql import GraphQLError
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.schema.schema import StreamResult
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    CompleteMessage,
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)
from strawberry.types.execution import ExecutionResult
from strawberry.utils.aio import aclosing

from app.errors import Unauthenticated
from app.policy import Caller
from schema.context import Context
from schema.errors import RequestCode, is_request_error, present, refusal
from schema.requests import Refused, new_request_id, parameters

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_TYPES = ("connection_init", "ping", "pong", "subscribe", "complete")  # no set: what is asked for may be any JSON

Authenticate = Callable[[str | None], Awaitable[Caller | None]]
"""The caller behind an Authorization header's value, None without one. Raises Unauthenticated when the token is not good."""

MakeContext = Callable[[Caller | None, str, str], Context]
"""The context of one operation, of the caller, the request id, and how the caller reaches the service."""

BaseUrl = Callable[[HTTPConnection], str]
"""How the sender of a request reaches the service."""


class Doors(Protocol):
    """What the view tells a socket."""

    authenticate: Authenticate
    make_context: MakeContext
    base_url: BaseUrl
    recheck_s: float


class Socket(ASGIWebSocketAdapter):
    """A WebSocket on which sending after the end is no error: operations may finish while it closes."""

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return self.ws.application_state is self.ws.client_state is WebSocketState.CONNECTED

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send a message.

        Raises: WebSocketDisconnected: nobody is there any more.
        """
        if not self.is_open:
            raise WebSocketDisconnected
        await super().send_json(message)

    async def close(self, code: int, reason: str) -> None:
        """Close it, once; a close frame has room for 123 bytes of reason."""
        if self.is_open:
            await super().close(code, reason.encode()[:123].decode(errors="ignore"))


class Handler(BaseGraphQLTransportWSHandler[Context, None]):
    """One WebSocket. Each operation has a context of its own; the token is checked again while the socket lives."""

    caller: Caller | None = None
    guard: asyncio.Task[None] | None = None

    @property
    def doors(self) -> Doors:
        """The view, as far as this class needs it."""
        return cast("Doors", self.view)

    @property
    def socket(self) -> Socket:
        """The WebSocket as the view's own adapter."""
        return cast("Socket", self.websocket)

    async def handle(self) -> None:
        """Serve the socket until it closes."""
        try:
            await super().handle()
        except Exception:
            log.exception("websocket failed")
            await self.socket.close(1011, "Internal error")

    async def shutdown(self) -> None:
        """Stop everything that belongs to the socket."""
        if self.guard:
            self.guard.cancel()
        await super().shutdown()

    async def handle_message(self, message: Message) -> None:
        """Take a message; what is not one closes the socket with 4400."""
        if not self.socket.is_open:
            return
        if not isinstance(message, dict):
            await self.handle_invalid_message("A message must be a JSON object")
        elif message.get("type") not in _TYPES:
            await self.handle_invalid_message("Unknown message type")
        elif message["type"] in ("subscribe", "complete") and not (
            isinstance(message.get("id"), str) and message["id"]
        ):
            await self.handle_invalid_message("The message needs an id")
        else:
            await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Say who is calling: `Authorization` in the payload, or else the header that opened the socket."""
        if self.connection_timed_out:
            return
        if self.connection_init_timeout_task:
            self.connection_init_timeout_task.cancel()
        payload = message.get("payload") or {}
        if not isinstance(payload, dict):
            await self.handle_invalid_message("Invalid connection init payload")
            return
        if self.connection_init_received:
            await self.socket.close(4429, "Too many initialisation requests")
            return
        self.connection_init_received = True
        given = next((value for name, value in payload.items() if name.lower() == "authorization"), None)
        authorization = str(given) if given is not None else self.socket.ws.headers.get("authorization")
        try:
            self.caller = await self.doors.authenticate(authorization)
        except Unauthenticated:
            await self.socket.close(4403, "Forbidden")
            return
        if self.caller:
            self.guard = asyncio.create_task(self._watch_token(authorization))
        await self.send_message({"type": "connection_ack"})
        self.connection_acknowledged = True

    async def _watch_token(self, authorization: str | None) -> None:
        """Close the socket when its token expires, at once, or is revoked, at the next check."""
        is_good = True
        while is_good:
            await asyncio.sleep(min(self.doors.recheck_s, _seconds_left(self.caller)))
            try:
                self.caller = await self.doors.authenticate(authorization)
            except Unauthenticated:
                is_good = False
            except Exception:
                log.exception("token could not be checked again")
                is_good = _seconds_left(self.caller) > 0
        for operation_id in list(self.operations):
            await self.cleanup_operation(operation_id)
        await self.socket.close(4403, "Forbidden")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Start an operation; wrong parameters are an error of that operation."""
        is_new = self.connection_acknowledged and message["id"] not in self.operations
        try:
            given = parameters(message.get("payload"))
            limit = self.max_subscriptions_per_connection
            if is_new and limit is not None and len(self.operations) >= limit:
                raise Refused(RequestCode.LIMIT_EXCEEDED, f"A connection may have {limit} operations at a time.")
        except Refused as refused:
            if is_new:
                error = refusal(refused.code, refused.message)
                await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
                return
            given = None  # not acknowledged, or the id is in use: the base class closes the socket
        query, name, variables = (given.query, given.operation_name, given.variables) if given else ("", None, None)
        payload = {"query": query, "operationName": name, "variables": variables}
        await super().handle_subscribe(cast("SubscribeMessage", {**message, "payload": payload}))

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        """Run one operation to its end, as a task."""
        request_id = new_request_id()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                results = await self.schema.stream(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=self.doors.make_context(self.caller, request_id, self.doors.base_url(self.socket.ws)),
                    operation_name=operation.operation_name,
                )
                async with aclosing(results):
                    await self._send_result_stream(operation, results)
                await operation.send_operation_message(CompleteMessage(id=operation.id, type="complete"))
            except WebSocketDisconnected:
                pass
            except Exception as error:  # noqa: BLE001 - whatever failed, the client gets an answer
                with suppress(WebSocketDisconnected):
                    failed = GraphQLError(str(error), original_error=error)
                    await operation.send_initial_errors(present([failed], request_id))

    async def _send_result_stream(self, operation: Operation[Context, None], result_source: StreamResult) -> None:
        is_first = True
        async for result in result_source:
            assert isinstance(result, ExecutionResult)  # others are of @defer and @stream, which are off
            if is_first and is_request_error(result):
                await operation.send_initial_errors(result.errors or [])
                return
            await operation.send_next(result)
            is_first = False


def _seconds_left(caller: Caller | None) -> float:
    """How long the caller's token is good for."""
    if caller is None or caller.expires_at is None:
        return float("inf")
    return max(0.0, (caller.expires_at - datetime.now(UTC)).total_seconds())
