"""Every room's queries, and which of them its code uses."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import wedsync_apm
from wedsync_apm.db.queries import Query, load_queries

SOURCE = Path(wedsync_apm.__file__).parent


@dataclass(frozen=True, slots=True)
class Room:
    """A package with a queries.sql."""

    package: str
    folder: Path

    def queries(self) -> list[Query]:
        """What it defines."""
        return list(load_queries(self.package).values())

    def used(self) -> set[str]:
        """The names that its modules take from what `load_queries` gave them."""
        return {name for file in self._modules() for name in _names_used(file)}

    def _modules(self) -> Iterator[Path]:
        for file in self.folder.rglob("*.py"):
            nearest = next(p for p in file.parents if (p / "queries.sql").exists())
            if nearest == self.folder:
                yield file


def rooms() -> list[Room]:
    """All of them, by name."""
    return [
        Room(
            ".".join(("wedsync_apm", *file.parent.relative_to(SOURCE).parts)),
            file.parent,
        )
        for file in sorted(SOURCE.rglob("queries.sql"))
    ]


def numbered(sql: str) -> tuple[str, int]:
    """The statement with $1, $2 … for its named parameters, and how many there are."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    text = re.sub(r"%\((\w+)\)[sbt]", number, sql)
    return text.replace("%%", "%") if names else text, len(names)


def _names_used(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "Q":
                yield node.attr
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Q"
            and isinstance(node.slice, ast.Constant)
        ):
            yield str(node.slice.value)
