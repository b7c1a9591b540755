"""Uploads, page by page; one by its id is a node."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.paging import Page, Slice
from app.uploads import service as uploads
from app.uploads.reads import UploadRow
from schema.context import caller
from schema.fields import showing
from schema.paging import After, Before, Connection, First, Last
from schema.selection import wanted
from schema.uploads.types import Upload


@strawberry.type
class UploadQueries:
    @showing(Connection[Upload], description="Uploads of the viewer's project, newest first.")
    async def uploads(
        self, info: Info, *, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Slice[UploadRow]:
        page = Page(first, after, last, before)
        return await uploads.list_uploads(caller(info), page=page, wanted=wanted(info))
