"""The viewer, and projects to share with."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from app.projects import service as projects
from app.projects.reads import ProjectRow, ViewerRow
from schema.context import caller
from schema.fields import showing
from schema.ids import plain
from schema.projects.types import Project, Viewer
from schema.selection import wanted


@strawberry.input(one_of=True, description="By what a project is found.")
class ProjectBy:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="Its id, opaque or plain.")
    name: strawberry.Maybe[str] = strawberry.field(description="Its name, exactly.")


By = Annotated[ProjectBy, strawberry.argument(description="Its id or its name.")]


@strawberry.type
class ProjectQueries:
    @showing(Viewer, description="Who is asking: project, token, quotas.")
    async def viewer(self, info: Info) -> ViewerRow:
        return await projects.viewer(caller(info), wanted(info))

    @showing(
        Project | None,
        description="The project with exactly this id or name, so that one can share with it. Needs scope SHARING, "
        "as it answers whether a name exists.",
    )
    async def project(self, info: Info, by: By) -> ProjectRow | None:
        id_ = plain(by.id.value, "Project") if by.id else None
        name = by.name.value if by.name else None
        return await projects.project_by(caller(info), id=id_, name=name, wanted=wanted(info))
