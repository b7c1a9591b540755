"""An image of a disk file that is fetched from where the user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from uuid import UUID

from app.enums import ImageSourceKind
from app.errors import InvalidInput
from app.fetching import schemes
from app.policy import Caller
from app.sources.base import Draft, UrlSource
from app.sources.file import OfFile
from app.uploads import service as uploads


@dataclass(frozen=True, slots=True)
class OfUrl(OfFile):
    """An address. Whether there is a file, only its job finds out: a request asks nobody."""

    request: UrlSource
    source_kind = ImageSourceKind.URL

    async def check(self, caller: Caller) -> Draft:
        """The image as the user describes it."""
        schemes.opener_of(self.request.url, caller.project)
        self._sha256()
        return self._draft("url", _file_name(self.request.url))

    def _sha256(self) -> str | None:
        try:
            return uploads.checked_sha256(self.request.sha256)
        except InvalidInput as error:
            raise error.at("sha256") from None

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Nothing is held: the file is not ours."""
        return {"url": self.request.url, "sha256": self._sha256(), **await self._expect(image_id)}


def _file_name(url: str) -> str | None:
    """The last part of its path, if it can be shown."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return name if 1 <= len(name) <= uploads.MAX_FILE_NAME and name.isprintable() else None
