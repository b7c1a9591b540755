"""What each scalar takes, what it does not, and how it is shown."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
import strawberry
from hypothesis import given
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig

from schema.documents import extensions
from schema.errors import Schema
from schema.scalars import (
    SCALAR_MAP,
    BigInt,
    InvalidScalar,
    parse_bigint,
    parse_datetime,
    parse_uuid,
    serialize_bigint,
    serialize_datetime,
)


@strawberry.type
class Query:
    @strawberry.field
    def moment(self, x: datetime) -> datetime:
        return x

    @strawberry.field
    def big(self, x: BigInt) -> BigInt:
        return x

    @strawberry.field
    def id(self, x: UUID) -> UUID:
        return x

    @strawberry.field
    def int(self, x: int) -> int:
        return x


schema = Schema(Query, extensions=extensions(), config=StrawberryConfig(scalar_map=SCALAR_MAP))


async def run(field: str, type_: str, value: object) -> Any:
    """The field's echo of a variable, or the code of the error."""
    result = await schema.execute(f"query ($x: {type_}!) {{ {field}(x: $x) }}", variable_values={"x": value})
    if result.errors:
        assert result.data is None
        return str((result.errors[0].extensions or {})["code"])
    return (result.data or {})[field]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:00.100000Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31T00:30:00+02:00", "2026-01-30T22:30:00Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00Z"),
        ("2028-02-29T23:59:59-14:00", "2028-03-01T13:59:59Z"),
    ],
)
async def test_datetime_is_shown_in_utc(text: str, shown: str) -> None:
    assert await run("moment", "DateTime", text) == shown


@pytest.mark.parametrize(
    "value",
    [
        *(
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00Z",
            "20260131T120000Z",
            "2026-W05-6T12:00:00Z",
        ),
        *(
            "2026-02-30T12:00:00Z",
            "2026-01-31T24:00:01Z",
            "2026-01-31T23:59:60Z",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00+24:00",
        ),
        *(
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "٢٠٢٦-01-31T12:00:00Z",
            " 2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00Z\n",
        ),
        *("", "now", 0, 1.5, True, [], {}),
    ],
)
async def test_datetime_without_offset_or_calendar_is_refused(value: object) -> None:
    assert await run("moment", "DateTime", value) == "BAD_USER_INPUT"


def test_datetime_without_a_zone_of_ours_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        serialize_datetime(datetime(2026, 1, 31))  # noqa: DTZ001 - the point of the test


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_datetime_survives_the_round_trip(moment: datetime, offset_min: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))

    shown = serialize_datetime(there)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", shown)
    assert parse_datetime(shown) == there
    assert parse_datetime(shown).tzinfo is UTC


@pytest.mark.parametrize("value", [0, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
async def test_bigint_takes_64_bits(value: int) -> None:
    assert await run("big", "BigInt", value) == value
    assert (await schema.execute(f"{{ big(x: {value}) }}")).data == {"big": value}


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, 1.0, 1e3, True, "1", "", [], {}])
async def test_bigint_takes_nothing_else(value: object) -> None:
    assert await run("big", "BigInt", value) == "BAD_USER_INPUT"


@pytest.mark.parametrize("literal", ["9223372036854775808", "1.0", "1e3", "true", '"1"', "[1]", "{a: 1}", "A"])
async def test_bigint_literals_are_as_strict(literal: str) -> None:
    result = await schema.execute(f"{{ big(x: {literal}) }}")

    assert result.errors
    assert (result.errors[0].extensions or {})["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert result.errors[0].locations


@pytest.mark.parametrize("value", [2**63, True, 1.0, "1"])
def test_bigint_of_ours_that_json_cannot_hold_is_a_mistake(value: Any) -> None:
    with pytest.raises(TypeError):
        serialize_bigint(value)


async def test_uuid_takes_its_usual_form_in_either_case() -> None:
    text = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"

    assert await run("id", "UUID", text) == text.lower()


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", 7, None, True, []),
        *(
            "urn:uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\n",
        ),
    ],
)
async def test_uuid_takes_no_other_form(value: object) -> None:
    assert await run("id", "UUID", value) == "BAD_USER_INPUT"


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.5, "1", True])
async def test_int_is_strict_as_it_is(value: object) -> None:
    assert await run("int", "Int", value) == "BAD_USER_INPUT"


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(), st.lists(st.integers())))
def test_parsers_raise_nothing_but_invalid_scalar(value: object) -> None:
    for parse in (parse_datetime, parse_bigint, parse_uuid):
        with suppress(InvalidScalar):
            parse(value)


def test_scalars_say_where_they_are_specified() -> None:
    sdl = schema.as_str()

    assert 'scalar DateTime @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")' in sdl
    assert 'scalar UUID @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc4122")' in sdl
    assert "scalar BigInt\n" in sdl
