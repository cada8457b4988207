"""Lints of our own .sql files, fast enough for every save: `python -m tests.support.sql_lint`.

What a catalogue can tell (rights, policies, indexes) is tested on the migrated database; this looks
at what only the text shows, and at what should be seen before a database is at hand.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.queries import SOURCE

_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?P<dollar>\$\w*\$)|(?P<end>;)",
    re.DOTALL,
)
_UPPER = re.compile(
    r"\b(SELECT|FROM|WHERE|INSERT|INTO|UPDATE|DELETE|CREATE|ALTER|DROP|TABLE|VIEW|FUNCTION|POLICY|"
    r"TRIGGER|INDEX|GRANT|REVOKE|BEGIN|END|IF|THEN|ELSE|LOOP|RETURN|RETURNS|AND|OR|NOT|NULL|AS|ON|"
    r"TO|USING|WITH|CHECK|DEFAULT|PRIMARY|FOREIGN|KEY|REFERENCES|UNIQUE|JOIN|LEFT|ORDER|GROUP|BY|"
    r"SET|VALUES|LANGUAGE|SECURITY|DEFINER|STABLE|IMMUTABLE|TRUE|FALSE)\b"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and the line it begins on; `bare` is without comments and literals."""

    line: int
    text: str
    bare: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def statements(text: str) -> list[Statement]:
    """The statements of a file; a dollar-quoted body belongs to its statement."""
    result: list[Statement] = []
    start = position = 0
    while match := _TOKEN.search(text, position):
        position = match.end()
        if tag := match["dollar"]:
            close = text.find(tag, position)
            position = len(text) if close < 0 else close + len(tag)
        elif match["end"]:
            result.append(_statement(text, start, position))
            start = position
    if text[start:].strip():
        result.append(_statement(text, start, len(text)))
    return result


def _statement(text: str, start: int, end: int) -> Statement:
    while start < end and text[start].isspace():
        start += 1
    raw = text[start:end]
    return Statement(text.count("\n", 0, start) + 1, raw, _bare(raw))


def _bare(text: str) -> str:
    """The same text with comments blanked and literals emptied; lines stay where they are."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        if found.startswith(("--", "/*")):
            return "\n" * found.count("\n")
        if found.startswith("'"):
            return "'" + "\n" * found.count("\n") + "'"
        return found if found.startswith("$") or found == ";" else '"x"'

    return _TOKEN.sub(blank, text)


Rule = Callable[[list[Statement]], Iterator[tuple[int, str]]]


def lower_case(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """Keywords are written in lower case."""
    for statement in found:
        for number, line in enumerate(statement.bare.splitlines()):
            if match := _UPPER.search(line):
                yield statement.line + number, f"write the keyword {match[0]} in lower case"


def pinned_search_path(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """A function that runs with its owner's rights must not look names up in the caller's path."""
    for statement in found:
        head = _outside_body(statement.text)
        if re.match(r"create (or replace )?(function|procedure)\b", _bare(head).lstrip()) and (
            "security definer" in head and "set search_path = pg_catalog, pg_temp" not in head
        ):
            yield statement.line, "security definer needs `set search_path = pg_catalog, pg_temp`"


def protected_tables(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """Row Level Security is enabled and forced on each table in the file that makes it."""
    everything = "\n".join(statement.text for statement in found)
    for match in re.finditer(
        r"create table (?:if not exists )?(?P<name>\w+(?:\.\w+)?)(?=[\s(])(?P<rest>[^;]*?)[;(]",
        everything,
    ):
        name = match["name"]
        if "partition of" in match["rest"]:
            continue
        pair = all(
            re.search(rf"alter table {re.escape(name)} {word} row level security", everything)
            for word in ("enable", "force")
        )
        if not pair and f"protect_table('{name}')" not in everything:
            line = next(s.line for s in found if f"create table {name}" in s.text)
            yield line, f"{name} needs Row Level Security enabled and forced"


def addressed_policies(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """A policy without TO is for everybody, roles of a later time included."""
    for statement in found:
        for match in re.finditer(r"create policy (\w+)([^;]*)", statement.bare):
            if not re.search(r"\bto\s+\w+", match[2]):
                yield statement.line, f"the policy {match[1]} names no role"


def invoker_views(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """A view without security_invoker shows every tenant with its owner's rights."""
    for statement in found:
        match = re.match(
            r"create (?:or replace )?view ([\w.]+)(.*?)\bas\b", statement.bare.lstrip(), re.DOTALL
        )
        if match and not re.search(r"security_invoker\s*=\s*(true|on)", match[2]):
            yield statement.line, f"the view {match[1]} needs `with (security_invoker = true)`"


def no_session_date(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """The date of the session's time zone is nobody's wedding day."""
    for statement in found:
        if match := re.search(r"\bcurrent_date\b", statement.bare):
            line = statement.line + statement.bare.count("\n", 0, match.start())
            yield line, "current_date depends on the session's zone; take the venue's"


def tidy_text(found: list[Statement]) -> Iterator[tuple[int, str]]:
    """No tabs, no spaces at the end of a line."""
    for statement in found:
        for number, line in enumerate(statement.text.splitlines()):
            if "\t" in line or line != line.rstrip():
                yield statement.line + number, "a tab, or spaces at the end of the line"


RULES: tuple[Rule, ...] = (
    lower_case,
    pinned_search_path,
    protected_tables,
    addressed_policies,
    invoker_views,
    no_session_date,
    tidy_text,
)


def _outside_body(text: str) -> str:
    return re.sub(r"(\$\w*\$).*?\1", "", text, flags=re.DOTALL)


def lint(text: str, name: str) -> list[Finding]:
    """All findings in one file."""
    found = statements(text)
    return [Finding(name, line, reason) for rule in RULES for line, reason in rule(found)]


def main() -> int:
    """Prints the findings in all our files; 1 when there are any."""
    files = sorted(SOURCE.rglob("*.sql"))
    findings = [
        finding
        for file in files
        for finding in lint(file.read_text(encoding="utf-8"), str(file.relative_to(SOURCE)))
    ]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.stdout.write(f"SQL: {len(findings)} findings in {len(files)} files\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
