"""How projects are read, and the viewer: the project that asks, by the token that it asks with."""

from __future__ import annotations

from app import policy
from app.enums import QuotaResource, TokenScope
from app.projects.models import Project, Quota
from app.reading import Children, Noun, Parent, Row


class ProjectRow(Row):
    """A tenant."""

    noun = "Project"
    name: str


class QuotaRow(Row):
    """How much there is of a resource."""

    noun = "Quota"
    resource: QuotaResource
    used: int
    limit: int | None


class ViewerRow(Row):
    """The caller itself."""

    noun = "Viewer"

    @property
    def token_name(self) -> str:
        """The name of the token."""
        return self.caller.token_name

    @property
    def scopes(self) -> list[TokenScope]:
        """What the token may be used for."""
        return sorted(self.caller.scopes)

    @property
    def is_operator(self) -> bool:
        """Whether it runs this installation."""
        return self.caller.is_operator


PROJECTS = Noun(Project, ProjectRow, policy.visible_projects, computed={"uuid": ("id",)})
QUOTAS = Noun(Quota, QuotaRow, policy.visible_quotas, order=("resource", "id"))
VIEWER = Noun(
    Project,
    ViewerRow,
    policy.visible_projects,
    computed={"token_name": ("id",), "scopes": ("id",), "is_operator": ("id",)},
    relations={"project": Parent(PROJECTS, "id"), "quotas": Children(QUOTAS, "project_id")},
)
