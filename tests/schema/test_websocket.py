"""GraphQL over WebSocket: what is answered, under which id, and what closes the socket with which code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from schema.limits import Limits
from schema.view import Doorway

PROTOCOL = "graphql-transport-ws"
MakeApp = Callable[..., Starlette]


@contextmanager
def opened(app: Starlette, *protocols: str, **headers: str) -> Iterator[WebSocketTestSession]:
    """A socket on which nothing was said yet."""
    with (
        TestClient(app) as client,
        client.websocket_connect("/graphql", list(protocols) or [PROTOCOL], headers=headers) as socket,
    ):
        yield socket


@contextmanager
def ready(app: Starlette, payload: dict[str, object] | None = None, **headers: str) -> Iterator[WebSocketTestSession]:
    """A socket that was acknowledged."""
    with opened(app, **headers) as socket:
        socket.send_json({"type": "connection_init", "payload": payload})
        assert socket.receive_json() == {"type": "connection_ack"}
        yield socket


@pytest.fixture
def socket(make_app: MakeApp) -> Iterator[WebSocketTestSession]:
    """A ready socket of a view with its defaults."""
    with ready(make_app()) as session:
        yield session


def subscribe(socket: WebSocketTestSession, query: object, id: str = "1", **more: object) -> None:
    socket.send_json({"type": "subscribe", "id": id, "payload": {"query": query, **more}})


def closed(socket: WebSocketTestSession) -> int:
    """The code that the server closes the socket with, before it says anything else."""
    with pytest.raises(WebSocketDisconnect) as caught:
        socket.receive_json()
    return caught.value.code


def error_code(message: dict[str, Any], id: str = "1") -> str:
    """The code of the only error in an `error` message."""
    assert (message["type"], message["id"]) == ("error", id)
    (error,) = message["payload"]
    return str(error["extensions"]["code"])


def is_alive(socket: WebSocketTestSession) -> bool:
    """Whether another operation still gets its answer, and nothing else comes before it."""
    subscribe(socket, "{ hello }", "alive")
    answer = {"type": "next", "id": "alive", "payload": {"data": {"hello": "hello world"}}}
    return [socket.receive_json(), socket.receive_json()] == [answer, {"type": "complete", "id": "alive"}]


# ---------------------------------------------------------------- handshake


@pytest.mark.parametrize("protocol", ["graphql-ws", "graphql-sse", "nothing"])
def test_other_protocols_are_closed_with_4406(make_app: MakeApp, protocol: str) -> None:
    with opened(make_app(), protocol) as socket:
        assert closed(socket) == 4406


def test_protocol_is_chosen_from_those_offered(make_app: MakeApp) -> None:
    with opened(make_app(), "graphql-ws", PROTOCOL) as socket:
        assert socket.accepted_subprotocol == PROTOCOL


def test_pages_of_other_origins_are_refused(make_app: MakeApp) -> None:
    with pytest.raises(WebSocketDisconnect), opened(make_app(), Origin="https://evil.example"):
        pass
    with ready(make_app(), Origin="http://testserver"):
        pass
    with ready(make_app(doorway=Doorway(allowed_origins=("https://friend.example",))), Origin="https://friend.example"):
        pass


# ---------------------------------------------------------------- connection_init


@pytest.mark.parametrize("more", [{}, {"payload": None}, {"payload": {}}, {"payload": {"a": 1}}])
def test_init_is_acknowledged(make_app: MakeApp, more: dict[str, object]) -> None:
    with opened(make_app()) as socket:
        socket.send_json({"type": "connection_init", **more})

        assert socket.receive_json() == {"type": "connection_ack"}


def test_silence_is_closed_with_4408(make_app: MakeApp) -> None:
    with opened(make_app(doorway=Doorway(init_timeout_s=0.02))) as socket:
        assert closed(socket) == 4408


@pytest.mark.parametrize("payload", [1, "x", [1]])
def test_init_with_a_wrong_payload_is_closed_with_4400(make_app: MakeApp, payload: object) -> None:
    with opened(make_app()) as socket:
        socket.send_json({"type": "connection_init", "payload": payload})

        assert closed(socket) == 4400


def test_second_init_is_closed_with_4429(socket: WebSocketTestSession) -> None:
    socket.send_json({"type": "connection_init"})

    assert closed(socket) == 4429


@pytest.mark.parametrize("payload", [{"query": "{ hello }"}, {"query": 1}, None])
def test_operation_before_init_is_closed_with_4401(make_app: MakeApp, payload: object) -> None:
    with opened(make_app()) as socket:
        socket.send_json({"type": "subscribe", "id": "1", "payload": payload})

        assert closed(socket) == 4401


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "NaN",
            "[]",
            '["a"]',
            "null",
            "1",
            '"x"',
            "{}",
            '{"type": null}',
            '{"type": 1}',
            '{"type": ["ping"]}',
            '{"type": {}}',
        ),
        *(
            '{"type": "' + "x" * 500 + '"}',
            '{"type": "start", "id": "1"}',
            '{"type": "connection_ack"}',
            '{"type": "next", "id": "1"}',
        ),
        *('{"type": "subscribe"}', '{"type": "subscribe", "payload": {"query": "{ hello }"}}', '{"type": "complete"}'),
        *(
            '{"type": "subscribe", "id": 1, "payload": {"query": "{ hello }"}}',
            '{"type": "subscribe", "id": "", "payload": {}}',
        ),
        *(
            '{"type": "subscribe", "id": ["1"], "payload": {}}',
            '{"type": "complete", "id": {}}',
            "[" * 5000,
            '{"type": "\\ud800"}',
        ),
    ],
)
def test_what_is_no_message_is_closed_with_4400(socket: WebSocketTestSession, text: str) -> None:
    socket.send_text(text)

    assert closed(socket) == 4400


def test_binary_message_is_closed_with_4400(socket: WebSocketTestSession) -> None:
    socket.send_bytes(b'{"type": "ping"}')

    assert closed(socket) == 4400


def test_ping_is_answered(socket: WebSocketTestSession) -> None:
    for message in (
        {"type": "ping"},
        {"type": "pong"},
        {"type": "ping", "payload": {"a": 1}},
        {"type": "complete", "id": "unknown"},
    ):
        socket.send_json(message)

    assert [socket.receive_json(), socket.receive_json()] == [{"type": "pong"}, {"type": "pong"}]
    assert is_alive(socket)


# ---------------------------------------------------------------- operations


def test_queries_mutations_and_subscriptions_run(socket: WebSocketTestSession) -> None:
    subscribe(
        socket, "query A($x: String!) { hello(name: $x) } query B { who }", variables={"x": "you"}, operationName="A"
    )
    assert socket.receive_json() == {"type": "next", "id": "1", "payload": {"data": {"hello": "hello you"}}}
    assert socket.receive_json() == {"type": "complete", "id": "1"}

    subscribe(socket, 'mutation { rename(name: "taken") { userErrors { code } } }')
    assert socket.receive_json()["payload"] == {"data": {"rename": {"userErrors": [{"code": "NOT_FOUND"}]}}}
    assert socket.receive_json() == {"type": "complete", "id": "1"}

    subscribe(socket, "subscription { count(to: 3) }")
    assert [socket.receive_json()["payload"]["data"]["count"] for _ in range(3)] == [1, 2, 3]
    assert socket.receive_json() == {"type": "complete", "id": "1"}


@pytest.mark.parametrize(
    "payload",
    [
        *(
            None,
            1,
            "x",
            [],
            [{"query": "{ hello }"}],
            {},
            {"query": None},
            {"query": 1},
            {"query": ["{ hello }"]},
            {"query": ""},
        ),
        *(
            {"query": "{ hello }", "variables": []},
            {"query": "{ hello }", "variables": "{}"},
            {"query": "{ hello }", "extensions": 1},
        ),
        *({"query": "{ hello }", "operationName": 1}, {"query": "{ hello }", "operationName": ["A"]}),
    ],
)
def test_wrong_parameters_are_an_error_of_their_operation(socket: WebSocketTestSession, payload: object) -> None:
    socket.send_json({"type": "subscribe", "id": "1", "payload": payload})

    assert error_code(socket.receive_json()) == "BAD_REQUEST"
    assert is_alive(socket)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{" + " hello" * 2000 + "}"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ a" * 300 + "}" * 300}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "subscription { nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query A { hello } query B { hello }"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "query A { hello }", "operationName": "C"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "fragment F on Query { hello }"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "query ($x: String!) { hello(name: $x) }"}, "BAD_USER_INPUT"),
        ({"query": "subscription ($x: Int!) { count(to: $x) }", "variables": {"x": "1"}}, "BAD_USER_INPUT"),
        ({"query": "query ($x: String!) { hello(name: $x) }", "variables": {"x": "\0"}}, "BAD_USER_INPUT"),
        ({"query": "subscription ($x: Int) { count(to: $x) }", "variables": {"y": ["\0"]}}, "BAD_USER_INPUT"),
        ({"query": '{ hello(name: "\\u0000") }'}, "BAD_USER_INPUT"),
        ({"query": "{ " + "items { nodes { " * 7 + "name" + " } }" * 7 + " }"}, "LIMIT_EXCEEDED"),
        ({"query": "{ items(first: 100) { nodes { items(first: 100) { nodes { name } } } } }"}, "COST_LIMIT_EXCEEDED"),
        ({"query": "subscription { refused }"}, "NOT_FOUND"),
    ],
)
def test_request_error_ends_its_operation_only(
    socket: WebSocketTestSession, payload: dict[str, object], expected: str
) -> None:
    subscribe(socket, "subscription { forever }", "other")
    assert socket.receive_json()["payload"] == {"data": {"forever": 1}}

    for _ in range(2):  # the second time from the store of documents
        socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
        assert error_code(socket.receive_json()) == expected
    assert is_alive(socket)
    subscribe(socket, "{ hello }", "other")
    assert closed(socket) == 4409  # so the other one is still there


def test_failures_are_masked_in_every_result(socket: WebSocketTestSession) -> None:
    with capture_logs() as logs:
        subscribe(socket, "{ hello broken }")
        first = socket.receive_json()["payload"]
        assert socket.receive_json() == {"type": "complete", "id": "1"}
        subscribe(socket, "subscription { breaks }", "2")
        assert socket.receive_json()["payload"] == {"data": {"breaks": 1}}
        second = socket.receive_json()["payload"]
        assert socket.receive_json() == {"type": "complete", "id": "2"}

    assert first["data"] == {"hello": "hello world", "broken": None}
    assert second["data"] is None
    for payload in (first, second):
        (error,) = payload["errors"]
        assert error["message"] == "Something went wrong."
        assert error["extensions"]["code"] == "INTERNAL"
        assert error["extensions"]["requestId"] in {entry.get("request_id") for entry in logs}


def test_each_operation_has_a_request_id_of_its_own(socket: WebSocketTestSession) -> None:
    ids = []
    for _ in range(2):
        subscribe(socket, "subscription { request }")
        ids.append(socket.receive_json()["payload"]["data"]["request"])
        socket.receive_json()

    assert len(set(ids)) == 2


def test_completed_operation_stops_and_its_id_is_free(socket: WebSocketTestSession) -> None:
    subscribe(socket, "subscription { forever }")
    assert socket.receive_json()["payload"] == {"data": {"forever": 1}}

    socket.send_json({"type": "complete", "id": "1"})
    subscribe(socket, "{ hello }")

    assert socket.receive_json()["payload"] == {"data": {"hello": "hello world"}}
    assert socket.receive_json() == {"type": "complete", "id": "1"}


def test_operations_of_a_socket_are_limited(make_app: MakeApp) -> None:
    with ready(make_app(doorway=Doorway(operations_per_socket=2))) as socket:
        for id_ in "12":
            subscribe(socket, "subscription { forever }", id_)
            assert socket.receive_json()["id"] == id_
        subscribe(socket, "{ hello }", "3")
        assert error_code(socket.receive_json(), "3") == "LIMIT_EXCEEDED"
        socket.send_json({"type": "complete", "id": "1"})
        assert is_alive(socket)


def test_query_that_takes_too_long_is_stopped_and_a_subscription_is_not(make_app: MakeApp) -> None:
    with ready(make_app(Limits(time_s=0.05))) as socket:
        subscribe(socket, "subscription { forever }", "other")
        assert socket.receive_json()["payload"] == {"data": {"forever": 1}}
        subscribe(socket, "{ slow }")
        assert error_code(socket.receive_json()) == "TIMED_OUT"
        assert is_alive(socket)


# ---------------------------------------------------------------- who is calling


def who(socket: WebSocketTestSession) -> object:
    subscribe(socket, "{ who }")
    answer = socket.receive_json()["payload"]["data"]["who"]
    socket.receive_json()
    return answer


def test_token_comes_in_the_payload_or_the_header(make_app: MakeApp) -> None:
    with ready(make_app()) as socket:
        assert who(socket) is None
    with ready(make_app(), {"authorization": "Bearer good"}) as socket:
        assert who(socket) == "good"
    with ready(make_app(), Authorization="Bearer good") as socket:
        assert who(socket) == "good"
    with ready(make_app(), {"Authorization": "Bearer good"}, Authorization="Bearer bad") as socket:
        assert who(socket) == "good"


@pytest.mark.parametrize(
    ("payload", "headers"),
    [({"Authorization": "Bearer bad"}, {}), ({"Authorization": 1}, {}), ({}, {"Authorization": "Bearer bad"})],
)
def test_token_that_is_not_good_is_closed_with_4403(
    make_app: MakeApp, payload: dict[str, object], headers: dict[str, str]
) -> None:
    with opened(make_app(), **headers) as socket:
        socket.send_json({"type": "connection_init", "payload": payload})

        assert closed(socket) == 4403


def test_token_that_expires_closes_a_live_socket_with_4403(make_app: MakeApp, tokens: Any) -> None:
    token = tokens.expiring("short", after_s=0.1)
    with ready(make_app(), {"Authorization": token}) as socket:
        subscribe(socket, "subscription { forever }")
        assert socket.receive_json()["payload"] == {"data": {"forever": 1}}

        assert closed(socket) == 4403


def test_token_that_is_revoked_closes_a_live_socket_with_4403(make_app: MakeApp, tokens: Any) -> None:
    with ready(make_app(doorway=Doorway(recheck_s=0.02)), {"Authorization": "Bearer good"}) as socket:
        subscribe(socket, "subscription { forever }")
        assert socket.receive_json()["payload"] == {"data": {"forever": 1}}
        del tokens.good["good"]

        assert closed(socket) == 4403


def test_failure_while_calling_is_closed_with_1011(make_app: MakeApp) -> None:
    with capture_logs() as logs, opened(make_app()) as socket:
        socket.send_json({"type": "connection_init", "payload": {"Authorization": "Bearer failing"}})

        assert closed(socket) == 1011
    assert [entry["event"] for entry in logs] == ["websocket failed"]


# ---------------------------------------------------------------- a real server


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """The application behind uvicorn, on a port of the system's choice."""
    config = uvicorn.Config(app, port=0, log_level="error", ws="websockets-sansio", ws_max_size=131072, lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/graphql"
    finally:
        await server.shutdown()


async def ask(socket: ClientConnection, message: object) -> Any:
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    return json.loads(await socket.recv())


async def test_close_codes_reach_a_real_client(make_app: MakeApp, tokens: Any) -> None:
    token = tokens.expiring("short", after_s=0.3)
    async with served(make_app()) as url:
        async with connect(url, subprotocols=[PROTOCOL]) as socket:  # type: ignore[list-item]
            assert await ask(socket, {"type": "connection_init"}) == {"type": "connection_ack"}
            subscribed = {"type": "subscribe", "id": "1", "payload": {"query": "{"}}
            assert (await ask(socket, subscribed))["type"] == "error"
            with pytest.raises(ConnectionClosed) as caught:
                await ask(socket, "[]")
            assert caught.value.rcvd
            assert caught.value.rcvd.code == 4400
        async with connect(url, subprotocols=[PROTOCOL]) as socket:  # type: ignore[list-item]
            init = {"type": "connection_init", "payload": {"Authorization": token}}
            assert await ask(socket, init) == {"type": "connection_ack"}
            forever = {"type": "subscribe", "id": "1", "payload": {"query": "subscription { forever }"}}
            assert (await ask(socket, forever))["payload"] == {"data": {"forever": 1}}
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd
            assert caught.value.rcvd.code == 4403


async def test_message_that_is_too_large_is_closed_with_1009(make_app: MakeApp) -> None:
    async with served(make_app()) as url, connect(url, subprotocols=[PROTOCOL]) as socket:  # type: ignore[list-item]
        with pytest.raises(ConnectionClosed) as caught:
            await ask(socket, "x" * 200_000)

    assert caught.value.rcvd
    assert caught.value.rcvd.code == 1009
