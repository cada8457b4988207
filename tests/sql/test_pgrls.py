"""The independent judge of our policies: nothing that pgrls finds is left unexplained."""

import json
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.support.postgres import Database

EXPLAINED: Final[list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "pgrls_explained.toml").read_text(encoding="utf-8")
)["explained"]
PGRLS: Final = Path(sys.executable).parent / "pgrls"


def findings(conninfo: str) -> list[dict[str, str]]:
    command = [
        str(PGRLS),
        "lint",
        "--database-url",
        conninfo,
        "--format",
        "json",
        "--fail-on",
        "info",
    ]
    done = subprocess.run(
        [*command, "--schemas", "public,apm_private,apm_partitions"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["violations"]
    return found


def explains(entry: dict[str, Any], finding: dict[str, str]) -> bool:
    return entry["rule"] == finding["rule_id"] and any(
        fnmatchcase(finding["location"], pattern) for pattern in entry["locations"]
    )


def test_pgrls_finds_nothing_that_is_not_explained(database: Database) -> None:
    found = findings(database.owner)
    assert len(found) > 100, "it must have looked"
    unexplained = [
        f"{f['rule_id']} {f['location']}: {f['message']}"
        for f in found
        if not any(explains(entry, f) for entry in EXPLAINED)
    ]
    assert not unexplained, "\n".join(unexplained)
    idle = [
        (entry["rule"], pattern)
        for entry in EXPLAINED
        for pattern in entry["locations"]
        if not any(explains({**entry, "locations": [pattern]}, f) for f in found)
    ]
    assert idle == []


def test_pgrls_would_see_a_hole(database: Database) -> None:
    with psycopg.connect(database.owner) as cx:
        cx.execute("create table public.apm_hole (organization_id uuid, secret text)")
        cx.execute("grant select on public.apm_hole to anon")
        cx.execute("alter table public.apm_dashboards disable row level security")
        cx.execute("create policy everybody on public.apm_alerts for select using (true)")
    unexplained = {
        f["location"]
        for f in findings(database.owner)
        if not any(explains(entry, f) for entry in EXPLAINED)
    }
    assert {
        "public.apm_hole",
        "public.apm_dashboards",
        "public.apm_alerts.everybody",
    } <= unexplained
