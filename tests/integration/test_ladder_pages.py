"""Ladders through the pages: who is called, the form without scripts, two who change the same."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("ladders")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    for table in ("apm_escalation_policies", "apm_on_call_schedules", "apm_contact_methods"):
        stage.execute(f"delete from {table} where organization_id = %(o)s", o=STAR.id)
    for table in ("apm_memberships", "user_profiles"):
        stage.execute(f"update {table} set role = 'MEMBER' where user_id = %(u)s", u=TOM.id)


def contact(stage: Stage, name: str, user_id: UUID | None, channel: str = "email") -> str:
    (row,) = stage.execute(
        "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
        "secret_ciphertext, verified_at) values (%(o)s, %(u)s, %(name)s, %(channel)s, "
        "'mail@fern.example', 'x', now()) returning id",
        o=STAR.id,
        u=user_id,
        name=name,
        channel=channel,
    )
    return str(row["id"])


def ladders(stage: Stage) -> list[dict[str, Any]]:
    return stage.execute(
        "select * from apm_escalation_policies where organization_id = %(o)s order by name",
        o=STAR.id,
    )


def steps(stage: Stage) -> list[dict[str, Any]]:
    return stage.execute(
        "select * from apm_escalation_steps where organization_id = %(o)s order by position",
        o=STAR.id,
    )


def form(*typed: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A ladder's form; each step has its fields without its number."""
    fields = {"name": "Saturdays", "is_default": "yes", "repeats": "1", "count": str(len(typed))}
    for n, step in enumerate(typed, start=1):
        shown = {"unit": "minutes", "from_time": "09:00", "until_time": "18:00", **step}
        fields |= {f"s{n}_{name}": value for name, value in shown.items()}
    return fields | more


def test_a_ladder_is_made_read_and_changed_without_scripts(stage: Stage) -> None:
    slack = contact(stage, "Workshop", None, "slack")
    contact(stage, "Rosa’s e-mail", ROSA.id)
    with surfing(stage, ROSA) as rosa:
        page = rosa.get("/ladders")
        assert "There is no ladder yet" in page
        assert "Everybody" in page or "everybody" in page
        made = rosa.post(
            "/ladders/new",
            **form(
                {"delay": "0", "people": [str(ROSA.id)], "level": "team_lead"},
                {
                    "delay": "8",
                    "wedding_delay": "45",
                    "wedding_unit": "seconds",
                    "contacts": [slack],
                    "people": [str(TOM.id)],
                    "weddings": "only",
                    "severity": "critical",
                    "hours": "person",
                    "from_time": "22:00",
                    "until_time": "06:00",
                    "days": ["5", "6"],
                },
                {"delay": ""},
            ),
        )
        page = rosa.get(made.headers["location"])
        assert "Saved. It counts for what begins from now on." in page
        assert f"At once: {ROSA.name}" in page
        assert "After 8 min, on wedding days 45 s:" in page
        assert "Workshop (Slack)" in page
        assert "Only while a wedding is under way" in page
        assert "Friday, Saturday 22:00 to 06:00 by the clock of whoever is told" in page
        assert "If nobody answers, once more from the beginning, then our own people." in page
        assert "Now: Rosa" in page, "and who would be called at this moment"
        first, second = steps(stage)
        assert (first["level"], first["user_ids"]) == ("team_lead", [ROSA.id])
        assert second["delay"] == timedelta(minutes=8)
        assert second["wedding_delay"] == timedelta(seconds=45)
        assert (second["weddings"], second["severity_min"]) == ("only", "critical")
        assert second["hours_weekdays"] == [5, 6]
        (row,) = ladders(stage)
        url = f"/ladders/{row['id']}/edit"
        shown = rosa.http.get(url).text
        assert re.search(r'name="s2_delay" value="8"', shown)
        assert re.search(r'name="s2_wedding_delay" value="45"', shown)
        rosa.post(
            url, **form({"delay": "1.5", "people": [str(TOM.id)]}), stood=field_in(shown, "stood")
        )
        (only,) = steps(stage)
        assert only["delay"] == timedelta(seconds=90)
        rosa.post(f"/ladders/{row['id']}/delete")
        assert ladders(stage) == []


def test_buttons_that_change_the_form_alone_save_nothing(stage: Stage) -> None:
    typed = form({"delay": "1", "people": [str(ROSA.id)]}, {"delay": "2", "people": [str(TOM.id)]})
    with surfing(stage, ROSA) as rosa:
        moved = rosa.post("/ladders/new", 200, **typed, up="2").text
        assert field_in(moved, "s1_delay") == "2"
        assert field_in(moved, "s2_delay") == "1"
        more = rosa.post("/ladders/new", 200, **typed, more="yes").text
        assert field_in(more, "count") == "4"
        gone = rosa.post("/ladders/new", 200, **typed, s1_gone="yes", more="yes").text
        assert field_in(gone, "s1_delay") == "2"
    assert ladders(stage) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "Give it a name"),
        ({"s1_delay": "soon"}, "Enter a time of a day at most"),
        ({"s1_delay": "25", "s1_unit": "hours"}, "Enter a time of a day at most"),
        ({"s1_wedding_delay": "-1"}, "Enter a time of a day at most"),
        ({"s1_people": []}, "Choose whom it calls"),
        ({"s1_people": [str(STRANGER.id)]}, "Choose people, rotas and contacts of your business"),
        ({"s1_contacts": ["nonsense"]}, "Choose people, rotas and contacts of your business"),
        ({"s1_hours": "organization", "s1_days": []}, "Choose at least one day"),
        ({"s1_hours": "person", "s1_from_time": "9", "s1_days": ["1"]}, "Enter a time like 09:00"),
        ({"repeats": "21"}, "Enter a number from 0 to 20"),
        ({"count": "0"}, "A ladder needs a step"),
    ],
    ids=lambda one: None if isinstance(one, dict) else re.sub(r"\W+", "-", one),
)
def test_faults_stand_beside_what_was_typed(
    stage: Stage, change: dict[str, Any], said: str
) -> None:
    typed = form({"delay": "5", "people": [str(ROSA.id)]}) | change
    with surfing(stage, ROSA) as rosa:
        answer = rosa.post("/ladders/new", 422, **typed)
        assert said in answer.text
        if "name" not in change:
            assert field_in(answer.text, "name") == "Saturdays"
    assert ladders(stage) == []


def test_only_one_ladder_may_have_a_name_or_be_the_usual_one(stage: Stage) -> None:
    step = {"delay": "5", "people": [str(ROSA.id)]}
    with surfing(stage, ROSA) as rosa:
        rosa.post("/ladders/new", **form(step))
        again = rosa.post("/ladders/new", 422, **form(step))
        assert "There is one of this name already" in again.text
        other = rosa.post("/ladders/new", 422, **form(step, name="Week"))
        assert "Another ladder is that already" in other.text


def test_two_who_change_the_same_ladder_see_each_others(stage: Stage) -> None:
    step = {"delay": "5", "people": [str(ROSA.id)]}
    with surfing(stage, ROSA) as rosa:
        rosa.post("/ladders/new", **form(step))
        (row,) = ladders(stage)
        url = f"/ladders/{row['id']}/edit"
        stood = field_in(rosa.http.get(url).text, "stood")
        rosa.post(url, **form(step | {"delay": "7"}), stood=stood)
        late = rosa.post(url, 409, **form(step | {"delay": "9"}), stood=stood)
        assert "After 7 min" in late.text
        assert "After 9 min" in late.text
        (kept,) = steps(stage)
        assert kept["delay"] == timedelta(minutes=7)
        rosa.post(url, **form(step | {"delay": "9"}), stood=field_in(late.text, "stood"))
        (kept,) = steps(stage)
        assert kept["delay"] == timedelta(minutes=9)


def test_members_read_and_strangers_find_nothing(stage: Stage) -> None:
    step = {"delay": "5", "people": [str(ROSA.id)]}
    with surfing(stage, ROSA) as rosa:
        rosa.post("/ladders/new", **form(step))
    (row,) = ladders(stage)
    paths = (f"/ladders/{row['id']}/edit", f"/ladders/{row['id']}/delete", "/ladders/new")
    with surfing(stage, TOM) as tom:
        assert "Only an owner or admin can change a ladder." in tom.get("/ladders")
        for path in paths:
            tom.post(path, 403, **form(step))
        tom.get(paths[0], 403)
    with surfing(stage, STRANGER) as stranger:
        for path in paths[:2]:
            stranger.post(path, 404, **form(step))
        stranger.get(paths[0], 404)
        assert "Saturdays" not in stranger.get("/ladders")
    answer = None
    with surfing(stage, ROSA) as rosa:
        answer = rosa.http.post(paths[1], data={"csrf": "forged"})
    assert answer.status_code == 403
    assert [one["name"] for one in ladders(stage)] == ["Saturdays"]


def rota(stage: Stage) -> UUID:
    (row,) = stage.execute(
        "with s as (insert into apm_on_call_schedules (organization_id, name, time_zone) values "
        "(%(o)s, 'Week', 'Europe/London') returning *) insert into apm_on_call_layers "
        "(organization_id, schedule_id, position, participants, starts_on) select "
        "organization_id, id, 1, array[%(u)s::uuid], '2026-01-05' from s returning schedule_id",
        o=STAR.id,
        u=ROSA.id,
    )
    schedule: UUID = row["schedule_id"]
    return schedule


def test_a_rota_is_put_aside_for_a_while_and_taken_up_again(stage: Stage) -> None:
    url = f"/on-call/{rota(stage)}/temporary"
    starts = datetime.now(UTC) + timedelta(days=2)

    def clock(hours: int) -> str:
        return (starts + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")

    typed: dict[str, Any] = {
        "starts_at": clock(0),
        "ends_at": clock(24),
        "reason": "A festival",
        "user_id": [str(TOM.id), str(INES.id), ""],
        "from": ["", clock(12), ""],
        "until": [clock(12), "", ""],
    }
    with surfing(stage, ROSA) as rosa:
        assert "Put the rota aside for a while" in rosa.get(url)
        for change, said in (
            ({"user_id": ["", "", ""]}, "Choose at least one person"),
            ({"user_id": [str(STRANGER.id), "", ""]}, "Choose somebody of your team"),
            ({"from": [clock(-3), "", ""]}, "These times lie outside of it"),
            ({"ends_at": clock(-1)}, "The end has to come after the beginning"),
            ({"starts_at": "soon"}, "Enter a day and a time"),
        ):
            assert said in rosa.post(url, 422, **(typed | change)).text
        made = rosa.post(url, **typed)
        assert "The rota counts again afterwards." in rosa.get(made.headers["location"])
        (kept,) = stage.execute("select * from apm_on_call_temporary_schedules")
        assert kept["shift_user_ids"] == [TOM.id, INES.id]
        assert kept["shift_ends"][0] == kept["shift_starts"][1]
        again = rosa.post(url, 422, **typed)
        assert "There is one in this time already" in again.text
        page = rosa.http.get("/on-call").text
        undo = f"/on-call/temporary/{kept['id']}/undo"
        assert undo in page
        calendar = rosa.get("/on-call/calendar")
        assert "The coming weeks" in calendar
    with surfing(stage, TOM) as tom:
        tom.post(url, 403, **typed)
        assert undo not in tom.http.get("/on-call").text
        tom.post(undo, 403)
    with surfing(stage, STRANGER) as stranger:
        stranger.post(url, 404, **typed)
        stranger.post(undo, 404)
    with surfing(stage, ROSA) as rosa:
        rosa.post(undo)
    assert not stage.execute("select id from apm_on_call_temporary_schedules")


def test_the_coming_weeks_have_the_weddings_drawn_in(stage: Stage) -> None:
    rota(stage)
    day = (datetime.now(UTC) + timedelta(days=17)).date()
    stage.execute(
        "insert into apm_weddings (organization_id, couple_initials, wedding_date, time_zone) "
        "values (%(o)s, 'Z & Y', %(day)s, 'Europe/London')",
        o=STAR.id,
        day=day,
    )
    with surfing(stage, TOM) as tom:
        page = tom.get("/on-call/calendar")
    assert "Z & Y" in page
    assert f"On call: {ROSA.name}" in page


def test_who_is_called_for_an_incident(stage: Stage) -> None:
    contact(stage, "Rosa’s e-mail", ROSA.id)
    (row,) = stage.execute(
        "insert into apm_incidents (organization_id, title, severity, priority, dedup_key, "
        "detected_at, last_seen_at) values (%(o)s, 'Orders fail', 'critical', 'high', "
        "'user:1:page', now(), now()) returning id",
        o=STAR.id,
    )
    url = f"/incidents/{row['id']}/calls"
    with surfing(stage, TOM) as tom:
        page = tom.get(url)
        assert "Who is called, and how" in page
        assert "Rosa’s e-mail" in page
        assert "E-mail" in page
        stage.execute(
            "update apm_incidents set status = 'acknowledged' where id = %(id)s", id=row["id"]
        )
        assert "Nobody is called" in tom.get(url)
    with surfing(stage, STRANGER) as stranger:
        stranger.get(url, 404)
