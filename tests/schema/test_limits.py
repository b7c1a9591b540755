"""What one operation may ask for, and that finding out is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import strawberry
from graphql import get_introspection_query, parse
from starlette.testclient import TestClient

from schema import documents
from schema.documents import CheckedDocument, Documents, extensions
from schema.errors import Schema
from schema.limits import Limits, Ruler, Size, count_nodes


@strawberry.type
class Item:
    """A list of items has pages, and each item has lists."""

    @strawberry.field
    def items(self, first: int | None = None, last: int | None = None) -> list[Item]:
        return []

    @strawberry.field
    def plain(self) -> list[Item]:
        return []

    @strawberry.field
    def name(self, of: str = "") -> str:
        return of


@strawberry.type
class Query(Item):
    @strawberry.field
    def nodes(self, ids: list[strawberry.ID]) -> list[Item]:
        return []


def make_schema(limits: Limits | None = None) -> Schema:
    return Schema(Query, extensions=extensions(limits))


schema = make_schema()


async def errors(
    document: str, variables: dict[str, object] | None = None, limits: Limits | None = None
) -> list[dict[str, Any]]:
    result = await make_schema(limits).execute(document, variable_values=variables)
    return [dict(error.extensions or {}) for error in result.errors or []]


def size(document: str) -> Size:
    node = parse(document)
    return Ruler(node, schema._schema, Limits()).operation(node.definitions[0])  # type: ignore[arg-type]


def nodes(document: str, **variables: object) -> int:
    return count_nodes(size(document).pages, variables, Limits())


# ---------------------------------------------------------------- the document


SKIP = "@skip(if: false)"


@pytest.mark.parametrize(
    ("limit", "allowed", "refused"),
    [
        ("depth", "{ plain { plain { name } } }", "{ plain { plain { plain { name } } } }"),
        (
            "depth",
            "{ plain { ... { ...F } } } fragment F on Item { plain { name } }",
            "{ plain { ...F } } fragment F on Item { plain { ...G } } fragment G on Item { plain { name } }",
        ),
        ("aliases", "{ a: name b: name c: name }", "{ a: name b: name c: name d: name }"),
        (
            "aliases",
            "{ ...F } fragment F on Query { a: name b: name c: name }",
            "{ plain { ...F } b: plain { ...F } } fragment F on Item { a: name ...G } fragment G on Item { b: name }",
        ),
        (
            "rootFields",
            "{ name plain { name } ...F } fragment F on Query { items { name plain { name } } }",
            "{ name plain { name } ...F } fragment F on Query { name items { name } }",
        ),
        (
            "directives",
            f"query {SKIP} {{ name {SKIP} ... {SKIP} {{ name }} }}",
            f"{{ name {SKIP} ...F {SKIP} ...F }} fragment F on Query {{ name {SKIP} }}",
        ),
        ("fields", "{ name plain { name } }", "{ name plain { name name } }"),
    ],
)
async def test_each_limit_is_exact(limit: str, allowed: str, refused: str) -> None:
    names = {"rootFields": "root_fields"}
    limits = Limits(**{names.get(limit, limit): 3})

    assert "LIMIT_EXCEEDED" not in [each["code"] for each in await errors(allowed, limits=limits)]
    assert {"code": "LIMIT_EXCEEDED", "limit": limit, "maximum": 3} in await errors(refused, limits=limits)


async def test_introspection_of_tools_is_within_all_limits() -> None:
    document = get_introspection_query(
        specified_by_url=True, schema_description=True, input_value_deprecation=True, type_depth=9
    )

    assert await errors(document) == []


async def test_limits_come_before_validation() -> None:
    found = await errors("{ plain { " + " ".join(f"a{n}: nothing" for n in range(31)) + " } }")

    assert [each["code"] for each in found] == ["LIMIT_EXCEEDED"]


def test_fragments_that_double_are_measured_in_no_time() -> None:
    document = "{ plain { ...F0 } }" + "".join(
        f" fragment F{n} on Item {{ a: items(first: 2) {{ ...F{n + 1} }} b: items(first: 2) {{ ...F{n + 1} }} }}"
        for n in range(60)
    )

    started = time.perf_counter()
    measured = size(document + " fragment F60 on Item { name }")
    counted = count_nodes(measured.pages, {}, Limits())

    assert time.perf_counter() - started < 0.5  # a walk of each spread would take longer than the universe has lasted
    assert measured.aliases == 2**61 - 2
    assert measured.depth == 62
    assert counted == sum(4**n for n in range(1, 61))


async def test_huge_numbers_still_make_an_answer(make_app: Callable[..., Any]) -> None:
    document = "{ ...F0 }" + "".join(f" fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(100))
    document += " fragment F100 on Query { a: hello }"
    with TestClient(make_app()) as http:
        answer = http.post("/graphql", json={"query": document}).json()

    assert [each["extensions"]["limit"] for each in answer["errors"]] == ["aliases", "rootFields", "fields"]


@pytest.mark.parametrize(
    "document",
    [
        "{ ...F } fragment F on Query { ...F }",
        "{ ...F } fragment F on Query { a: name ...G } fragment G on Query { b: name ...F }",
        "{ ...Nothing }",
        "{ ...F } fragment F on Nothing { name }",
        "{ nothing { name } }",
        "{ name { name } }",
        "{ plain }",
        "{ a {} }",
        "mutation { a }",
    ],
)
async def test_documents_that_make_no_sense_are_left_to_validation(document: str) -> None:
    assert {each["code"] for each in await errors(document)} <= {"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"}
    assert await errors(document)


@pytest.mark.parametrize("length", [200, 245])
async def test_long_chain_of_fragments_is_refused_and_not_a_failure(length: int) -> None:
    chain = "".join(f" fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(length))

    found = await errors("{ ...F0 }" + chain + f" fragment F{length} on Query {{ name }}")

    assert [each["code"] for each in found] in (["LIMIT_EXCEEDED"], ["GRAPHQL_VALIDATION_FAILED"])


# ---------------------------------------------------------------- nodes


@pytest.mark.parametrize(
    ("document", "variables", "expected"),
    [
        ("{ name plain { name } }", {}, 0),
        ("{ items { name } }", {}, 25),
        ("{ items(first: 10) { name } }", {}, 10),
        ("{ items(last: 10) { name } }", {}, 10),
        ("{ items(first: 1, last: 10) { name } }", {}, 10),
        ("{ items(first: 0) { items { name } } }", {}, 0),
        ("{ items(first: -9) { name } }", {}, 0),
        ("{ items(first: null) { name } }", {}, 25),
        ("{ items(first: 99999999999999999999) { name } }", {}, 100),
        ("{ items(first: 10) { items(first: 5) { name } } }", {}, 60),
        ("{ items(first: 10) { plain { items(first: 5) { name } } } }", {}, 60),
        ("{ a: items(first: 10) { name } b: items(first: 10) { name } }", {}, 20),
        ("query ($n: Int) { items(first: $n) { name } }", {}, 25),
        ("query ($n: Int) { items(first: $n) { name } }", {"n": None}, 25),
        ("query ($n: Int) { items(first: $n) { name } }", {"n": 40}, 40),
        ("query ($n: Int) { items(first: $n) { name } }", {"n": 40.0}, 40),
        ("query ($n: Int) { items(first: $n) { name } }", {"n": 10**30}, 100),
        ("query ($n: Int) { items(first: $n) { name } }", {"n": "40"}, 25),
        ('{ nodes(ids: ["a", "b", "c"]) { items(first: 10) { name } } }', {}, 33),
        ("query ($i: [ID!]!) { nodes(ids: $i) { items(first: 10) { name } } }", {"i": ["a"] * 200}, 2200),
        ("{ ...F ...F } fragment F on Query { items(first: 3) { ...G ...G } } fragment G on Item { items(first: 2) { name } }", {}, 30),
    ],
)  # fmt: skip
def test_nodes_are_counted_by_pages(document: str, variables: dict[str, object], expected: int) -> None:
    assert nodes(document, **variables) == expected


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("query ($n: Int) { items(first: $n) { items(first: $n) { name } } }", {"n": 100}),
        ("query ($n: Int = 100) { items(first: $n) { items(first: $n) { name } } }", {}),
        ("{ items(first: 100) { items(first: 100) { name } } }", {}),
    ],
)
async def test_too_many_nodes_are_refused(document: str, variables: dict[str, object]) -> None:
    assert await errors(document, variables) == [{"code": "COST_LIMIT_EXCEEDED", "limit": "nodes", "maximum": 10_000}]
    assert await errors(document, variables, Limits(nodes=10_100)) == []


async def test_cost_follows_the_variables_of_each_request() -> None:
    shared = make_schema()
    document = "query ($n: Int = 1) { items(first: $n) { items(first: $n) { name } } }"

    results = [await shared.execute(document, variable_values=each) for each in ({"n": 5}, {"n": 100}, {}, {"n": 100})]

    assert [bool(result.errors) for result in results] == [False, True, False, True]


# ---------------------------------------------------------------- the store


async def test_document_is_parsed_and_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    validate = documents.validate_document
    monkeypatch.setattr(documents, "validate_document", lambda *given: calls.append("validate") or validate(*given))
    shared = make_schema()

    for _ in range(3):
        assert (await shared.execute("{ name }")).data == {"name": ""}
        assert (await shared.execute("{ nothing }")).errors

    assert calls == ["validate", "validate"]


def test_store_forgets_the_oldest_documents() -> None:
    store = Documents(Limits(remembered_chars=30))
    first = store.read("{ name }", schema._schema)

    assert store.read("{ name }", schema._schema) is first
    store.read("{ plain { name } }", schema._schema)
    assert store.read("{ name }", schema._schema) is first
    store.read("{ items { name } }", schema._schema)
    store.read("{ nodes { name } }", schema._schema)
    assert store.read("{ name }", schema._schema) is not first
    assert store._chars == sum(map(len, store._remembered)) <= 30


async def test_errors_of_a_remembered_document_are_not_changed_by_answers() -> None:
    shared = make_schema(Limits())

    first, second = [await shared.execute("{ nothing }") for _ in range(2)]

    assert [each.formatted for each in first.errors or []] == [each.formatted for each in second.errors or []]


def test_each_schema_has_its_own_store() -> None:
    stores = [extensions()[0]() for _ in range(2)]

    assert all(isinstance(each, CheckedDocument) for each in stores)
    assert stores[0].documents is not stores[1].documents  # type: ignore[attr-defined]


# ---------------------------------------------------------------- texts that no database can keep


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udfff"])
@pytest.mark.parametrize(
    ("document", "wrap"),
    [
        ("query ($x: String!) { name(of: $x) }", lambda text: {"x": text}),
        ("query ($x: [ID!]!) { nodes(ids: $x) { name } }", lambda text: {"x": ["a", text]}),
        ("{ name }", lambda text: {"unused": {"deep": [{"er": text}]}}),
        ("{ name }", lambda text: {"unused": {text: 1}}),
    ],
)
async def test_text_in_variables_is_refused(document: str, wrap: Callable[[str], dict[str, object]], text: str) -> None:
    assert await errors(document, wrap(text)) == [{"code": "BAD_USER_INPUT"}]


@pytest.mark.parametrize(
    "document",
    [
        '{ name(of: "a\\u0000b") }',
        '{ name(of: "\\u{0}") }',
        '{ name(of: "a\0b") }',
        '{ name(of: """a\0b""") }',
        '{ nodes(ids: ["a", "\\u0000"]) { name } }',
        '{ plain { ...F } } fragment F on Item { name(of: "\\u0000") }',
        'query ($x: String = "\\u0000") { name(of: $x) }',
    ],
)
async def test_text_in_the_document_is_refused(document: str) -> None:
    result = await schema.execute(document)

    assert result.data is None
    assert [(each.extensions or {})["code"] for each in result.errors or []] == ["BAD_USER_INPUT"]
    assert (result.errors or [])[0].locations


@pytest.mark.parametrize("document", ['{ name(of: "\\ud800") }', '{ name(of: "\\u{d800}") }', '{ name(of: "\ud800") }'])
async def test_half_a_surrogate_pair_in_the_document_is_a_syntax_error(document: str) -> None:
    assert [each["code"] for each in await errors(document)] == ["GRAPHQL_PARSE_FAILED"]


async def test_every_other_text_is_let_through() -> None:
    text = "\x01\t\n é 漢 😀 \uffff"

    result = await schema.execute("query ($x: String!) { name(of: $x) }", variable_values={"x": text})

    assert result.data == {"name": text}
    assert (await schema.execute('{ name(of: "\\ud83d\\ude00 \\u{1F600}") }')).data == {"name": "😀 😀"}


def test_text_is_refused_over_http_too(http: TestClient) -> None:
    by_variable = http.post(
        "/graphql",
        json={"query": "query ($x: Outer) { echo(outer: $x) }", "variables": {"x": {"inner": {"texts": ["\0"]}}}},
    )
    by_literal = http.post("/graphql", json={"query": '{ echo(id: "\0") }'})

    for response in (by_variable, by_literal):
        assert response.status_code == 400
        assert [each["extensions"]["code"] for each in response.json()["errors"]] == ["BAD_USER_INPUT"]
