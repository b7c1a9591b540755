"""Why something failed after its request had been accepted: three columns that images, ECSs, disks and jobs share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import db
from app.enums import ErrorCode
from app.errors import ServiceError

COLUMNS = ("fault_code", "fault_message", "fault_at")
CLEARED: dict[str, Any] = dict.fromkeys(COLUMNS)
"""Columns of something that works again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, and when."""

    code: ErrorCode
    otc: str | None
    message: str
    at: datetime


def columns(error: ServiceError) -> dict[str, Any]:
    """The columns that remember an error."""
    code = ErrorCode(error.code) if error.code in set(ErrorCode) else ErrorCode.INTERNAL
    return {"fault_code": code, "fault_message": error.message[:1024], "fault_at": db.now()}


def fault_of(row: object) -> Fault | None:
    """The fault in a row's columns."""
    code, message, at = (getattr(row, name) for name in COLUMNS)
    return Fault(code, None, message, at) if code else None
