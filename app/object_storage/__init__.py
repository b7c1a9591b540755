"""The object storage of an installation that has one (S3, OBS, MinIO): exports lie there, and files come from there."""

from app.object_storage.storage import Found, ObjectStorage, Unanswered, current, opened

__all__ = ["Found", "ObjectStorage", "Unanswered", "current", "opened"]
