"""The migration files: read, checked, and asked what they create. No connection is needed here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Literal

from wedsync_apm.errors import ConfigurationError

Phase = Literal["pre", "post"]

_FILE = re.compile(r"(?P<version>\d{14})_(?P<name>[a-z]+(?:_[a-z0-9]+)+)\.sql")
_PHASE = re.compile(r"-- (?P<phase>pre|post)\b")
_LIMIT = re.compile(r"^-- (lock_timeout|statement_timeout) = (\d+(?:ms|s|min))$", re.MULTILINE)
_UNLESS = re.compile(r"\A-- unless: (?P<condition>.+)$", re.MULTILINE)
DEFAULT_LIMITS: Final = {"lock_timeout": "4s", "statement_timeout": "5s"}

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = r'(?:(?P<schema>\w+)\.)?(?:"(?P<quoted>[^"]+)"|(?P<name>\w+))'
_CREATE = re.compile(
    r"^\s*create (?:or replace )?(?:unique )?(?:materialized )?"
    r"(?P<kind>table|view|sequence|function|procedure|type|index) (?:if not exists )?" + _NAME,
    re.MULTILINE,
)
_INDEX_TABLE = re.compile(r"\s+on\s+(?:only\s+)?(?P<schema>\w+)\.", re.ASCII)
_ATTACH = re.compile(
    r"^\s*create (?:or replace )?(?:constraint )?(?P<kind>policy|trigger) (?P<name>\w+)"
    r"\s[^;]*?\bon (?P<table>\w+\.\w+)",
    re.MULTILINE,
)
_ENUM = re.compile(
    r"call apm_private\.ensure_enum\('(?P<name>\w+)',\s*array\[(?P<labels>[^\]]*)\]\)"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file and its way back; None when it has none (yet)."""

    version: str
    name: str
    phase: Phase
    sql: str
    down: str | None

    @property
    def checksum(self) -> str:
        """sha256 of the text; the line ends of a checkout do not count."""
        return sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Standalone:
    """A file of what Supabase provides; left out where the condition holds."""

    name: str
    sql: str
    unless: str | None


@dataclass(frozen=True, slots=True)
class Creations:
    """What some migrations create, by name, as far as it stands in the file as a statement.

    `objects` are `relation schema.name`, `function …`, `type …`, `policy .name on schema.table`
    and `trigger .name on schema.table`; `enums` those that may be there already if equal.
    """

    objects: frozenset[str]
    enums: Mapping[str, tuple[str, ...]]

    @property
    def functions(self) -> list[str]:
        """Full names of functions and procedures."""
        return [o.removeprefix("function ") for o in self.objects if o.startswith("function ")]

    @property
    def types(self) -> list[str]:
        """Full names of types."""
        return [o.removeprefix("type ") for o in self.objects if o.startswith("type ")] + [
            f"public.{name}" for name in self.enums
        ]

    @property
    def attached(self) -> list[str]:
        """Policies and triggers as `name on schema.table`."""
        return [o.split(" .", 1)[1] for o in self.objects if o.startswith(("policy ", "trigger "))]


def load_migrations(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """All migrations in order.

    Raises ConfigurationError for a name that does not fit, a version that comes twice and a first
    line that is neither `-- pre` nor `-- post`.
    """
    folder = folder or files("wedsync_apm.sql").joinpath("migrations")
    found: dict[str, Migration] = {}
    for file in sorted((f for f in folder.iterdir() if f.is_file()), key=lambda f: f.name):
        match = _FILE.fullmatch(file.name)
        if match is None:
            raise ConfigurationError(f"{file.name} is not named <14 digits>_<verb>_<noun>.sql")
        text = _read(file)
        phase = _PHASE.match(text)
        if phase is None:
            raise ConfigurationError(f"{file.name} must begin with a line `-- pre` or `-- post`")
        if match["version"] in found:
            raise ConfigurationError(f"Two migrations have the version {match['version']}")
        down = folder.joinpath("down", file.name)
        found[match["version"]] = Migration(
            match["version"],
            match["name"],
            "pre" if phase["phase"] == "pre" else "post",
            text,
            _read(down) if down.is_file() else None,
        )
    return tuple(found.values())


def load_standalone(folder: Traversable | None = None) -> tuple[Standalone, ...]:
    """The files of what Supabase provides, in order."""
    folder = folder or files("wedsync_apm.sql").joinpath("standalone")
    result = []
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            text = _read(file)
            unless = _UNLESS.match(text)
            result.append(Standalone(file.name, text, unless["condition"] if unless else None))
    return tuple(result)


def limits_of(sql: str) -> dict[str, str]:
    """How long the statements of a file may wait and run: as it says itself, else the defaults."""
    return DEFAULT_LIMITS | dict(_LIMIT.findall(sql))


def creations(migrations: Sequence[Migration]) -> Creations:
    """What these migrations create together."""
    objects: set[str] = set()
    enums: dict[str, tuple[str, ...]] = {}
    for migration in migrations:
        text = _COMMENT.sub("", migration.sql)
        objects |= set(_created(text))
        for match in _ENUM.finditer(text):
            enums[match["name"]] = tuple(
                label.strip().strip("'") for label in match["labels"].split(",")
            )
    return Creations(frozenset(objects), enums)


def _created(text: str) -> Iterator[str]:
    kinds = {"function": "function", "procedure": "function", "type": "type"}
    for match in _CREATE.finditer(text):
        name, schema = match["quoted"] or match["name"], match["schema"]
        if match["kind"] == "index":
            on = _INDEX_TABLE.match(text, match.end())
            schema = on["schema"] if on else schema
        yield f"{kinds.get(match['kind'], 'relation')} {schema or 'public'}.{name}"
    for match in _ATTACH.finditer(text):
        yield f"{match['kind']} .{match['name']} on {match['table']}"


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8").replace("\r\n", "\n")
