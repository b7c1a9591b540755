"""How contents are read: through the disks of images and backups, which they are the bytes of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app import policy
from app.checksums import Checksum
from app.contents.models import Content
from app.enums import HashAlgorithm
from app.policy import Caller
from app.reading import Noun, Row, Wanted, find


class ContentRow(Row):
    """What a disk held at one instant."""

    noun = "Content"
    sha256: str | None

    @property
    def checksum(self) -> Checksum | None:
        """Of all its bytes as a guest sees them; none until it has been worked out."""
        return Checksum(HashAlgorithm.SHA256, self.sha256) if self.sha256 else None


CONTENTS = Noun(Content, ContentRow, policy.visible_contents, computed={"checksum": ("sha256",)})


class DiskChecksum:
    """The checksum of a disk, which is that of its content: whoever else holds the same content shows the same."""

    needs = ("content_id",)

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        found = await find(caller, CONTENTS, {row.content_id: 1 for row in rows}, Wanted.naming("checksum"))
        return [found[row.content_id].checksum if row.content_id in found else None for row in rows]
