"""Rules about the catalogue: one rule is one file of `lints/`.

Each begins with its title, level, categories, description and remediation; its statement finds
`object`, `detail` and `metadata`. Before it stands `scope.sql`: what is ours. The findings have the
shape of Supabase's advisors, so that the same tools show them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from wedsync_apm.errors import ConfigurationError
from wedsync_apm.health.model import Finding, Outcome

Rows = Sequence[Mapping[str, Any]]

LEVELS: Final = ("ERROR", "WARN", "INFO")
_FIELDS: Final = ("title", "level", "categories", "description", "remediation")
_FILE: Final = re.compile(r"\d{4}_(?P<name>\w+)\.sql")
MOST_NAMED: Final = 5

# cache_key -> why it is meant to be so.
EXPLAINED: Final[Mapping[str, str]] = {
    "unindexed_foreign_key:constraint apm_private.platform.platform_organization_id_fkey": (
        "a table of one row"
    ),
    "tenant_without_index:table apm_private.platform": "a table of one row",
    "no_primary_key:table apm_private.flushes": "a queue, written in bulk and read by transaction",
    "no_primary_key:table public.apm_metrics": (
        "a write batch has no name of its own; a unique index would double the cost of a write"
    ),
    "constraint_not_valid:constraint public.apm_weddings.apm_weddings_wedding_date_check": (
        "weddings that were there before the limit keep their dates"
    ),
}


@dataclass(frozen=True, slots=True)
class Lint:
    """A rule, and the statement that finds what breaks it."""

    number: str
    name: str
    title: str
    level: str
    categories: tuple[str, ...]
    description: str
    remediation: str
    statement: str


@cache
def lints() -> tuple[Lint, ...]:
    """Every rule, by number."""
    folder = files(__package__ or "").joinpath("lints")
    scope = folder.joinpath("scope.sql").read_text(encoding="utf-8").strip()
    found = [
        parse_lint(file.name, file.read_text(encoding="utf-8"), scope)
        for file in folder.iterdir()
        if file.name.endswith(".sql") and file.name != "scope.sql"
    ]
    return tuple(sorted(found, key=lambda lint: lint.number))


def parse_lint(file_name: str, text: str, scope: str) -> Lint:
    """A rule from its file. Raises ConfigurationError for a head that cannot be read."""
    match = _FILE.fullmatch(file_name)
    heads = dict(re.findall(r"^-- (\w+): (.+)$", text, re.MULTILINE))
    if match is None or tuple(heads) != _FIELDS or heads["level"] not in LEVELS:
        raise ConfigurationError(f"health/lints/{file_name}: the head is not {', '.join(_FIELDS)}")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("-- ")).strip()
    return Lint(
        file_name[:4],
        match["name"],
        heads["title"],
        heads["level"],
        tuple(heads["categories"].split(", ")),
        heads["description"],
        heads["remediation"],
        f"with {scope}\n{body}",
    )


def findings_of(lint: Lint, rows: Rows) -> list[dict[str, Any]]:
    """The rows in the shape of Supabase's advisors, without those that are explained."""
    found = []
    for row in rows:
        cache_key = f"{lint.name}:{row['object']}"
        if cache_key not in EXPLAINED:
            found.append(
                {
                    "name": lint.name,
                    "title": lint.title,
                    "level": lint.level,
                    "facing": "EXTERNAL" if "SECURITY" in lint.categories else "INTERNAL",
                    "categories": list(lint.categories),
                    "description": lint.description,
                    "detail": row["detail"],
                    "remediation": lint.remediation,
                    "metadata": {**row["metadata"], "object": row["object"]},
                    "cache_key": cache_key,
                }
            )
    return found


def judge_lint(lint: Lint, rows: Rows) -> Finding:
    """Red from one finding on; what is only worth knowing (INFO) passes, with its number."""
    found = findings_of(lint, rows)
    if not found:
        return Finding(Outcome.PASSED, "none", figure=0)
    value, shown, number = f"{len(found)} found", tuple(found), float(len(found))
    if lint.level == "INFO":
        return Finding(Outcome.PASSED, value, "", shown, number)
    reason = "; ".join(one["detail"] for one in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return Finding(Outcome.FAILED, value, reason + more, shown, number)
