"""Two people change the same thing in the pages: nobody undoes what he has not seen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import Surfer, fields_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR

ROSA, TOM, _ = STAR.people
FAR = (datetime.now(UTC) + timedelta(days=200)).date()
TITLE = "Somebody changed this while you were typing"
CHECK = {
    "display_name": "Our shop", "endpoint_url": "http://127.0.0.1:80/", "seconds": "0.8",
    "interval": "60", "codes": "200", "certificate_days": "14", "judged_over": "86400",
    "errors_percent": "5", "opens_incidents": "yes",
}  # fmt: skip
HEARTBEAT = {
    "name": "Nightly export", "service_name": "export", "way": "period", "period": "24",
    "period_unit": "hours", "time_zone": "Europe/London", "grace": "20", "grace_unit": "minutes",
    "severity": "critical",
}  # fmt: skip
WORK = {
    "name": "New till", "reason": "The till is exchanged", "way": "weekly", "weekdays": ["7"],
    "starts_time": "23:00", "ends_time": "23:30", "time_zone": "Europe/London",
    "every_weeks": "1", "label": "service", "operator": "=", "value": "till", "is_active": "yes",
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("conflicts")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest.fixture(autouse=True)
def nothing_of_others(stage: Stage) -> None:
    """Names are unique, whatever order the tests come in."""
    for table in (
        "service_health_checks",
        "apm_heartbeats",
        "apm_alerts",
        "apm_maintenance_windows",
        "apm_weddings",
    ):
        stage.execute(f"delete from public.{table}")


def made(surfer: Surfer, path: str, **values: Any) -> str:
    """Where what was made is."""
    answer = surfer.post(path, **values)
    return str(answer.headers["location"]).partition("?")[0]


def a_rule(stage: Stage, rosa: Surfer) -> str:
    form = fields_in(rosa.http.get("/rules/new?kind=threshold").text)
    form |= {"alert_name": "Slow till", "metric_pattern": "till.time", "threshold_value": "2"}
    return made(rosa, "/rules/new", **form, do="save")


def a_check(stage: Stage, rosa: Surfer) -> str:
    return made(rosa, "/checks/own", **CHECK)


def a_heartbeat(stage: Stage, rosa: Surfer) -> str:
    rosa.post("/heartbeats/new", 200, **HEARTBEAT)
    (row,) = stage.execute("select id from apm_heartbeats where name = 'Nightly export'")
    return f"/heartbeats/{row['id']}"


def some_work(stage: Stage, rosa: Surfer) -> str:
    shown = rosa.post("/planned-work/new", 200, **WORK)
    return made(rosa, "/planned-work/new", **fields_in(shown.text))


def a_wedding(stage: Stage, rosa: Surfer) -> str:
    return made(
        rosa, "/weddings/new", on=FAR.isoformat(), couple="Amara Cole & Ruth Bell", venue="Cora"
    )


FORMS = {
    "rule": (a_rule, "alert_name", "description", "Name of the rule"),
    "check": (a_check, "display_name", "body_contains", "What you call it"),
    "heartbeat": (a_heartbeat, "name", "description", "What is it called"),
    "work": (some_work, "name", "reason", "What is done"),
    "wedding": (a_wedding, "venue", "couple", "Venue"),
}


def save(surfer: Surfer, path: str, form: dict[str, Any]) -> Any:
    """Saves a form as a browser would; where something is shown first, then that, too."""
    answer = surfer.post(f"{path}/edit", None, **form, do="save")
    if answer.status_code == 200:
        answer = surfer.post(f"{path}/edit", None, **fields_in(answer.text))
    return answer


def opened_form(surfer: Surfer, path: str) -> dict[str, Any]:
    answer = surfer.http.get(f"{path}/edit")
    assert answer.status_code == 200, plain(answer.text)[:2000]
    form = fields_in(answer.text)
    assert form["stood"], "the form carries what stood in it"
    return form


@pytest.mark.parametrize("noun", FORMS)
def test_the_second_sees_what_changed_keeps_what_he_typed_and_chooses(
    stage: Stage, noun: str
) -> None:
    make, theirs, his, label = FORMS[noun]
    with surfing(stage, ROSA) as rosa, surfing(stage, TOM) as tom:
        path = make(stage, rosa)
        at_rosa, at_tom = opened_form(rosa, path), opened_form(tom, path)
        before = at_tom[theirs][0]
        saved = save(rosa, path, at_rosa | {theirs: "Changed by Rosa"})
        assert saved.status_code == 303, plain(saved.text)[:2000]

        refused = tom.post(f"{path}/edit", 409, **(at_tom | {his: "Typed by <Tom>"}), do="save")
        words = plain(refused.text)
        assert TITLE in words
        assert f"{label} now: Changed by Rosa yours: {before}" in words
        assert "yours: Typed by <Tom>" in words
        kept = fields_in(refused.text)
        assert (kept[his], kept[theirs]) == (["Typed by <Tom>"], [before])
        now = opened_form(tom, path)
        assert now[theirs] == ["Changed by Rosa"], "nothing was undone"
        assert now[his] == at_rosa[his]

        # he looks at it, and wants his own all the same
        chosen = save(tom, path, kept)
        assert chosen.status_code == 303, plain(chosen.text)[:2000]
        now = opened_form(tom, path)
        assert (now[his], now[theirs]) == (["Typed by <Tom>"], [before])

        # Rosa has not looked since, and is asked in her turn
        again = rosa.post(f"{path}/edit", 409, **(at_rosa | {theirs: "Once more"}), do="save")
        assert TITLE in plain(again.text)


@pytest.mark.parametrize("noun", ["check", "heartbeat"])
def test_what_engines_write_is_no_reason_to_ask(stage: Stage, noun: str) -> None:
    make, name, _, _ = FORMS[noun]
    with surfing(stage, ROSA) as rosa:
        path = make(stage, rosa)
        form = opened_form(rosa, path)
        stage.execute(
            "update service_health_checks set status = 'healthy', status_reason = 'It takes 1 s', "
            "status_since = now(), last_check_at = now(), updated_at = now()"
        )
        stage.execute("update apm_heartbeats set updated_at = now(), heard_count = 7")
        assert save(rosa, path, form | {name: "Another name"}).status_code == 303


def test_a_fault_keeps_the_mark_of_what_was_opened(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa, surfing(stage, TOM) as tom:
        path = a_heartbeat(stage, rosa)
        at_tom = opened_form(tom, path)
        rosa.post(f"{path}/edit", **(opened_form(rosa, path) | {"grace": "9"}))
        faulty = tom.post(f"{path}/edit", 422, **(at_tom | {"name": ""}))
        mended = fields_in(faulty.text) | {"name": "Mended"}
        assert mended["stood"] == at_tom["stood"]
        assert TITLE in plain(tom.post(f"{path}/edit", 409, **mended).text)
