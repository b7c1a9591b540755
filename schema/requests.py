"""What a client may send, whatever carries it: parameters, media types, request ids, and proof of not being a foreign page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection

from schema.errors import RequestCode

GRAPHQL, JSON, HTML = "application/graphql-response+json", "application/json", "text/html"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # it is written to logs and headers
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")  # RFC 9110 section 12.4.2
_PREFLIGHT_HEADERS = ("graphql-require-preflight", "apollo-require-preflight", "x-requested-with")


class Refused(Exception):
    """A request that does not get as far as GraphQL."""

    def __init__(self, code: RequestCode, message: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with the answer, where HTTP wants some: Allow, WWW-Authenticate."""
        super().__init__(message)
        self.code, self.message, self.headers = code, message, headers or {}


@dataclass(frozen=True, slots=True)
class Parameters:
    """A GraphQL request."""

    query: str
    operation_name: str | None
    variables: dict[str, object] | None
    extensions: dict[str, object] | None


def parameters(data: object) -> Parameters:
    """The request in a JSON value.

    Raises: Refused: it is no object, or a parameter is missing or of the wrong type.
    """
    if isinstance(data, list):
        raise Refused(RequestCode.BAD_REQUEST, "Batches are not supported: send one object per request.")
    if not isinstance(data, dict):
        raise Refused(RequestCode.BAD_REQUEST, "A request must be a JSON object.")
    query, operation_name = data.get("query"), data.get("operationName")
    if not isinstance(query, str) or not query:
        raise Refused(RequestCode.BAD_REQUEST, "`query` must be a text, and not empty.")
    if not isinstance(operation_name, (str, type(None))):
        raise Refused(RequestCode.BAD_REQUEST, "`operationName` must be a text or null.")
    variables, extensions = _object_or_null(data, "variables"), _object_or_null(data, "extensions")
    return Parameters(query, operation_name or None, variables, extensions)


def _object_or_null(data: dict[str, object], name: str) -> dict[str, object] | None:
    value = data.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise Refused(RequestCode.BAD_REQUEST, f"`{name}` must be an object or null.")


def parameters_in_url(query: QueryParams) -> Parameters:
    """The request in a URL, where variables and extensions are JSON texts.

    Raises: Refused: a parameter is missing, of the wrong type, or no JSON.
    """
    data: dict[str, object] = dict(query)
    for name in ("variables", "extensions"):
        text = query.get(name)
        data[name] = parse_json(text.encode(), f"`{name}`") if text else None
    return parameters(data)


def parse_json(text: bytes, what: str) -> object:
    """A JSON value; `what` names it in the refusal.

    Raises: Refused: it is no JSON, no UTF-8, or nested more than 1024 levels deep.
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Refused(RequestCode.BAD_REQUEST, f"{what} is not JSON in UTF-8.") from None
    return value


def negotiate(accept: str, *, may_be_html: bool) -> str | None:
    """The media type to answer in; None when the client accepts none that there is.

    A client that names no GraphQL type gets application/json: it may be older than the other one, or curl.
    """
    given: dict[str, float] = {}
    for entry in accept.split(","):
        name, *attributes = (part.strip().lower() for part in entry.split(";"))
        quality = next((each[2:].strip() for each in attributes if each.startswith("q=")), "1")
        given[name] = float(quality) if _QUALITY.fullmatch(quality) else 0.0
    if given.keys() == {""}:
        return JSON
    anything = given.get("*/*", 0.0)
    offers = {
        GRAPHQL: given.get(GRAPHQL, 0.0),
        JSON: given.get(JSON, given.get("application/*", anything)),
        HTML: given.get(HTML, 0.0) if may_be_html else 0.0,
    }
    best = max(offers, key=lambda offer: offers[offer])  # the first of equals
    return best if offers[best] > 0 else None


def accepts_json_body(content_type: str) -> bool:
    """Whether a body's type is JSON in UTF-8; other types can be sent by a form on any page, without asking first."""
    name, *attributes = (part.strip().lower() for part in content_type.split(";"))
    charset = next(
        (each.removeprefix("charset=").strip('"') for each in attributes if each.startswith("charset=")), "utf-8"
    )
    return name == JSON and charset in {"utf-8", "utf8"}


def has_preflight_header(headers: Headers) -> bool:
    """Whether a browser would have asked this server before letting another site's page send the request."""
    return any(name in headers for name in _PREFLIGHT_HEADERS)


def request_id(headers: Headers) -> str:
    """The id that the client or a proxy gave the request, or else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def base_url(connection: HTTPConnection, public_url: str | None = None) -> str:
    """How the sender of a request reaches the service, without a slash at its end."""
    given = public_url or str(connection.base_url)
    return re.sub(r"^ws", "http", given).rstrip("/")


def new_request_id() -> str:
    """An id for an operation that came without one."""
    return uuid4().hex
