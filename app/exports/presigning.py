"""Where exports are fetched that lie in the object storage: by whoever knows the URL, without a token."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from app import db, object_storage
from app.enums import ExportFormat
from app.exports import folder


def presigned(
    export_id: UUID | str, format_: ExportFormat, expires_at: datetime, *, method: Literal["GET", "HEAD"] = "GET"
) -> str | None:
    """Its URL, which holds as long as the export does, or a week; None if there is no object storage any more."""
    if (storage := object_storage.current()) is None:
        return None
    return storage.sign(folder.name_of(export_id, format_), expires_in=expires_at - db.now(), method=method)
