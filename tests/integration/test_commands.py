"""The commands as a person types them: help, errors, facts as JSON, exit codes."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.postgres import Database
from wedsync_apm import cli
from wedsync_apm.config import PREFIX
from wedsync_apm.organizations.passwords import check_password
from wedsync_apm.rules.starter import starter_rules
from wedsync_apm.runtime import Runtime, write_runtime

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; gives back exit code, output and errors."""
    for name in list(cli_environment()):
        monkeypatch.delenv(name)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wedsync-apm", *arguments])
        try:
            cli.main()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(bool(exc.code))
        else:
            code = 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def cli_environment() -> list[str]:
    return [name for name in os.environ if name.startswith(PREFIX)]


@pytest.fixture
def here(database: Database, tmp_path: Path) -> tuple[str, ...]:
    """The options that lead to a prepared database."""
    (tmp_path / "secrets.json").write_text(
        json.dumps(
            {f"{role}_password": password for role, password in database.passwords.items()}
            | {"jwt_secret": "x" * 48}
        )
    )
    (tmp_path / "secrets.json").chmod(0o600)
    return ("--data-dir", str(tmp_path), "--database-url", database.owner)


COMMANDS = [
    "up", "serve", "work", "migrate", "doctor", "simulate", "org", "user", "operator", "key",
    "token", "health-report", "audit", "freeze",
]  # fmt: skip


def test_help_names_every_command_and_version_is_told(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name}\s+\S", out, re.MULTILINE), name
    assert run("--version")[:2] == (0, "0.1.0\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--data-dir" in out or "Commands:" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("key", "create", "--scope", "bogus"),
        ("key", "create", "--scope", "read"),
        ("key", "create", "--scope", "read", "--platform"),
        ("org", "create", "--name", "x"),
        ("migrate", "down"),
        ("up", "--port", "99999"),
        ("up", "--demo", "--host", "192.0.2.1"),
        ("simulate", "--quiet", "-1"),
    ],
)
def test_wrong_usage_ends_with_two_and_a_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert err.strip()
    assert "Traceback" not in err


def test_without_a_server_it_is_said_where_one_was_looked_for(run: Run, tmp_path: Path) -> None:
    code, _, err = run("org", "list", "--data-dir", str(tmp_path))
    assert code == 2
    assert str(tmp_path) in err
    assert "wedsync-apm up" in err
    gone = Runtime("http://127.0.0.1:1", "postgresql://x", str(tmp_path), {"up": 2**22 - 1}, "0")
    write_runtime(tmp_path, gone)
    code, _, err = run("org", "list", "--data-dir", str(tmp_path))
    assert code == 2
    assert str(2**22 - 1) in err


def test_a_database_that_does_not_answer_is_named(run: Run, tmp_path: Path) -> None:
    url = "postgresql://postgres:secret-word@127.0.0.1:1/apm"
    code, _, err = run("migrate", "status", "--data-dir", str(tmp_path), "--database-url", url)
    assert code == 1
    assert "apm at 127.0.0.1:1" in err
    assert "secret-word" not in err


def test_from_an_organization_to_a_token(
    run: Run, here: tuple[str, ...], database: Database
) -> None:
    wanted = uuid4()
    made = ("--name", "Studio", "--timezone", "Europe/Paris", "--vendor-type", "florist")
    code, out, _ = run("org", "create", "--id", str(wanted), *made, *here)
    assert (code, out.strip()) == (0, str(wanted))
    assert run("org", "create", "--id", str(wanted), *made, *here)[0] == 1
    [listed] = json.loads(run("org", "list", "--json", *here)[1])
    assert (listed["id"], listed["time_zone"]) == (str(wanted), "Europe/Paris")

    person = ("--email", "Owner@Studio.example", "--password", "long enough", "--role", "OWNER")
    assert run("user", "create", *person, "--organization", str(wanted), *here)[0] == 0
    assert run("user", "create", *person, "--organization", str(wanted), *here)[0] == 2
    code, out, _ = run("token", "create", "--user", "owner@studio.example", *here)
    assert code == 0
    assert out.count(".") == 2

    code, out, _ = run("key", "create", "--organization", str(wanted), "--scope", "ingest", *here)
    assert code == 0
    secret = out.strip()
    assert run("key", "create", "--platform", "--scope", "ingest", *here)[0] == 0
    unknown = ("--organization", str(uuid4()), "--scope", "read")
    code, _, err = run("key", "create", *unknown, *here)
    assert code == 1
    assert "org list" in err

    assert run("user", "disable", "--email", "owner@studio.example", *here)[0] == 0
    assert run("token", "create", "--user", "owner@studio.example", *here)[0] == 2

    with psycopg.connect(database.owner) as cx:
        # kept as hashes only, and in the audit log by the name of the command line
        keys = cx.execute("select is_platform, prefix from apm_api_keys order by 1").fetchall()
        assert [is_platform for is_platform, _ in keys] == [False, True]
        assert secret.startswith(keys[0][1])
        dump = cx.execute("select string_agg(k::text, '') from apm_api_keys as k").fetchone()
        assert dump is not None
        assert secret not in dump[0]
        actors = cx.execute("select distinct actor from apm_audit_log").fetchall()
        assert actors == [("command line",)]


def test_a_second_organization_stands_beside_the_first(
    run: Run, here: tuple[str, ...], database: Database
) -> None:
    ids = []
    for name in ("First", "Second"):
        made = ("--name", name, "--timezone", "UTC", "--vendor-type", "dj")
        ids.append(run("org", "create", *made, *here)[1].strip())
    email = ("--email", "both@studio.example")
    first = ("--password", "long enough", "--organization", ids[0])
    assert run("user", "create", *email, *first, *here)[0] == 0
    more = ("--organization", ids[1], "--role", "VIEWER")
    assert run("user", "create", *email, *more, *here)[0] == 0
    with psycopg.connect(database.owner) as cx:
        assert cx.execute("select organization_id, role from user_profiles").fetchall() == [
            (UUID(ids[0]), "MEMBER")
        ]
        assert cx.execute("select organization_id, role from apm_memberships").fetchall() == [
            (UUID(ids[1]), "VIEWER")
        ]


def test_a_password_that_was_made_is_shown_once_and_works(
    run: Run, here: tuple[str, ...], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    operator = ("--email", "dba@platform.example", "--role", "dba")
    code, out, _ = run("operator", "create", *operator, "--json", *here)
    assert code == 0
    password = json.loads(out)["password"]
    with psycopg.connect(database.owner) as cx:
        row = cx.execute("select password_hash from apm_private.users").fetchone()
        assert row is not None
        assert check_password(row[0], password)
        assert cx.execute("select role from apm_operators").fetchall() == [("dba",)]
    code, _, err = run(
        "user", "password", "--email", "dba@platform.example", "--password", "short", *here
    )
    assert code == 2
    assert "10" in err


def test_migrate_and_audit_answer_with_facts(run: Run, here: tuple[str, ...]) -> None:
    code, out, _ = run("migrate", "status", "--json", *here)
    assert code == 0
    assert {line["state"] for line in json.loads(out)} == {"applied"}
    assert run("migrate", "verify", *here)[0] == 0
    assert run("migrate", "up", *here)[1].strip() == "Nothing to do."
    for subject in ("rls", "indexes", "privileges"):
        code, out, _ = run("audit", subject, "--json", *here)
        assert code == 0
        assert json.loads(out)["rows"]


def test_drift_is_a_finding(run: Run, here: tuple[str, ...], database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as cx:
        cx.execute("alter table apm_alerts disable row level security")
    code, out, _ = run("migrate", "verify", *here)
    assert code == 1
    assert "table public.apm_alerts" in out
    assert run("audit", "rls", *here)[0] == 1
    code, out, _ = run("doctor", "--json", *here)
    assert "APM-W001" in {found["code"] for found in json.loads(out)}


def test_the_report_ends_with_one_unless_all_passed(
    run: Run, here: tuple[str, ...], tmp_path: Path
) -> None:
    # no engine runs here, and fsync is off in tests
    target = tmp_path / "report.html"
    code, out, _ = run("health-report", "--format", "html", "--out", str(target), *here)
    assert code == 1
    assert "NEEDS ATTENTION" in out
    assert "<title>Health report: NEEDS ATTENTION" in target.read_text()
    code, out, _ = run("health-report", "--format", "json", *here)
    assert code == 1
    assert json.loads(out)["verdict"] == "NEEDS ATTENTION"
    assert run("health-report", "--out", str(tmp_path / "no" / "where"), *here)[0] == 2


def test_the_doctor_numbers_what_is_wrong(
    run: Run, here: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEDSYNC_APM_PROT", "1")
    (tmp_path / "secrets.json").chmod(0o644)
    code, out, _ = run("doctor", *here)
    assert code == 0
    assert "APM-W002" in out
    assert "chmod 600" in out
    secrets = json.loads((tmp_path / "secrets.json").read_text()) | {"apm_engine_password": "no"}
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    code, out, _ = run("doctor", *here)
    assert code == 1
    assert "APM-E004" in out


def test_an_organization_may_begin_with_the_rules_of_its_type(
    run: Run, here: tuple[str, ...], database: Database
) -> None:
    made = ("--timezone", "Europe/Paris", "--vendor-type", "florist")
    assert run("org", "create", "--name", "Bare", *made, *here)[0] == 0
    code, out, _ = run("org", "create", "--name", "Studio", *made, "--starter-rules", *here)
    assert code == 0
    with psycopg.connect(database.owner) as cx:
        rows = cx.execute("select distinct organization_id::text, alert_name from apm_alerts")
        assert set(rows.fetchall()) == {
            (out.strip(), rule.alert_name) for rule in starter_rules("florist")
        }
