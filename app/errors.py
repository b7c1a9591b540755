"""Everything the service refuses or fails with.

ServiceError                    a refusal or failure with a code, a message for people, and the argument it is about
├── Unauthenticated             no caller, or a token that is unknown, expired or revoked
├── InvalidCursor               a cursor that is broken, or of another list
├── NotFound                    not there, or not visible: the two are one
├── Forbidden                   visible, but not the caller's to do
├── InvalidInput                outside its range or form
├── Conflict                    lost a race, or contradicts the current data
├── InvalidState                the object's status does not allow it
├── Busy                        another job holds the object
├── QuotaExceeded               the project's quota
├── LimitExceeded               a fixed limit
├── Unsupported                 this installation's engine cannot do it
├── Refused                     a named rule of the domain, by its code
└── EngineError                 the engine failed: ENGINE_FAILED, NO_CAPACITY, INSUFFICIENT_STORAGE, TIMED_OUT, …

StartupError is apart: a sentence with a remedy for whoever starts the service, never an answer to a request.
"""

from __future__ import annotations

from app.enums import ErrorCode


class ServiceError(Exception):
    """A refusal or failure that its reader can act on."""

    code: str = ErrorCode.INTERNAL

    def __init__(self, message: str, *, field: tuple[str, ...] | None = None, otc: str | None = None) -> None:
        """`field` is the path to the argument below the root field: ("input", "flavor_id"); `otc` Open Telekom Cloud's code."""
        super().__init__(message)
        self.message, self.field, self.otc = message, field, otc

    def at(self, *field: str) -> ServiceError:
        """The same error, about the argument at this path."""
        self.field = field
        return self


class Unauthenticated(ServiceError):
    """No caller: the request has no valid token."""

    code = "UNAUTHENTICATED"


class InvalidCursor(ServiceError):
    """A cursor that is broken, or belongs to another list, order or filter."""

    code = "INVALID_CURSOR"


class NotFound(ServiceError):
    """Not there, or not visible to the caller; the answer is the same."""

    code = ErrorCode.NOT_FOUND


class Forbidden(ServiceError):
    """Visible, but not the caller's to do."""

    code = ErrorCode.FORBIDDEN


class InvalidInput(ServiceError):
    """Outside its range, length, alphabet or form."""

    code = ErrorCode.INVALID_INPUT


class Conflict(ServiceError):
    """Lost a race, or contradicts the current data; re-read and decide."""

    code = ErrorCode.CONFLICT


class InvalidState(ServiceError):
    """The object's status does not allow it."""

    code = ErrorCode.INVALID_STATE


class Busy(ServiceError):
    """Another job holds the object; retry later."""

    code = ErrorCode.BUSY


class QuotaExceeded(ServiceError):
    """The project's quota is used up."""

    code = ErrorCode.QUOTA_EXCEEDED


class LimitExceeded(ServiceError):
    """Beyond a fixed limit: members of an image, tags, items in a batch."""

    code = ErrorCode.LIMIT_EXCEEDED


class Unsupported(ServiceError):
    """This installation's engine cannot do it."""

    code = ErrorCode.UNSUPPORTED


class Refused(ServiceError):
    """A named rule of the domain says no."""

    def __init__(
        self, code: ErrorCode, message: str, *, field: tuple[str, ...] | None = None, otc: str | None = None
    ) -> None:
        super().__init__(message, field=field, otc=otc)
        self.code = code


class EngineError(Refused):
    """The engine could not do what a job asked of it; nothing of the attempt is left behind."""


class StartupError(Exception):
    """Why the service cannot start, and what to do about it, in one sentence."""
