"""GraphQL over HTTP: statuses, media types, codes, and what never reaches GraphQL."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import orjson
import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app.enums import ErrorCode
from schema.errors import UserError
from schema.limits import Limits
from schema.view import STATUS, Doorway

GRAPHQL, JSON = "application/graphql-response+json; charset=utf-8", "application/json; charset=utf-8"
PREFLIGHT = {"GraphQL-Require-Preflight": "1"}


def post(http: TestClient, query: object, accept: str | None = None, **more: object) -> Response:
    headers = {} if accept is None else {"Accept": accept}
    return http.post(
        "/graphql",
        content=orjson.dumps({"query": query, **more}),
        headers=headers | {"Content-Type": "application/json"},
    )


def error(response: Response) -> dict[str, Any]:
    """The only error, checked to be one."""
    (found,) = response.json()["errors"]
    assert isinstance(found["message"], str)
    assert found["message"]
    result: dict[str, Any] = found
    return result


def code(response: Response) -> str:
    return str(error(response)["extensions"]["code"])


# ---------------------------------------------------------------- media types


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/graphql-response+json", GRAPHQL),
        ("application/json", JSON),
        ("application/json; charset=utf-8", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("", JSON),
        ("application/graphql-response+json, application/json;q=0.9", GRAPHQL),
        ("application/json, application/graphql-response+json", GRAPHQL),
        ("application/graphql-response+json;q=0.5, application/json", JSON),
        ("application/graphql-response+json;q=0, */*", JSON),
        ("application/graphql-response+json;q=nan, application/json;q=0.1", JSON),
        ("application/json, text/event-stream, multipart/mixed", JSON),
        ("text/html, */*;q=0.8", JSON),
        ("APPLICATION/GRAPHQL-RESPONSE+JSON", GRAPHQL),
    ],
)
def test_answer_has_the_accepted_media_type(http: TestClient, accept: str, media: str) -> None:
    response = post(http, "{ hello }", accept=accept)

    assert response.status_code == 200
    assert response.headers["content-type"] == media
    assert response.json() == {"data": {"hello": "hello world"}}


def test_several_accept_headers_count_as_one(http: TestClient) -> None:
    del http.headers["Accept"]
    headers = [
        ("Accept", "text/plain"),
        ("Accept", "application/graphql-response+json"),
        ("Content-Type", "application/json"),
    ]

    response = http.post("/graphql", content=b'{"query":"{hello}"}', headers=headers)

    assert (response.status_code, response.headers["content-type"]) == (200, GRAPHQL)


@pytest.mark.parametrize("accept", ["text/plain", "application/json;q=0", "text/event-stream", "text/html", "image/*"])
def test_media_type_that_there_is_not_is_406(http: TestClient, accept: str) -> None:
    response = post(http, "{ hello }", accept=accept)

    assert (response.status_code, response.headers["content-type"], code(response)) == (406, JSON, "NOT_ACCEPTABLE")


# ---------------------------------------------------------------- request errors

PARSE = "GRAPHQL_PARSE_FAILED"
VALIDATION = "GRAPHQL_VALIDATION_FAILED"
OPERATION = "OPERATION_RESOLUTION_FAILURE"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"query": "{"}, PARSE),
        ({"query": "{ hello " + "# no\n" * 201 + "}"}, PARSE),
        ({"query": "{" + " hello" * 2000 + "}"}, PARSE),
        ({"query": "{ hello }" + " " * 70_000}, PARSE),
        ({"query": "{ a" * 300 + "}" * 300}, PARSE),
        ({"query": "{ nothing }"}, VALIDATION),
        ({"query": "query ($x: Nothing) { hello }"}, VALIDATION),
        ({"query": "{ big(x: 1.5) }"}, VALIDATION),
        ({"query": "{ echo(outer: {inner: {texts: []}, maybe: null}) }"}, VALIDATION),
        ({"query": "query A { hello } query B { hello }"}, OPERATION),
        ({"query": "query A { hello }", "operationName": "C"}, OPERATION),
        ({"query": "fragment F on Query { hello }"}, OPERATION),
        ({"query": "query ($x: String!) { hello(name: $x) }"}, "BAD_USER_INPUT"),
        ({"query": "query ($x: BigInt!) { big(x: $x) }", "variables": {"x": "1"}}, "BAD_USER_INPUT"),
        ({"query": "query ($x: Outer) { echo(outer: $x) }", "variables": {"x": {"inner": {}}}}, "BAD_USER_INPUT"),
    ],
)
def test_request_error_is_400_or_200_by_media_type(
    http: TestClient, request_: dict[str, object], expected: str
) -> None:
    for accept, status, media in (("application/graphql-response+json", 400, GRAPHQL), ("application/json", 200, JSON)):
        response = http.post("/graphql", json=request_, headers={"Accept": accept})

        assert (response.status_code, response.headers["content-type"]) == (status, media)
        assert {each["extensions"]["code"] for each in response.json()["errors"]} == {expected}
        assert "data" not in response.json()


def test_every_code_of_requests_that_is_not_about_execution_has_a_status() -> None:
    assert all(400 <= status.graphql < 600 for status in STATUS.values())
    assert {name for name, status in STATUS.items() if status.json == 200} == {
        *(PARSE, VALIDATION, OPERATION, "BAD_USER_INPUT", "LIMIT_EXCEEDED", "COST_LIMIT_EXCEEDED", "TIMED_OUT"),
    }


def test_several_operations_need_a_name(http: TestClient) -> None:
    document = "query A { hello } query B { big(x: 7) }"

    assert post(http, document, operationName="B").json() == {"data": {"big": 7}}
    assert post(http, document, operationName="A").json() == {"data": {"hello": "hello world"}}
    assert code(post(http, document, operationName="")) == OPERATION
    assert code(post(http, document, operationName=None)) == OPERATION


def test_null_for_a_field_that_may_only_be_left_out_is_explained_in_graphqls_words(http: TestClient) -> None:
    by_variable = post(
        http, "query ($x: Outer) { echo(outer: $x) }", variables={"x": {"inner": {"texts": []}, "maybe": None}}
    )
    by_literal = post(http, "{ echo(outer: {inner: {texts: []}, maybe: null}) }")

    assert code(by_variable) == "BAD_USER_INPUT"
    for response in (by_variable, by_literal):
        assert "leave it out" in error(response)["message"]
        assert "Maybe" not in error(response)["message"]


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b'"x"',
            b"null",
            b"1",
            b"[]",
            b'[{"query":"{hello}"}]',
            b"\xff\xfe",
            b'{"query":"\\ud800"}',
            b"NaN",
        ),
        *(b"[" * 100_000, b"{}", b'{"query":null}', b'{"query":""}', b'{"query":1}', b'{"query":["{hello}"]}'),
        *(
            b'{"query":"{hello}","variables":[]}',
            b'{"query":"{hello}","variables":"{}"}',
            b'{"query":"{hello}","variables":0}',
        ),
        *(
            b'{"query":"{hello}","extensions":[]}',
            b'{"query":"{hello}","operationName":1}',
            b'{"query":"{hello}","operationName":{}}',
        ),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
def test_body_that_is_no_request_is_400(http: TestClient, body: bytes, accept: str) -> None:
    headers = {"Content-Type": "application/json", "Accept": accept}

    response = http.post("/graphql", content=body, headers=headers)

    assert (response.status_code, response.headers["content-type"], code(response)) == (400, JSON, "BAD_REQUEST")
    assert "data" not in response.json()


def test_number_of_ten_thousand_digits_is_refused(http: TestClient) -> None:
    query = "query ($x: BigInt!) { big(x: $x) }"
    body = json.dumps({"query": query, "variables": {"x": 0}}).replace('"x": 0', '"x": ' + "9" * 10_000)

    response = http.post("/graphql", content=body, headers={"Content-Type": "application/json"})

    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("parameter", ["variables", "extensions", "operationName"])
def test_null_parameters_are_as_good_as_none(http: TestClient, parameter: str) -> None:
    assert post(http, "{ hello }", **{parameter: None}).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        *(
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/graphql",
            "multipart/form-data; boundary=x",
            "",
        ),
        *("application/json; charset=utf-16", "application/jsonp", "text/plain; application/json"),
    ],
)
def test_other_content_types_are_415(http: TestClient, content_type: str) -> None:
    response = http.post("/graphql", content=b'{"query":"{hello}"}', headers={"Content-Type": content_type} | PREFLIGHT)

    assert (response.status_code, response.headers["content-type"]) == (415, JSON)
    assert code(response) == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'])
def test_json_is_accepted_however_it_is_written(http: TestClient, content_type: str) -> None:
    response = http.post("/graphql", content=b'{"query":"{hello}"}', headers={"Content-Type": content_type})

    assert response.status_code == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_that_is_too_large_is_413(make_app: Any, is_chunked: bool) -> None:
    body = b'{"query":"{hello}","x":"' + b"x" * 100 + b'"}'
    headers = {"Content-Type": "application/json"}
    with TestClient(make_app(doorway=Doorway(body_bytes=len(body) - 1))) as http:
        response = http.post("/graphql", content=iter([body[:50], body[50:]]) if is_chunked else body, headers=headers)

        assert (response.status_code, response.headers["content-type"]) == (413, JSON)
        assert code(response) == "PAYLOAD_TOO_LARGE"
    with TestClient(make_app(doorway=Doorway(body_bytes=len(body)))) as http:
        assert http.post("/graphql", content=body, headers=headers).status_code == 200


def test_lower_limit_of_the_application_has_the_same_answer(make_app: Any) -> None:
    body = b'{"query":"{hello}"}'
    with TestClient(RequestBodyLimitMiddleware(make_app(), max_body_size=len(body) - 1)) as http:
        # With a Content-Length the middleware answers by itself, in plain text.
        response = http.post(
            "/graphql", content=iter([body[:5], body[5:]]), headers={"Content-Type": "application/json"}
        )

    assert (response.status_code, response.headers["content-type"]) == (413, JSON)
    assert code(response) == "PAYLOAD_TOO_LARGE"


# ---------------------------------------------------------------- GET and other methods


def get(http: TestClient, headers: dict[str, str] | None = None, **parameters: str) -> Response:
    return http.get("/graphql", params=parameters, headers=PREFLIGHT if headers is None else headers)


def test_get_runs_queries(http: TestClient) -> None:
    response = get(
        http,
        query="query A($x: String!) { hello(name: $x) }",
        variables='{"x":"you"}',
        operationName="A",
        extensions="",
    )

    assert (response.status_code, response.headers["content-type"]) == (200, GRAPHQL)
    assert response.json() == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize("header", ["GraphQL-Require-Preflight", "Apollo-Require-Preflight", "X-Requested-With"])
def test_get_takes_each_preflight_header(http: TestClient, header: str) -> None:
    assert get(http, headers={header: "x"}, query="{ hello }").status_code == 200


def test_get_without_a_preflight_header_is_refused(http: TestClient) -> None:
    response = get(http, headers={}, query="{ hello }")

    assert (response.status_code, response.headers["content-type"], code(response)) == (400, JSON, "BAD_REQUEST")


def test_get_from_another_site_is_refused(http: TestClient) -> None:
    response = get(http, headers=PREFLIGHT | {"Sec-Fetch-Site": "cross-site"}, query="{ hello }")

    assert (response.status_code, code(response)) == (403, "FORBIDDEN")
    assert get(http, headers=PREFLIGHT | {"Sec-Fetch-Site": "same-origin"}, query="{ hello }").status_code == 200


@pytest.mark.parametrize(
    "document", ['mutation { rename(name: "x") { name } }', "mutation A { slow } query B { hello }"]
)
def test_get_refuses_mutations(http: TestClient, document: str) -> None:
    response = get(http, query=document)

    assert (response.status_code, response.headers["allow"], code(response)) == (405, "POST", "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "parameters", [{}, {"query": ""}, {"query": "{hello}", "variables": "{"}, {"query": "{hello}", "extensions": "1"}]
)
def test_get_with_wrong_parameters_is_400(http: TestClient, parameters: dict[str, str]) -> None:
    response = get(http, **parameters)

    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_405(http: TestClient, method: str) -> None:
    response = http.request(method, "/graphql")

    assert (response.status_code, response.headers["allow"], code(response)) == (405, "GET, POST", "METHOD_NOT_ALLOWED")
    assert http.head("/graphql").status_code == 405


@pytest.mark.parametrize("is_get", [False, True])
def test_subscription_over_http_is_400(http: TestClient, is_get: bool) -> None:
    response = get(http, query="subscription { count }") if is_get else post(http, "subscription { count }")

    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")
    assert "WebSocket" in error(response)["message"]


# ---------------------------------------------------------------- the browser's page


@pytest.mark.parametrize("query", ["", "?query={hello}"])
def test_browser_gets_the_page(http: TestClient, query: str) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

    response = http.get(f"/graphql{query}", headers={"Accept": accept, "Sec-Fetch-Site": "cross-site"})

    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"] == "default-src 'self'"
    assert response.content == b"<!doctype html><title>playground</title>"


def test_curl_does_not_get_the_page(http: TestClient) -> None:
    response = http.get("/graphql", headers={"Accept": "*/*"})

    assert (response.status_code, response.headers["content-type"]) == (400, JSON)


# ---------------------------------------------------------------- who is calling


def test_token_says_who_is_calling(http: TestClient) -> None:
    assert post(http, "{ who }").json() == {"data": {"who": None}}

    http.headers["Authorization"] = "Bearer good"

    assert post(http, "{ who }").json() == {"data": {"who": "good"}}


@pytest.mark.parametrize("authorization", ["Bearer bad", "Basic Z29vZDo=", ""])
def test_token_that_is_not_good_is_401(http: TestClient, authorization: str) -> None:
    http.headers["Authorization"] = authorization

    response = post(http, "{ hello }")

    assert (response.status_code, response.headers["content-type"], code(response)) == (401, JSON, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_introspection_needs_no_token(http: TestClient) -> None:
    assert post(http, "{ __schema { queryType { name } } }").json() == {
        "data": {"__schema": {"queryType": {"name": "Query"}}}
    }


def test_field_that_needs_a_token_fails_alone(http: TestClient) -> None:
    response = post(http, "{ hello private }")

    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello world", "private": None}
    assert (code(response), error(response)["path"]) == ("UNAUTHENTICATED", ["private"])


# ---------------------------------------------------------------- headers


def test_every_answer_has_the_headers(http: TestClient) -> None:
    for response in (
        post(http, "{ hello }"),
        post(http, "{"),
        http.put("/graphql"),
        http.get("/graphql", headers={"Accept": "text/html"}),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["vary"] == "Accept"
        assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_request_id_is_echoed(http: TestClient, given: str) -> None:
    http.headers["X-Request-Id"] = given

    assert post(http, "{ hello }").headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "<script>"])
def test_odd_request_id_is_replaced(http: TestClient, given: str) -> None:
    http.headers["X-Request-Id"] = given

    assert re.fullmatch("[0-9a-f]{32}", post(http, "{ hello }").headers["x-request-id"])


# ---------------------------------------------------------------- errors of fields


def test_refusal_keeps_its_code_field_and_message(http: TestClient) -> None:
    with capture_logs() as logs:
        response = post(http, "{ hello missing }")

    assert (response.status_code, response.headers["content-type"]) == (200, GRAPHQL)
    assert response.json()["data"] == {"hello": "hello world", "missing": None}
    assert error(response) == {
        "message": "There is no such image.",
        "locations": [{"line": 1, "column": 9}],
        "path": ["missing"],
        "extensions": {"code": "NOT_FOUND", "field": ["input", "imageIds", "2"], "otcCode": "IMG.0027"},
    }
    (entry,) = logs
    assert (entry["log_level"], entry["code"], entry["path"]) == ("info", "NOT_FOUND", "missing")
    assert "exc_info" not in entry


@pytest.mark.parametrize("field", ["broken", "tooBig"])
def test_failure_is_masked_and_logged_under_its_request_id(http: TestClient, field: str) -> None:
    http.headers["X-Request-Id"] = "r1"
    with capture_logs() as logs:
        response = post(http, f"{{ {field} }}")

    assert response.status_code == 200
    assert response.json()["data"] == {field: None}
    assert error(response)["message"] == "Something went wrong."
    assert error(response)["extensions"] == {"code": "INTERNAL", "requestId": "r1"}
    assert "hunter2" not in response.text
    (entry,) = logs
    assert (entry["log_level"], entry["request_id"], entry["path"]) == ("error", "r1", field)
    assert isinstance(entry["exc_info"], Exception)


def test_at_most_twenty_errors_are_reported(http: TestClient) -> None:
    response = post(http, "{ allBroken { it } }")

    assert len(response.json()["data"]["allBroken"]) == 30
    assert len(response.json()["errors"]) == 20


def test_failure_outside_of_graphql_is_500(http: TestClient) -> None:
    with capture_logs() as logs:
        response = http.post(
            "/graphql", json={"query": "{hello}"}, headers={"Authorization": "Bearer failing", "X-Request-Id": "r1"}
        )

    assert (response.status_code, response.headers["content-type"]) == (500, JSON)
    assert error(response) == {
        "message": "Something went wrong.",
        "extensions": {"code": "INTERNAL", "requestId": "r1"},
    }
    assert [entry["event"] for entry in logs] == ["request failed"]


# ---------------------------------------------------------------- mutations that are refused


def test_refused_mutation_answers_with_user_errors(http: TestClient) -> None:
    mutation = "mutation ($n: String!) { rename(name: $n) { name userErrors { code otcCode field message } } }"

    done = post(http, mutation, variables={"n": "new"})
    refused = post(http, mutation, variables={"n": "taken"})

    assert done.json() == {"data": {"rename": {"name": "new", "userErrors": []}}}
    assert refused.json() == {
        "data": {
            "rename": {
                "name": None,
                "userErrors": [
                    {"code": "NOT_FOUND", "otcCode": "IMG.0001", "field": ["input", "newName"], "message": "No."}
                ],
            }
        }
    }


@pytest.mark.parametrize(
    ("name", "expected"), [("stranger", "UNAUTHENTICATED"), ("cursor", "INVALID_CURSOR"), ("bug", "INTERNAL")]
)
def test_what_is_no_refusal_of_the_input_stays_a_top_level_error(http: TestClient, name: str, expected: str) -> None:
    response = post(http, "mutation ($n: String!) { rename(name: $n) { name } }", variables={"n": name})

    assert (response.status_code, code(response)) == (200, expected)
    assert response.json()["data"] == {"rename": None}


def test_every_error_code_is_described() -> None:
    values = vars(ErrorCode)["__strawberry_definition__"].values

    assert [value.name for value in values if not value.description] == []
    assert UserError.__strawberry_definition__.name == "UserError"


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(("accept", "status"), [("application/graphql-response+json", 503), ("application/json", 200)])
@pytest.mark.parametrize("operation", ["{ slow hello }", "mutation { slow }"])
def test_operation_that_takes_too_long_is_stopped(make_app: Any, operation: str, accept: str, status: int) -> None:
    with TestClient(make_app(Limits(time_s=0.05))) as http:
        response = post(http, operation, accept=accept)

    assert (response.status_code, code(response)) == (status, "TIMED_OUT")
    assert response.json()["data"] is None
    assert "path" not in error(response)


async def test_one_operation_out_of_time_leaves_the_others_alone(make_app: Any) -> None:
    transport = ASGITransport(make_app(Limits(time_s=0.2)))
    async with AsyncClient(transport=transport, base_url="http://test") as http:
        queries = ["{ slow }", *[f'{{ hello(name: "{n}") }}' for n in range(20)], "{ slow }"]

        answers = await asyncio.gather(*[http.post("/graphql", json={"query": query}) for query in queries])

    assert [code(answer) for answer in (answers[0], answers[-1])] == ["TIMED_OUT", "TIMED_OUT"]
    assert [answer.json()["data"]["hello"] for answer in answers[1:-1]] == [f"hello {n}" for n in range(20)]
