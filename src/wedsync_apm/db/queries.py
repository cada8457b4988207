"""Reads a room's `queries.sql`.

A query begins with `-- verb_noun --`, or with `-- verb_noun [role] --` when a database role other
than `authenticated` runs it, and the next line is a comment that says what it is for:

    -- list_open_incidents --
    -- What the incidents page shows first.
    select …

Anything before the first header may only be comments. The SQL stays in this shape so that every
statement can be prepared and explained by a test as the role that runs it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from wedsync_apm.errors import ConfigurationError

ROLES: Final = ("authenticated", "apm_api", "apm_writer", "apm_engine", "owner")
DEFAULT_ROLE: Final = "authenticated"

_HEADER = re.compile(r"--\s+(?P<name>[a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?:\s+\[(?P<role>\w+)\])?\s+--")
_LOOKS_LIKE_HEADER = re.compile(r"^--.*--\s*$")


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement: who runs it, what for, and the SQL itself."""

    name: str
    role: str
    purpose: str
    sql: str


class Queries(Mapping[str, Query]):
    """The statements of one room; `Q.verb_noun` is the SQL, `Q["verb_noun"]` all about it."""

    def __init__(self, source: str, queries: Mapping[str, Query]) -> None:
        self._source = source
        self._queries = dict(queries)

    def __getattr__(self, name: str) -> str:
        # Dunder and private names are looked up by copy, pickle and the like.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._queries[name].sql
        except KeyError:
            raise AttributeError(f"{self._source} has no query named {name}") from None

    def __getitem__(self, name: str) -> Query:
        return self._queries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


def load_queries(package: str | None) -> Queries:
    """The queries of `package`; call it as `load_queries(__package__)`.

    Raises ConfigurationError for a header that cannot be read, a name that comes twice, a missing
    purpose or an empty statement.
    """
    if not package:
        raise ConfigurationError("load_queries needs the name of a package")
    source = f"{package.replace('.', '/')}/queries.sql"
    text = files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    return parse_queries(text, source)


def parse_queries(text: str, source: str) -> Queries:
    """The same from a string; `source` is what error messages call it."""
    queries: dict[str, Query] = {}
    for header, number, body in _sections(text, source):
        match = _HEADER.fullmatch(header)
        if match is None:
            raise ConfigurationError(
                f"{source}:{number}: cannot read the header {header!r}; "
                "write `-- verb_noun --` or `-- verb_noun [role] --`"
            )
        name, role = match["name"], match["role"] or DEFAULT_ROLE
        if role not in ROLES:
            raise ConfigurationError(
                f"{source}:{number}: unknown role {role!r} for {name}; one of {', '.join(ROLES)}"
            )
        if name in queries:
            raise ConfigurationError(f"{source}:{number}: {name} is there twice")
        purpose, sql = body[0] if body else "", "\n".join(body).strip()
        if not purpose.startswith("-- "):
            raise ConfigurationError(
                f"{source}:{number}: {name} needs a line `-- what it is for` below its header"
            )
        if not any(line.strip() and not line.lstrip().startswith("--") for line in body):
            raise ConfigurationError(f"{source}:{number}: {name} has no statement")
        queries[name] = Query(name, role, purpose.removeprefix("-- ").strip(), sql.rstrip(";"))
    return Queries(source, queries)


def _sections(text: str, source: str) -> Iterator[tuple[str, int, list[str]]]:
    header, number, body = "", 0, list[str]()
    for line_number, raw in enumerate(text.splitlines(), start=1):
        line = raw.rstrip()
        if _LOOKS_LIKE_HEADER.match(line):
            if header:
                yield header, number, body
            header, number, body = line, line_number, []
        elif header:
            body.append(line)
        elif line and not line.startswith("--"):
            raise ConfigurationError(f"{source}:{line_number}: a statement before the first header")
    if header:
        yield header, number, body
