"""Quiet times as people see, ask for, answer and end them, on a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import CLAIRE, OPERATORS, STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]
LONDON = ZoneInfo("Europe/London")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("quiet")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    """No quiet times, no open problems, and no wedding but those that a test makes."""
    stage.execute("delete from apm_silences")
    stage.execute("delete from apm_maintenance_windows")
    stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")
    stage.execute("delete from apm_weddings")
    stage.execute("delete from clients")


def now() -> datetime:
    return datetime.now(UTC)


def wall(at: datetime) -> str:
    return at.astimezone(LONDON).strftime("%Y-%m-%dT%H:%M")


def marry(stage: Stage, days: int, couple: str = "Ada Quill & Ben Ash") -> None:
    stage.execute(
        "with w as (insert into apm_weddings (organization_id, couple_initials, wedding_date, "
        "time_zone) values (%(o)s, 'A & B', (now() at time zone 'Europe/London')::date + %(d)s, "
        "'Europe/London') returning *) insert into apm_wedding_people (organization_id, "
        "wedding_id, couple_names) select organization_id, id, %(couple)s from w",
        o=STAR.id,
        d=days,
        couple=couple,
    )


def silence(**more: Any) -> dict[str, Any]:
    return {
        "label": ["service"],
        "operator": ["="],
        "value": ["wedding_forms"],
        "ends_at": wall(now() + HOUR),
        "starts_at": "",
        "reason": "New till",
        "owner": "",
    } | more


def only(stage: Stage, table: str) -> dict[str, Any]:
    (row,) = stage.execute(f"select * from {table}")
    return row


def test_from_an_incident_to_the_end(stage: Stage) -> None:
    incident: UUID = stage.break_the_form()
    with surfing(stage, ROSA) as rosa:
        link = f"/silences/new?incident={incident}"
        assert link in rosa.http.get(f"/incidents/{incident}").text
        form = rosa.http.get(link).text
        assert "holds back 1 open problem and is about 1 rule" in plain(form)
        sent = silence(label=["rule"], value=[field_in(form, "value")], seen=field_in(form, "seen"))
        made = rosa.post("/silences/new", **sent)
        page = rosa.get(made.headers["location"])
        assert "Held back. It ends by itself." in page
        assert "“New till”, asked by Rosa Whitlock" in page
        listed = rosa.get("/silences")
        assert "Nobody is told about the rule" in listed
        held = rosa.get(f"/incidents/{incident}")
        assert "Rosa Whitlock asked for quiet, because “New till”" in held
        silence_id = only(stage, "apm_silences")["id"]
        rosa.post(f"/silences/{silence_id}/end")
        assert "Ended early by Rosa Whitlock" in rosa.get(f"/silences/{silence_id}")
        assert "asked for quiet" not in rosa.get(f"/incidents/{incident}")
        late = rosa.post(f"/silences/{silence_id}/end")
        assert "Somebody was faster" in rosa.get(late.headers["location"])


def test_nothing_is_saved_before_it_was_seen(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        shown = rosa.post("/silences/new", 200, **silence())
        assert "Right now it fits no open problem, and is about 1 rule" in plain(shown.text)
        assert not stage.execute("select from apm_silences")
        mark = field_in(shown.text, "seen")
        # another matcher is not what was seen
        again = rosa.post("/silences/new", 200, **silence(value=["photo_galleries"], seen=mark))
        assert not stage.execute("select from apm_silences")
        assert field_in(again.text, "seen") != mark
        # a later end of the same is
        rosa.post("/silences/new", **silence(ends_at=wall(now() + 2 * HOUR), seen=mark))
        assert only(stage, "apm_silences")["reason"] == "New till"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"value": [""]}, "at least one line needs a value"),
        ({"ends_at": "soon"}, "Enter a day and a time"),
        ({"ends_at": "2020-01-01T10:00"}, "This time is over already"),
        ({"reason": ""}, "Say why, in a few words"),
        ({"reason": "x" * 1001}, "At most 1,000 characters"),
        ({"starts_at": "2031-01-01T10:00"}, "The end has to come after the beginning"),
        ({"ends_at": "2031-01-01T10:00"}, "At most 90 days"),
        ({"operator": ["=~"], "value": ["(?i)x"]}, "That does not work: an expression has"),
        ({"label": ["host"]}, "That does not work: a label is"),
    ],
)
def test_a_fault_stands_beside_its_field_with_all_that_was_typed(
    stage: Stage, wrong: dict[str, Any], words: str
) -> None:
    with surfing(stage, ROSA) as rosa:
        typed = silence(owner="Priya <b>", **wrong) if "owner" not in wrong else silence(**wrong)
        answer = rosa.post("/silences/new", 422, **typed)
        assert words in plain(answer.text)
        assert 'aria-invalid="true"' in answer.text
        assert field_in(answer.text, "owner") == "Priya <b>"
        assert not stage.execute("select from apm_silences")


def test_over_a_wedding_it_names_it_and_waits_for_a_second_person(stage: Stage) -> None:
    marry(stage, 0)
    with surfing(stage, ROSA) as rosa, surfing(stage, CLAIRE, STAR.id) as claire:
        shown = rosa.post("/silences/new", 200, **silence())
        assert "It lies over a wedding. It waits until a second person" in plain(shown.text)
        assert "Ada Quill & Ben Ash" in plain(shown.text)
        assert "Ask a second person" in plain(shown.text)
        rosa.post("/silences/new", **silence(seen=field_in(shown.text, "seen")))
        row = only(stage, "apm_silences")
        path = f"/silences/{row['id']}"
        own = rosa.get(path)
        assert "You asked for it, so somebody else has to say yes." in own
        assert "Yes, hold it back" not in own
        assert rosa.post(f"{path}/approve", None).status_code == 403
        assert "waits for your yes or no" not in rosa.get("/")
        for page in ("/", "/inbox"):
            assert f'href="{path}"' in claire.http.get(page).text
            assert "1 quiet time over a wedding waits for your yes or no" in claire.get(page)
        assert "Is it all right that nobody is told during this?" in claire.get(path)
        answer = claire.post(f"{path}/approve")
        assert "You said yes." in claire.get(answer.headers["location"])
        assert only(stage, "apm_silences")["approved_by_name"] == "Claire Dubois"
        assert "waits for your yes or no" not in claire.get("/")


def test_the_second_person_says_no(stage: Stage) -> None:
    marry(stage, 0)
    with surfing(stage, ROSA) as rosa, surfing(stage, OPERATORS[0]) as nadia:
        shown = rosa.post("/silences/new", 200, **silence())
        rosa.post("/silences/new", **silence(seen=field_in(shown.text, "seen")))
        path = f"/silences/{only(stage, 'apm_silences')['id']}"
        # the operator on call is everybody's second person, and reads no names
        assert "Ada Quill" not in nadia.get(path)
        assert "A & B" not in nadia.get(path)
        assert "a couple, the day is told to members only" in nadia.get(path)
        assert "waits for your yes or no" in nadia.get("/")
        nadia.post(f"{path}/refuse")
        assert "It never began" in rosa.get(path)
        assert only(stage, "apm_silences")["expired_by_name"] == "Nadia Petrova"


def test_a_viewer_looks_and_a_stranger_finds_nothing(stage: Stage) -> None:
    marry(stage, 0)
    with surfing(stage, ROSA) as rosa:
        shown = rosa.post("/silences/new", 200, **silence())
        rosa.post("/silences/new", **silence(seen=field_in(shown.text, "seen")))
    path = f"/silences/{only(stage, 'apm_silences')['id']}"
    with surfing(stage, INES) as ines, surfing(stage, STRANGER) as stranger:
        assert "Ada Quill" not in ines.get(path)
        assert "/silences/new" not in ines.http.get("/silences").text
        ines.get("/silences/new", 403)
        for verb in ("approve", "refuse", "end"):
            assert ines.post(f"{path}/{verb}", None).status_code == 403
            assert stranger.post(f"{path}/{verb}", None).status_code == 404
        assert ines.post("/silences/new", None, **silence()).status_code == 403
        stranger.get(path, 404)
        assert "wedding_forms" not in stranger.get("/silences")
        stranger.get("/silences/new?incident=nonsense", 404)
        forged = ines.http.post(f"{path}/end", data={"csrf": "forged"})
        assert forged.status_code == 403
    assert only(stage, "apm_silences")["expired_at"] is None


def work(**more: Any) -> dict[str, Any]:
    return {
        "name": "New till",
        "reason": "The old one is slow",
        "way": "weekly",
        "weekdays": ["6"],
        "starts_time": "23:00",
        "ends_time": "02:00",
        "time_zone": "Europe/London",
        "every_weeks": "2",
        "first_day": "2030-10-10",
        "last_day": "",
        "label": ["service"],
        "operator": ["="],
        "value": [""],
        "is_active": "yes",
    } | more


def test_planned_work_past_midnight_every_second_week(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        shown = rosa.post("/planned-work/new", 200, **work())
        text = plain(shown.text)
        # by the clock on the wall: the night in which the clock is set back has an hour more
        for line in (
            "Sat 12 October 23:00 until Sun 02:00, 180 min",
            "Sat 26 October 23:00 until Sun 02:00, 240 min",
            "Sat 9 November 23:00 until Sun 02:00",
            "Sat 23 November 23:00 until Sun 02:00",
            "Sat 7 December 23:00 until Sun 02:00",
        ):
            assert line.replace("180 min", "3 h").replace("240 min", "4 h") in text
        made = rosa.post("/planned-work/new", **work(seen=field_in(shown.text, "seen")))
        page = rosa.get(made.headers["location"])
        assert (
            "New till: nobody is told about anything every second week on Saturday, 23:00 to "
            "02:00 the next day, by the clock in Europe/London."
        ) in page
        path = f"/planned-work/{only(stage, 'apm_maintenance_windows')['id']}"
        edit = rosa.http.get(f"{path}/edit").text
        assert field_in(edit, "starts_time") == "23:00"
        changed = work(starts_time="22:00", weekdays=["6", "7"])
        again = rosa.post(f"{path}/edit", 200, **changed)
        rosa.post(f"{path}/edit", **changed, seen=field_in(again.text, "seen"))
        assert only(stage, "apm_maintenance_windows")["weekdays"] == [6, 7]
        rosa.post(f"{path}/delete")
        assert not stage.execute("select from apm_maintenance_windows")


def test_planned_work_over_a_wedding_asks_a_second_person(stage: Stage) -> None:
    marry(stage, 3)
    day = now().astimezone(LONDON) + timedelta(days=3)
    values = work(
        way="once",
        starts_at=f"{day:%Y-%m-%d}T08:00",
        ends_at=f"{day:%Y-%m-%d}T20:00",
        value=["wedding_forms"],
    )
    with surfing(stage, ROSA) as rosa, surfing(stage, CLAIRE, STAR.id) as claire:
        shown = rosa.post("/planned-work/new", 200, **values)
        assert "Ada Quill & Ben Ash" in plain(shown.text)
        assert "During 1 wedding people are told as always" in plain(shown.text)
        rosa.post("/planned-work/new", **values, seen=field_in(shown.text, "seen"))
        path = f"/planned-work/{only(stage, 'apm_maintenance_windows')['id']}"
        assert rosa.post(f"{path}/approve", None).status_code == 403
        assert f'href="{path}"' in claire.http.get("/").text
        assert "Waits for a second person" in claire.get("/silences")
        claire.post(f"{path}/approve")
        assert only(stage, "apm_maintenance_windows")["approved_by_name"] == "Claire Dubois"
        assert "Waits for a second person" not in claire.get("/silences")
        claire.get(f"{path}/edit", 403)


def test_the_second_person_says_no_to_planned_work_and_why(stage: Stage) -> None:
    marry(stage, 3)
    day = now().astimezone(LONDON) + timedelta(days=3)
    values = work(
        way="once",
        starts_at=f"{day:%Y-%m-%d}T08:00",
        ends_at=f"{day:%Y-%m-%d}T20:00",
        value=["wedding_forms"],
    )
    with (
        surfing(stage, ROSA) as rosa,
        surfing(stage, TOM) as tom,
        surfing(stage, INES) as ines,
        surfing(stage, STRANGER) as stranger,
    ):
        shown = rosa.post("/planned-work/new", 200, **values)
        rosa.post("/planned-work/new", **values, seen=field_in(shown.text, "seen"))
        path = f"/planned-work/{only(stage, 'apm_maintenance_windows')['id']}"
        assert "No, tell people" in tom.get(path)
        assert "No, tell people" not in rosa.get(path)
        assert "No, tell people" not in ines.get(path)
        for other, status in ((rosa, 403), (ines, 403), (stranger, 404)):
            assert other.post(f"{path}/refuse", None, reason="x").status_code == status
        assert tom.http.post(f"{path}/refuse", data={"reason": "x"}).status_code == 403
        empty = tom.post(f"{path}/refuse", 422, reason="  ")
        assert "Say in a few words why not" in plain(empty.text)
        assert only(stage, "apm_maintenance_windows")["refused_at"] is None

        answer = tom.post(f"{path}/refuse", reason="The <church> has no other router.")
        assert "You said no. People are told as always." in tom.get(answer.headers["location"])
        row = only(stage, "apm_maintenance_windows")
        assert row["refused_by_name"] == TOM.name
        # whoever planned it reads it, in the list and on its page
        said = f"{TOM.name} said no: ‘The <church> has no other router.’"
        assert said in rosa.get("/silences")
        page = rosa.get(path)
        assert said in page
        assert f"{TOM.name} said no at" in page
        assert "Waits for a second person" not in page
        assert "No, tell people" not in tom.get(path), "it was answered"
        late = tom.post(f"{path}/approve")
        assert "Somebody was faster" in tom.get(late.headers["location"])
        assert only(stage, "apm_maintenance_windows")["approved_at"] is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "Give it a name"),
        ({"weekdays": []}, "Choose at least one day"),
        ({"starts_time": "25:00"}, "Enter a time like 23:00"),
        ({"time_zone": "Mars/Olympus"}, "Enter a zone like Europe/London"),
        ({"first_day": ""}, "The weeks are counted from this day"),
        ({"last_day": "2030-01-01"}, "lies before first_day"),
        ({"way": "once", "starts_at": "x", "ends_at": "y"}, "Enter a day and a time"),
    ],
)
def test_what_is_no_plan_is_told_beside_its_field(
    stage: Stage, wrong: dict[str, Any], words: str
) -> None:
    with surfing(stage, ROSA) as rosa, surfing(stage, INES) as ines:
        answer = rosa.post("/planned-work/new", 422, **work(**wrong))
        assert words in plain(answer.text)
        assert ines.post("/planned-work/new", None, **work(**wrong)).status_code == 403
    assert not stage.execute("select from apm_maintenance_windows")


def test_operators_and_members_see_only_what_is_theirs(stage: Stage) -> None:
    with surfing(stage, TOM) as tom, surfing(stage, STRANGER) as stranger:
        shown = tom.post("/planned-work/new", 200, **work())
        made = tom.post("/planned-work/new", **work(seen=field_in(shown.text, "seen")))
        path = made.headers["location"].partition("?")[0]
        stranger.get(path, 404)
        for verb in ("edit", "delete", "approve", "refuse"):
            assert stranger.post(f"{path}/{verb}", None, **work()).status_code == 404
    assert only(stage, "apm_maintenance_windows")["name"] == "New till"
