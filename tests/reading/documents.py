"""Random documents: aliases, fragments on interfaces and types, directives, variables, and pages within pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

from tests.reading.everything import CORE, LEFT_OUT

WRAPPING = {"nodes", "edges", "node", "pageInfo"}
NEITHER = LEFT_OUT | {"facets"}
"""Counts beside a list have tests of their own."""
FEW = 0.12
"""How often a field or fragment has a directive."""
TYPES = {
    "n": "Int",
    "s": "[ShareStatus!]",
    "t": "ShareStatus!",
    "flavor": "ID!",
    "image": "ID!",
    "yes": "Boolean!",
    "no": "Boolean!",
}


@dataclass
class Scope:
    """What response names are taken in one object of the answer, so that merged fields are the same field."""

    taken: dict[str, tuple[str, Scope]] = field(default_factory=dict)


@dataclass
class Author:
    """Writes one document. `ids`: opaque ids by noun, some of them of what nobody sees."""

    random: Random
    ids: Mapping[str, Sequence[str]]
    fragments: list[tuple[str, str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    number: int = 0

    def document(self) -> str:
        """Its text; hardly ever one that is not valid."""
        scope = Scope()
        roots = " ".join(self.root(scope) for _ in range(self.random.choice((1, 1, 1, 2))))
        heads = ", ".join(f"${name}: {TYPES[name]}" for name in sorted(self.used))
        texts = [f"query ({heads}) {{ {roots} }}" if heads else f"{{ {roots} }}"]
        return "\n".join(texts + [f"fragment {name} on {on} {inside}" for name, on, inside in self.fragments])

    def root(self, scope: Scope) -> str:
        name = self.random.choices(
            ["images", "ecsInstances", "jobs", "evsDisks", "flavors", "keyPairs", "viewer", "project", "node", "nodes", "image",
             "backups", "uploads", "backup"],
            [8, 3, 2, 2, 1, 1, 1, 1, 2, 2, 2, 3, 1, 1],
        )[0]  # fmt: skip
        return self.field(name, CORE.type_map["Query"].fields[name], 3, scope)  # type: ignore[attr-defined]

    def selection(self, type_: Any, depth: int, scope: Scope) -> str:
        parts = [self.part(type_, depth, scope) for _ in range(self.random.randint(1, 4))]
        return f"{{ {' '.join(filter(None, parts)) or '__typename'} }}"

    def part(self, type_: Any, depth: int, scope: Scope) -> str:
        roll = self.random.random()
        if depth > 0 and roll < (0.5 if is_abstract_type(type_) else 0.15):
            return self.fragment(type_, depth, scope)
        if roll > 0.96:
            return "__typename"
        names = [name for name in type_.fields if name not in NEITHER]
        weights = [1 if is_leaf_type(get_named_type(type_.fields[name].type)) else 3 for name in names]
        name = self.random.choices(names, weights)[0]
        return self.field(name, type_.fields[name], depth, scope)

    def fragment(self, type_: Any, depth: int, scope: Scope) -> str:
        on = self.random.choice([None, *self.conditions(type_)])
        target = CORE.type_map[on] if on else type_
        directive = self.directive()
        if self.random.random() < 0.4:
            fitting = [name for name, condition, _ in self.fragments if condition == target.name]
            if fitting and self.random.random() < 0.5:
                return f"...{self.random.choice(fitting)}{directive}"
            self.number += 1
            name = f"F{self.number}"
            inside = self.selection(target, depth - 1, Scope({"": (name, Scope())}))  # wherever it is spread
            self.fragments.append((name, target.name, inside))
            return f"...{name}{directive}"
        return f"...{f' on {on}' if on else ''}{directive} {self.selection(target, depth - 1, scope)}"

    def conditions(self, type_: Any) -> list[str]:
        """Types that a fragment may be on here."""
        if isinstance(type_, GraphQLInterfaceType):
            kinds = [each.name for each in CORE.get_possible_types(type_)]
            interfaces = [each.name for each in CORE.get_implementations(type_).interfaces]
            return kinds + 3 * interfaces + 2 * [kind for kind in kinds if kind == "PrivateImage"]
        return [type_.name, *(each.name for each in type_.interfaces)] if isinstance(type_, GraphQLObjectType) else []

    def field(self, name: str, definition: GraphQLField, depth: int, scope: Scope) -> str:
        type_ = get_named_type(definition.type)
        if not is_leaf_type(type_) and depth <= 0 and name not in WRAPPING:
            return ""
        arguments = ", ".join(f"{arg}: {value}" for arg, value in self.arguments(name, definition).items())
        written = name + (f"({arguments})" if arguments else "")
        alias, inner = self.alias(name, f"{definition.type} {written}", scope)
        text = (f"{alias}: {written}" if alias != name else written) + self.directive()
        if is_leaf_type(type_):
            return text
        return f"{text} {self.selection(type_, depth if name in WRAPPING else depth - 1, inner)}"

    def alias(self, name: str, signature: str, scope: Scope) -> tuple[str, Scope]:
        """A response name that is free or has the same field, and what is taken below it."""
        alias = self.random.choice([name, name, "a", "b"])
        if "" in scope.taken and (alias != name or "(" in signature):  # of a fragment
            alias = f"{name}_{scope.taken[''][0]}"
        if scope.taken.get(alias, (signature,))[0] != signature:
            self.number += 1
            alias = f"u{self.number}"
        inner = Scope({"": scope.taken[""]}) if "" in scope.taken else Scope()
        return alias, scope.taken.setdefault(alias, (signature, inner))[1]

    def directive(self) -> str:
        if self.random.random() > FEW:
            return ""
        value = self.random.choice(["true", "false", "$yes", "$no"])
        return f" @{self.random.choice(['skip', 'include'])}(if: {self.use(value)})"

    def use(self, text: str) -> str:
        """A value as it is written; its variable has to be declared."""
        self.used |= {name for name in TYPES if text.strip("[]") == f"${name}"}
        return text

    def arguments(self, name: str, definition: GraphQLField) -> dict[str, str]:
        found, chance = {}, self.random
        if "first" in definition.args:
            way = chance.choice(["first", "first", "first", "last", ""])
            if way:
                found[way] = self.use(chance.choice(["1", "2", "3", "7", "$n" if way == "first" else "4"]))
        if "status" in definition.args and chance.random() < 0.6:
            found["status"] = self.use(chance.choice(["[ACCEPTED]", "[PENDING, REJECTED]", "$s", "[$t]", "[]", "null"]))
        if "flavorId" in definition.args:
            found["flavorId"] = self.use(chance.choice([self.id("Flavor"), "$flavor"]))
        if "imageId" in definition.args:
            found["imageId"] = self.use("$image")
        if "orderBy" in definition.args and name == "images":
            found |= self.which()
        if name == "project" and "by" in definition.args:
            found["by"] = f"{{id: {self.id('Project')}}}"
        if "id" in definition.args:
            found["id"] = self.id({"image": "Image", "backup": "Backup"}.get(name))
        if "ids" in definition.args:
            found["ids"] = f"[{', '.join(self.id(None) for _ in range(6))}]"
        return found

    def which(self) -> dict[str, str]:
        """Conditions and an order of images."""
        found, chance = {}, self.random
        if chance.random() < 0.3:
            filters = ["{visibility: [PRIVATE, SHARED]}", "{status: [ACTIVE]}", "{protected: false}", "{}"]
            found["filter"] = chance.choice(filters)
        if chance.random() < 0.5:
            column = chance.choice(["CREATED_AT", "UPDATED_AT", "NAME", "SIZE", "STATUS", "MIN_DISK"])
            found["orderBy"] = f"[{{field: {column}{chance.choice(['', ', direction: DESC'])}}}]"
        return found

    def id(self, noun: str | None) -> str:
        """One of a noun, or of any."""
        return json.dumps(self.random.choice(self.ids[noun or self.random.choice(list(self.ids))]))
