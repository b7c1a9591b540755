"""Where exceptions become GraphQL errors, once, for every transport.

A refusal (ServiceError) keeps its message, code, field and otcCode. What GraphQL itself refuses gets one of Apollo's codes, which
clients and fuzzers know. Anything else is masked as INTERNAL, and logged with its traceback under the request id that the client sees.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

import strawberry
import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema._graphql_core import ResultType
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.utils.str_converters import to_camel_case

from app.enums import ErrorCode
from app.errors import InvalidCursor, ServiceError, Unauthenticated
from schema.scalars import InvalidScalar

MAX_ERRORS = 20
"""Errors reported per result. A list of 100 with one failing field each would otherwise say the same 100 times."""

MASKED = "Something went wrong."

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class RequestCode(StrEnum):
    """Codes of what is wrong with a request as a whole; Apollo's names where Apollo has one."""

    BAD_REQUEST = "BAD_REQUEST"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    OPERATION_RESOLUTION_FAILURE = "OPERATION_RESOLUTION_FAILURE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    COST_LIMIT_EXCEEDED = "COST_LIMIT_EXCEEDED"
    TIMED_OUT = "TIMED_OUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    INTERNAL = "INTERNAL"


def refusal(code: RequestCode, message: str, **extensions: object) -> GraphQLError:
    """An error about the request as a whole; its message reaches the client as it is."""
    return GraphQLError(message, extensions={"code": code, **extensions})


def graphql_field(field: Iterable[str]) -> list[str]:
    """A ServiceError's path of Python names as the client wrote it: ("input", "flavor_id") is ["input", "flavorId"]."""
    return [to_camel_case(name) for name in field]


def to_graphql(error: ServiceError) -> GraphQLError:
    """A refusal as a top-level error."""
    extensions: dict[str, object] = {"code": str(error.code)}
    if error.field is not None:
        extensions["field"] = graphql_field(error.field)
    if error.otc is not None:
        extensions["otcCode"] = error.otc
    return GraphQLError(error.message, original_error=error, extensions=extensions)


def present(errors: Sequence[GraphQLError], request_id: str | None) -> list[GraphQLError]:
    """The errors as the client may see them, at most MAX_ERRORS; each is logged here and nowhere else."""
    return [_presented(error, request_id) for error in errors[:MAX_ERRORS]]


def _presented(error: GraphQLError, request_id: str | None) -> GraphQLError:
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    path = None if error.path is None else ".".join(map(str, error.path))
    if isinstance(cause, ServiceError):
        log.info("operation refused", code=str(cause.code), path=path, request_id=request_id)
        shown = to_graphql(cause)
        return _at(error, shown.message, shown.extensions or {})
    code, message = _own(error, cause)
    if code is None:
        log.error("operation failed", path=path, request_id=request_id, exc_info=cause or error)
        masked: dict[str, object] = {"code": RequestCode.INTERNAL}
        return _at(error, MASKED, masked if request_id is None else masked | {"requestId": request_id})
    log.info("operation refused", code=code, path=path, request_id=request_id)
    return _at(error, message, {**(error.extensions or {}), "code": code})


def _at(error: GraphQLError, message: str, extensions: Mapping[str, object]) -> GraphQLError:
    """Another error at the same place. Errors are never changed: those of cached documents are shared between requests."""
    return GraphQLError(
        message,
        error.nodes,
        error.source,
        error.positions,
        error.path,
        error.original_error,
        extensions=dict(extensions),
    )


def _own(error: GraphQLError, cause: BaseException | None) -> tuple[str | None, str]:
    """The code and message of what GraphQL itself refused; code None for what it did not refuse but failed with."""
    code: str | None = (error.extensions or {}).get("code")
    if code is not None:
        return code, _without_python(error.message)
    if isinstance(error, GraphQLSyntaxError):
        return RequestCode.GRAPHQL_PARSE_FAILED, error.message
    if isinstance(cause, MissingQueryError):
        return RequestCode.BAD_REQUEST, "The request has no query."
    if isinstance(cause, RecursionError) and error.path is None:
        return RequestCode.LIMIT_EXCEEDED, "The document is nested too deeply."
    if isinstance(cause, (CannotGetOperationTypeError, InvalidOperationTypeError)):
        return RequestCode.OPERATION_RESOLUTION_FAILURE, error.message
    return (RequestCode.BAD_USER_INPUT if _is_input(error, cause) else None), _without_python(error.message)


def _is_input(error: GraphQLError, cause: BaseException | None) -> bool:
    """Whether a variable or argument is to blame.

    Without a path only variables can be: documents that do not validate come with their code from schema/limits.py. With a path
    only arguments can be; another error that graphql-core made there says that a value of ours does not fit its type.
    """
    if cause is not None:
        return isinstance(cause, InvalidScalar)
    is_argument = error.message.startswith("Argument ") or isinstance(
        error.original_error, StrawberryInputCoercionError
    )
    return error.path is None or is_argument


def _without_python(message: str) -> str:
    """Strawberry explains a refused null in terms of the server's Python types."""
    return re.sub(
        r"((?:Argument|Field)(?: '\w+')?) of type 'Maybe\[.*",
        r"\1 cannot be null; leave it out instead.",
        message,
        flags=re.DOTALL,
    )


def is_request_error(result: ExecutionResult) -> bool:
    """Whether nothing of the operation was executed, as far as its errors can tell: none of them is about a field."""
    return result.data is None and bool(result.errors) and not any(error.path for error in result.errors or ())


class Schema(strawberry.Schema):
    """A schema whose every result, first result and stream result has presentable errors, failures of extensions included."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: `present` logs. Strawberry would log refusals as errors, with tracebacks."""

    async def _handle_execution_result(
        self,
        context: ExecutionContext,
        result: ResultType,
        extensions_runner: SchemaExtensionsRunner,
        *,
        skip_process_errors: bool = False,
    ) -> ExecutionResult:
        """The one place that all results pass, on every transport; an extension such as MaskErrors misses some of them."""
        done = await super()._handle_execution_result(
            context, result, extensions_runner, skip_process_errors=skip_process_errors
        )
        if done.errors:
            done.errors = present(done.errors, getattr(context.context, "request_id", None))
        return done


_CODES: Mapping[StrEnum, str] = {
    ErrorCode.NOT_FOUND: "Not there, or not visible to you; the answer is the same.",
    ErrorCode.FORBIDDEN: "Visible, but not yours to do, or your token lacks the scope for it.",
    ErrorCode.INVALID_INPUT: "Outside its range, length, alphabet or form.",
    ErrorCode.CONFLICT: "Lost a race, or contradicts the current data; re-read and decide.",
    ErrorCode.INVALID_STATE: "The object's status does not allow it (IMG.0090, IMG.0126, Ecs.0100).",
    ErrorCode.BUSY: "Another job holds the object; retry later (IMG.0010, IMG.0136, IMG.0148).",
    ErrorCode.PROTECTED: "The object is protected from being deleted.",
    ErrorCode.NAME_TAKEN: "The name is in use, and has to be unique.",
    ErrorCode.QUOTA_EXCEEDED: "The project's quota.",
    ErrorCode.LIMIT_EXCEEDED: "A fixed limit: members of an image, tags, items in a batch.",
    ErrorCode.UNSUPPORTED: "This installation's engine cannot do it.",
    ErrorCode.IDEMPOTENCY_MISMATCH: "The idempotency key was used before, with another input.",
    ErrorCode.NOT_ACTIVE: "The image is not ACTIVE.",
    ErrorCode.NOT_ACCEPTED: "The image is shared with you, but you have not accepted it.",
    ErrorCode.NOT_SHAREABLE: "An image of this kind or origin cannot be shared.",
    ErrorCode.NOT_EXPORTABLE: "An image of this kind or origin cannot be exported.",
    ErrorCode.NOT_COPYABLE: "An image of this kind cannot be copied.",
    ErrorCode.BACKUP_HAS_IMAGE: "The backup has an image: it gets no second one, and goes after its image.",
    ErrorCode.WRONG_IMAGE_KIND: "An image of this kind cannot be used for this.",
    ErrorCode.BACKUP_UNAVAILABLE: "The backup is not AVAILABLE, or its bytes are not there.",
    ErrorCode.FLAVOR_ABANDONED: "The flavor is no longer sold.",
    ErrorCode.FLAVOR_SOLD_OUT: "The flavor is sold out.",
    ErrorCode.NO_CAPACITY: "The host has no room for the machine right now.",
    ErrorCode.RAM_TOO_SMALL: "The flavor has less memory than the image needs.",
    ErrorCode.RAM_TOO_LARGE: "The flavor has more memory than the image can use.",
    ErrorCode.ARCHITECTURE_MISMATCH: "The flavor's processors cannot run the image.",
    ErrorCode.DISK_TOO_SMALL: "The disk is smaller than the image needs.",
    ErrorCode.DISK_TOO_LARGE: "The disk is larger than a disk may be.",
    ErrorCode.TOO_MANY_DISKS: "More disks than the flavor or an ECS may have.",
    ErrorCode.USER_DATA_UNSUPPORTED: "The image does not read user data.",
    ErrorCode.KEY_UNAVAILABLE: "The key pair is not there, or cannot be used with the image.",
    ErrorCode.UPLOAD_INCOMPLETE: "The upload has not been received whole.",
    ErrorCode.CHECKSUM_MISMATCH: "The bytes are not those that the checksum was worked out from.",
    ErrorCode.FORMAT_MISMATCH: "The file is of another format than was said.",
    ErrorCode.UNSAFE_FILE: "The file is damaged, encrypted, refers to other files, or is of a format that is not taken in.",
    ErrorCode.FETCH_FAILED: "The file could not be fetched from its address.",
    ErrorCode.DAMAGED: "Bytes of the image or the disk are not what they were.",
    ErrorCode.INSUFFICIENT_STORAGE: "The host's storage is full.",
    ErrorCode.ENGINE_FAILED: "The engine that runs machines failed.",
    ErrorCode.TIMED_OUT: "It took longer than it may.",
    ErrorCode.CANCELLED: "It was cancelled before it was done.",
    ErrorCode.INTERNAL: "A failure of the service; report it with the request id.",
}


def describe_enum(words: type[StrEnum], descriptions: Mapping[StrEnum, str]) -> None:
    """Make a closed set of app/enums.py a GraphQL enum, described by its docstring and a sentence for each word."""
    strawberry.enum(words, description=words.__doc__)
    definition: StrawberryEnumDefinition = vars(words)["__strawberry_definition__"]
    for value in definition.values:
        value.description = descriptions.get(words(value.value))


describe_enum(ErrorCode, _CODES)


@strawberry.type(description="Why a mutation, or one item of it, was refused.")
class UserError:
    """A refusal in a mutation's payload."""

    code: ErrorCode = strawberry.field(description="For programs; more codes may be added.")
    otc_code: str | None = strawberry.field(
        description="Open Telekom Cloud's code where it has one: IMG.0015, Ecs.0031."
    )
    field: list[str] | None = strawberry.field(
        description='Path to the argument: ["input", "flavorId"]. In `Launchability`: the field of LaunchEcsInput that would mend it.'
    )
    message: str = strawberry.field(description="For people; its wording may change.")


def user_errors(*errors: ServiceError) -> list[UserError]:
    """Refusals as the payload of a mutation shows them.

    Raises:
        Unauthenticated, InvalidCursor: these concern the request and not its input, and stay top-level errors.
    """
    for error in errors:
        if isinstance(error, (Unauthenticated, InvalidCursor)):
            raise error
    return [_user_error(error) for error in errors]


def _user_error(error: ServiceError) -> UserError:
    field = None if error.field is None else graphql_field(error.field)
    return UserError(code=ErrorCode(error.code), otc_code=error.otc, field=field, message=error.message)


_PayloadT_co = TypeVar("_PayloadT_co", covariant=True)


class Refusable(Protocol[_PayloadT_co]):
    """A payload type that can be made of nothing but `user_errors`; its other fields default to None or empty."""

    def __call__(self, *, user_errors: list[UserError]) -> _PayloadT_co: ...


async def refusable(payload: Refusable[_PayloadT_co], work: Awaitable[_PayloadT_co]) -> _PayloadT_co:
    """What `work` gives, or, when it is refused, a payload that says why.

    A mutation is `return await refusable(DeleteImagePayload, _delete(info, input))`. Only refusals become userErrors: any other
    exception stays a top-level error, and so do Unauthenticated and InvalidCursor.
    """
    try:
        return await work
    except ServiceError as error:
        refused = user_errors(error)
        log.info("mutation refused", code=str(error.code), field=error.field)
        return payload(user_errors=refused)
