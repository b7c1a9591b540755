"""The HTTP view: GraphQL over HTTP, as https://graphql.github.io/graphql-over-http has it. WebSockets go to schema/websocket.py.

Strawberry's own view sends everything as application/json with status 200, or as plain text, and fails with status 500 on bodies that
are no objects; so HTTP is answered here from the first byte to the last, and only WebSockets are left to the base class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import orjson
import structlog
from graphql import GraphQLError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from app.errors import Unauthenticated
from app.policy import Caller
from schema import requests
from schema.context import Context
from schema.errors import MASKED, RequestCode, Schema, is_request_error, present, refusal
from schema.requests import GRAPHQL, HTML, JSON, Parameters, Refused
from schema.websocket import Authenticate, BaseUrl, Handler, MakeContext, Socket

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Status(NamedTuple):
    """The status of a request error under each media type."""

    graphql: int
    json: int


STATUS: Mapping[str, Status] = {
    # A well-formed request that GraphQL refuses. The draft of August 2026 says 422, and the same under both media types; graphql-http's
    # audit and the clients of today expect this.
    RequestCode.GRAPHQL_PARSE_FAILED: Status(400, 200),
    RequestCode.GRAPHQL_VALIDATION_FAILED: Status(400, 200),
    RequestCode.OPERATION_RESOLUTION_FAILURE: Status(400, 200),
    RequestCode.BAD_USER_INPUT: Status(400, 200),
    RequestCode.LIMIT_EXCEEDED: Status(400, 200),
    RequestCode.COST_LIMIT_EXCEEDED: Status(400, 200),
    RequestCode.TIMED_OUT: Status(503, 200),
    RequestCode.INTERNAL: Status(500, 500),
    # What HTTP has a status for.
    RequestCode.BAD_REQUEST: Status(400, 400),
    RequestCode.UNAUTHENTICATED: Status(401, 401),
    RequestCode.FORBIDDEN: Status(403, 403),
    RequestCode.METHOD_NOT_ALLOWED: Status(405, 405),
    RequestCode.NOT_ACCEPTABLE: Status(406, 406),
    RequestCode.PAYLOAD_TOO_LARGE: Status(413, 413),
    RequestCode.UNSUPPORTED_MEDIA_TYPE: Status(415, 415),
}
"""All statuses but 200. Anything with data is 200, with errors beside it or not."""

_BEGUN = {RequestCode.TIMED_OUT, RequestCode.INTERNAL}
"""Errors of requests whose execution may have begun: their answer has `data`, which is null."""

_METHODS = {"GET": {OperationType.QUERY}, "POST": {OperationType.QUERY, OperationType.MUTATION}}


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser gets that opens the endpoint."""

    html: bytes
    content_security_policy: str


@dataclass(frozen=True, slots=True)
class Doorway:
    """How much the view takes from one client. The size of a WebSocket message is uvicorn's `ws_max_size`."""

    body_bytes: int = 128 * 1024
    init_timeout_s: float = 10.0
    operations_per_socket: int = 100
    recheck_s: float = 60.0  # so soon a revoked token is noticed on a socket; one that expires is at once
    allowed_origins: tuple[str, ...] = ()  # of pages that may open a WebSocket, besides our own


class View(GraphQL[Context, None]):
    """The endpoint; one instance serves both `Route` and `WebSocketRoute`."""

    schema: Schema
    websocket_adapter_class = Socket
    graphql_transport_ws_handler_class = Handler

    def __init__(
        self,
        schema: Schema,
        *,
        authenticate: Authenticate,
        page: Page,
        make_context: MakeContext = Context,
        doorway: Doorway | None = None,
        base_url: BaseUrl = requests.base_url,
    ) -> None:
        """`authenticate` gets the value of an Authorization header, or None, and raises Unauthenticated if it is not good."""
        self.doorway = doorway or Doorway()
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=self.doorway.init_timeout_s),
            max_subscriptions_per_connection=self.doorway.operations_per_socket,
            allowed_origins=self.doorway.allowed_origins,
        )
        self.authenticate, self.make_context, self.page = authenticate, make_context, page
        self.base_url = base_url
        self.recheck_s = self.doorway.recheck_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or serve one WebSocket."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        request_id = requests.request_id(request.headers)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                response = await self._respond(request, request_id)
            except ClientDisconnect:
                return
            except Refused as refused:
                log.info("request refused", code=refused.code)
                error = refusal(refused.code, refused.message)
                response = _json({"errors": [error.formatted]}, STATUS[refused.code].json, JSON)
                response.headers.update(refused.headers)
            except Exception:
                log.exception("request failed")
                error = refusal(RequestCode.INTERNAL, MASKED, requestId=request_id)
                response = _json({"errors": [error.formatted]}, STATUS[RequestCode.INTERNAL].json, JSON)
        response.headers.update(
            {
                "X-Request-Id": request_id,
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "Vary": "Accept",
            }
        )
        await response(scope, receive, send)

    async def _respond(self, request: Request, request_id: str) -> Response:
        if request.method not in _METHODS:
            message = "GraphQL is served by GET and POST."
            raise Refused(RequestCode.METHOD_NOT_ALLOWED, message, {"Allow": ", ".join(_METHODS)})
        is_get, is_program = request.method == "GET", requests.has_preflight_header(request.headers)
        accept = ",".join(request.headers.getlist("accept"))
        media = requests.negotiate(accept, may_be_html=is_get and not is_program)
        if media is None:
            raise Refused(RequestCode.NOT_ACCEPTABLE, f"The answer can be {GRAPHQL} or {JSON}.")
        if media == HTML:
            headers = {"Content-Security-Policy": self.page.content_security_policy}
            return Response(self.page.html, media_type=HTML, headers=headers)
        if is_get and request.headers.get("sec-fetch-site") == "cross-site":
            raise Refused(RequestCode.FORBIDDEN, "Pages of other sites may not send GET requests.")
        if is_get and not is_program:
            raise Refused(RequestCode.BAD_REQUEST, "A GET request needs the header GraphQL-Require-Preflight: 1.")
        caller = await self._caller(request)
        given = requests.parameters_in_url(request.query_params) if is_get else await self._parameters_in_body(request)
        context = self.make_context(caller, request_id, self.base_url(request))
        result = await self._run(given, request.method, context)
        return _answer(result, media)

    async def _caller(self, request: Request) -> Caller | None:
        try:
            return await self.authenticate(request.headers.get("authorization"))
        except Unauthenticated as error:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Refused(RequestCode.UNAUTHENTICATED, error.message, headers) from error

    async def _parameters_in_body(self, request: Request) -> Parameters:
        if not requests.accepts_json_body(request.headers.get("content-type", "")):
            raise Refused(RequestCode.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json in UTF-8.")
        body, limit = bytearray(), self.doorway.body_bytes
        too_large = Refused(RequestCode.PAYLOAD_TOO_LARGE, f"A body may have {limit} bytes.")
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
        except HTTPException as error:  # a lower limit of the application or the route
            raise (too_large if error.status_code == STATUS[too_large.code].json else error) from error
        return requests.parameters(requests.parse_json(bytes(body), "The body"))

    async def _run(self, given: Parameters, method: str, context: Context) -> ExecutionResult:
        try:
            return await self.schema.execute(
                given.query,
                variable_values=given.variables,
                context_value=context,
                operation_name=given.operation_name,
                allowed_operation_types=_METHODS[method],
                operation_extensions=given.extensions,
            )
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.MUTATION:
                raise Refused(
                    RequestCode.METHOD_NOT_ALLOWED, "Mutations are sent by POST.", {"Allow": "POST"}
                ) from None
            message = "Subscriptions are served over WebSocket, by the graphql-transport-ws protocol."
            raise Refused(RequestCode.BAD_REQUEST, message) from None
        except CannotGetOperationTypeError as error:
            named = error.as_http_error_reason()
            message = "The document has no operation." if error.operation_name is None else named
            unresolved = refusal(RequestCode.OPERATION_RESOLUTION_FAILURE, message)
            return ExecutionResult(data=None, errors=present([unresolved], context.request_id))

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """A context that nothing uses: the base class wants one per socket, where each operation gets its own."""
        return self.make_context(None, "", "")

    def decode_json(self, data: str | bytes) -> object:
        """A WebSocket message; orjson refuses lone surrogates, NaN, and nesting that would exhaust the stack."""
        value: object = orjson.loads(data)
        return value

    def encode_json(self, data: object) -> str:
        """A WebSocket message as text: clients refuse binary frames."""
        return orjson.dumps(data).decode()


def _answer(result: ExecutionResult, media: str) -> Response:
    body: dict[str, object] = {}
    status = 200
    if result.errors:
        body["errors"] = [error.formatted for error in result.errors]
    if is_request_error(result):
        code = _code(result.errors)
        both = STATUS.get(code, STATUS[RequestCode.BAD_USER_INPUT])
        status = both.graphql if media == GRAPHQL else both.json
        if code in _BEGUN:
            body["data"] = None
    else:
        body["data"] = result.data
    if result.extensions:
        body["extensions"] = result.extensions
    return _json(body, status, media)


def _code(errors: list[GraphQLError] | None) -> str:
    return str((errors[0].extensions or {}).get("code")) if errors else ""


def _json(body: Mapping[str, object], status: int, media: str) -> Response:
    return Response(orjson.dumps(body), status, media_type=f"{media}; charset=utf-8")
