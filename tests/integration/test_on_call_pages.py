"""Who is on call, through the pages: the week, a swap, a rota that is seen before it is saved."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]
LONDON = ZoneInfo("Europe/London")
MONDAY = date(2031, 3, 24)
"""Of a week far ahead that ends with the night in which the clock is set forward."""
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("on-call")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    stage.execute("delete from apm_on_call_schedules")
    stage.execute("delete from apm_weddings")
    stage.execute("delete from clients")
    for table in ("apm_memberships", "user_profiles"):
        stage.execute(f"update {table} set role = 'MEMBER' where user_id = %(u)s", u=TOM.id)


def rota(**more: Any) -> dict[str, Any]:
    return {
        "name": "Week",
        "people": [str(ROSA.id), str(TOM.id), ""],
        "every": "weekly",
        "handover": "09:00",
        "starts_on": "2026-01-05",
        "time_zone": "Europe/London",
        "weekend": "same",
        "weekend_from": "18:00",
        "weekend_until": "09:00",
        "weekend_people": ["", ""],
    } | more


def save(stage: Stage, path: str = "/on-call/new", **more: Any) -> dict[str, Any]:
    """Saves a rota as people do: looks at it first."""
    with surfing(stage, ROSA) as rosa:
        shown = rosa.post(path, 200, **rota(**more))
        rosa.post(path, **rota(**more), seen=field_in(shown.text, "seen"))
    return schedule(stage)


def schedule(stage: Stage) -> dict[str, Any]:
    (row,) = stage.execute("select * from apm_on_call_schedules")
    return row


def layers(stage: Stage) -> list[dict[str, Any]]:
    return stage.execute("select * from apm_on_call_layers order by position")


def overrides(stage: Stage) -> list[dict[str, Any]]:
    return stage.execute("select * from apm_on_call_overrides order by starts_at")


def at(days: int, clock: str = "00:00") -> datetime:
    return datetime.combine(MONDAY + days * DAY, time.fromisoformat(clock), LONDON)


def wall(moment: datetime) -> str:
    return moment.astimezone(LONDON).strftime("%Y-%m-%dT%H:%M")


def marry(stage: Stage, couple: str, times: tuple[datetime, ...]) -> None:
    """A wedding with all of its phases, so that none has to be assumed."""
    (row,) = stage.execute(
        "with w as (insert into apm_weddings (organization_id, couple_initials, wedding_date, "
        "time_zone) values (%(o)s, 'A & B', %(day)s, 'Europe/London') returning *) insert "
        "into apm_wedding_people (organization_id, wedding_id, couple_names) select "
        "organization_id, id, %(couple)s from w returning wedding_id",
        o=STAR.id,
        couple=couple,
        day=times[0].date(),
    )
    phases = ("set_up", "ceremony", "reception", "tear_down")
    for phase, (begins, ends) in zip(phases, pairwise(times), strict=True):
        stage.execute(
            "insert into apm_wedding_windows (organization_id, wedding_id, phase, starts_local, "
            "ends_local) values (%(o)s, %(w)s, %(phase)s, %(begins)s, %(ends)s)",
            o=STAR.id,
            w=row["wedding_id"],
            phase=phase,
            begins=begins.replace(tzinfo=None),
            ends=ends.replace(tzinfo=None),
        )


def test_a_rota_is_seen_before_it_is_saved(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        assert "There is no rota yet" in rosa.get("/on-call")
        shown = rosa.post("/on-call/new", 200, **rota())
        text = plain(shown.text)
        assert "This is what it comes to. Nothing is saved yet." in text
        assert "Tom" in text
        assert not stage.execute("select id from apm_on_call_schedules")
        mark = field_in(shown.text, "seen")
        other = rosa.post("/on-call/new", 200, **rota(handover="10:00"), seen=mark)
        assert field_in(other.text, "seen") != mark, "another rota is not what was seen"
        asked = rosa.post("/on-call/new", 200, **rota(), seen=mark, show="yes")
        assert field_in(asked.text, "seen") == mark
        assert not stage.execute("select id from apm_on_call_schedules")
        made = rosa.post("/on-call/new", **rota(), seen=mark)
        page = rosa.get(made.headers["location"])
        assert "Saved. It counts from now on." in page
        assert "Somebody is on call all week" in page
        assert "No ladder calls by this rota yet" in page
    (one,) = layers(stage)
    assert one["participants"] == [ROSA.id, TOM.id]
    assert (one["shift_days"], one["handover_time"]) == (7, time(9))


def test_a_weekend_that_somebody_else_covers(stage: Stage) -> None:
    more: dict[str, Any] = {
        "weekend": "long",
        "weekend_people": [str(INES.id)],
        "people": [str(ROSA.id)],
    }
    found = save(stage, **more)
    with surfing(stage, ROSA) as rosa:
        page = rosa.get(f"/on-call?week={MONDAY}")
        assert "You Mon 00:00" not in page
        assert "You Mon 09:00 to Fri 18:00" in page
        # the night in which the clock is set forward lies in it, and by the clock it is the same
        assert re.search(r"Ines \w+ Fri 18:00 to Mon 31 Mar 09:00", page)
        edit = rosa.http.get(f"/on-call/{found['id']}/edit").text
        assert re.search(r'value="long" checked', edit)
        assert field_in(edit, "weekend_from") == "18:00"
        path = f"/on-call/{found['id']}/edit"
    save(stage, path, weekend="days", weekend_people=[str(INES.id)], people=[str(ROSA.id)])
    assert [one["weekdays"] for one in layers(stage)] == [[6, 7], [1, 2, 3, 4, 5, 6, 7]]
    with surfing(stage, ROSA) as rosa:
        assert re.search(r'value="days" checked', rosa.http.get(path).text)
    save(stage, path)
    assert len(layers(stage)) == 1


def test_two_people_who_change_the_same_rota(stage: Stage) -> None:
    path = f"/on-call/{save(stage)['id']}/edit"
    with surfing(stage, ROSA) as rosa:
        stood = field_in(rosa.http.get(path).text, "stood")
        save(stage, path, handover="08:00")
        shown = rosa.post(path, 200, **rota(handover="10:00"), stood=stood)
        seen = field_in(shown.text, "seen")
        clash = rosa.post(path, 409, **rota(handover="10:00"), stood=stood, seen=seen)
        assert "08:00" in plain(clash.text)
        assert field_in(clash.text, "handover") == "10:00", "what was typed is kept"
        assert layers(stage)[0]["handover_time"] == time(8)
        # whoever has seen it may still have his way, after one more look at what it comes to
        again = {"stood": field_in(clash.text, "stood"), **rota(handover="10:00")}
        rosa.post(path, **again, seen=seen)
    assert layers(stage)[0]["handover_time"] == time(10)


def test_a_rota_beyond_the_form_is_left_alone(stage: Stage) -> None:
    found = save(stage)
    stage.execute("update apm_on_call_layers set from_time = '22:00', until_time = '06:00'")
    with surfing(stage, ROSA) as rosa:
        text = rosa.http.get(f"/on-call/{found['id']}/edit").text
        assert "This rota is more than this form can show" in plain(text)
        assert 'name="handover"' not in text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "Give it a name"),
        ({"people": ["", ""]}, "Choose at least one person"),
        ({"people": [str(STRANGER.id)]}, "Choose people of your team"),
        ({"people": ["nonsense"]}, "Choose people of your team"),
        ({"handover": "nine"}, "Enter a time like 09:00"),
        ({"starts_on": "soon"}, "Choose a day"),
        ({"starts_on": "1999-01-01"}, "Choose a day"),
        ({"time_zone": "Mars"}, "Enter a zone like Europe/London"),
        ({"weekend": "days"}, "Choose at least one person"),
        ({"weekend": "long", "weekend_from": "late"}, "Enter a time like 09:00"),
    ],
)
def test_a_fault_stands_beside_its_field(stage: Stage, wrong: dict[str, Any], words: str) -> None:
    with surfing(stage, ROSA) as rosa:
        typed = rota(name="Kept <i>") | wrong
        answer = rosa.post("/on-call/new", 422, **typed)
        assert words in plain(answer.text)
        assert 'aria-invalid="true"' in answer.text
        assert field_in(answer.text, "name") == typed["name"]
    assert not stage.execute("select id from apm_on_call_schedules")


def test_a_name_is_given_once(stage: Stage) -> None:
    save(stage)
    with surfing(stage, ROSA) as rosa:
        shown = rosa.post("/on-call/new", 200, **rota())
        again = rosa.post("/on-call/new", 422, **rota(), seen=field_in(shown.text, "seen"))
        assert "There is one of this name already" in plain(again.text)


def only_at_night(stage: Stage) -> UUID:
    """A rota that leaves Saturday 23:00 to Sunday 08:00 open, and nothing else."""
    (row,) = stage.execute(
        "insert into apm_on_call_schedules (organization_id, name, time_zone) values "
        "(%(o)s, 'Nights', 'Europe/London') returning id",
        o=STAR.id,
    )
    spans = (
        ([1, 2, 3, 4, 5], "00:00", "00:00"),
        ([6], "00:00", "23:00"),
        ([7], "08:00", "00:00"),
    )
    for position, (weekdays, begins, ends) in enumerate(spans, start=1):
        stage.execute(
            "insert into apm_on_call_layers (organization_id, schedule_id, position, participants, "
            "starts_on, weekdays, from_time, until_time) values (%(o)s, %(s)s, %(p)s, %(u)s, "
            "'2026-01-05', %(w)s, %(b)s, %(e)s)",
            o=STAR.id, s=row["id"], p=position, u=[TOM.id], w=weekdays, b=begins, e=ends,
        )  # fmt: skip
    found: UUID = row["id"]
    return found


def test_a_gap_says_from_when_to_when_and_over_which_wedding(stage: Stage) -> None:
    only_at_night(stage)
    clocks = ("12:00", "14:00", "15:00", "22:00", "23:30")
    marry(stage, "Ada Quill & Ben Ash", tuple(at(5, clock) for clock in clocks))
    with surfing(stage, ROSA) as rosa:
        text = rosa.http.get(f"/on-call?week={MONDAY}").text
        page = plain(text)
        assert "Nobody from Sat 23:00 to Sun 08:00, during Ada Quill & Ben Ash" in page
        assert "1 gap this week" in page
        assert "Ada Quill & Ben Ash, Sat 12:00 to Sat 23:30" in page, "beside who is on call then"
        assert 'class="turn gap"' in text
        assert 'class="wed"' in text
        later = rosa.get(f"/on-call?week={MONDAY + 7 * DAY}")
        assert "Nobody from Sat 23:00 to Sun 08:00 " in later
        assert "Ada Quill" not in later


def test_a_stretch_is_taken_handed_over_and_given_back(stage: Stage) -> None:
    schedule_id = only_at_night(stage)
    with surfing(stage, TOM) as tom:
        week = tom.http.get(f"/on-call?week={MONDAY}").text
        link = re.search(r'href="([^"]+)">Fill this gap', week)
        assert link is not None
        href = link[1].replace("&amp;", "&")
        form = tom.http.get(href).text
        assert "Nobody is on call then." in plain(form)
        span = {name: field_in(form, name) for name in ("starts_at", "ends_at")}
        assert span == {"starts_at": wall(at(5, "23:00")), "ends_at": wall(at(6, "08:00"))}
        path = f"/on-call/{schedule_id}/cover"
        tom.post(path, **span, user_id=str(TOM.id), reason="I am awake")
        (made,) = overrides(stage)
        assert (made["user_id"], made["created_by"]) == (TOM.id, TOM.id)
        assert made["starts_at"] == at(5, "23:00")
        page = tom.get(f"/on-call?week={MONDAY}")
        assert "Somebody is on call all week" in page
        assert "You, Sat 23:00 to Sun 08:00" in page
        twice = tom.post(path, 422, **span, user_id=str(ROSA.id), reason="")
        assert "Tom" in plain(twice.text)
        assert "has Sat 23:00 to Sun 08:00 of this already. Undo that first." in plain(twice.text)
        undone = tom.post(f"/on-call/covers/{made['id']}/undo")
        assert "Undone. The rota counts again." in tom.get(undone.headers["location"])
        assert overrides(stage) == []
        tom.post(path, **span, user_id=str(ROSA.id), reason="")
        assert overrides(stage)[0]["user_id"] == ROSA.id


def test_the_weekend_is_one_link_away(stage: Stage) -> None:
    save(stage, people=[str(ROSA.id)])
    with surfing(stage, ROSA) as rosa:
        week = rosa.http.get(f"/on-call?week={MONDAY}").text
        link = re.search(r'href="([^"]+)">Somebody else covers the weekend', week)
        assert link is not None
        form = rosa.http.get(link[1].replace("&amp;", "&")).text
        assert field_in(form, "starts_at") == wall(at(4, "18:00"))
        assert field_in(form, "ends_at") == wall(at(7, "09:00"))
        assert "On call then: You." in plain(form)
        assert "Hand it to Tom" in plain(form)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"starts_at": "soon"}, "Enter a day and a time"),
        ({"ends_at": wall(at(4))}, "The end has to come after the beginning"),
        (
            {"starts_at": "2020-01-01T10:00", "ends_at": "2020-01-01T12:00"},
            "This time is over already",
        ),
        ({"user_id": str(STRANGER.id)}, "Choose somebody of your team"),
        ({"user_id": ""}, "Choose somebody of your team"),
    ],
)
def test_a_swap_that_does_not_work_says_why(
    stage: Stage, wrong: dict[str, Any], words: str
) -> None:
    schedule_id = only_at_night(stage)
    typed = {
        "starts_at": wall(at(5)),
        "ends_at": wall(at(6)),
        "user_id": str(TOM.id),
        "reason": "Kept <i>",
    } | wrong
    with surfing(stage, ROSA) as rosa:
        answer = rosa.post(f"/on-call/{schedule_id}/cover", 422, **typed)
        assert words in plain(answer.text)
        assert field_in(answer.text, "reason") == "Kept <i>"
    assert overrides(stage) == []


def test_now_and_next(stage: Stage) -> None:
    now = datetime.now(UTC)
    schedule_id = only_at_night(stage)
    stage.execute("delete from apm_on_call_layers")
    stage.execute("delete from apm_contact_methods where organization_id = %(o)s", o=STAR.id)
    for user_id, begins, ends in ((ROSA.id, -1, 2), (TOM.id, 2, 3)):
        stage.execute(
            "insert into apm_on_call_overrides (organization_id, schedule_id, user_id, starts_at, "
            "ends_at) values (%(o)s, %(s)s, %(u)s, %(b)s, %(e)s)",
            o=STAR.id,
            s=schedule_id,
            u=user_id,
            b=now + timedelta(hours=begins),
            e=now + timedelta(hours=ends),
        )
    with surfing(stage, ROSA) as rosa, surfing(stage, INES) as ines:
        page = rosa.get("/on-call")
        assert "You now" in page
        assert re.search(r"Until .*, then Tom", page)
        assert "No proven way to reach you" in page
        seen = ines.get("/on-call")
        assert "Somebody now" in seen
        assert "Rosa" not in seen.replace("Rosa Whitlock, ", "")
        assert "Tom" not in seen
        stage.execute("delete from apm_on_call_overrides")
        empty = rosa.get("/on-call")
        assert "Nobody is on call now" in empty
        assert "everybody whom we can reach is told" in empty


def test_a_ladder_calls_by_it_after_one_tap(stage: Stage) -> None:
    found = save(stage)
    (policy,) = stage.execute(
        "select id from apm_escalation_policies where organization_id = %(o)s and is_default",
        o=STAR.id,
    )
    before = stage.execute("select * from apm_escalation_targets order by step_id")
    with surfing(stage, ROSA) as rosa:
        rosa.post(f"/on-call/{found['id']}/use", policy_id=str(policy["id"]))
        assert "No ladder calls by this rota" not in rosa.get("/on-call")
        assert rosa.post(f"/on-call/{found['id']}/use", None, policy_id="x").status_code == 404
    (step,) = stage.execute(
        "select s.position from apm_escalation_schedules e join apm_escalation_steps s "
        "on s.id = e.step_id where e.schedule_id = %(s)s",
        s=found["id"],
    )
    assert step["position"] == 1
    after = stage.execute("select * from apm_escalation_targets")
    assert len(after) == len(before), "those on it already stay"


def test_members_swap_viewers_look_and_strangers_find_nothing(stage: Stage) -> None:
    found = save(stage)
    path = f"/on-call/{found['id']}"
    before = (schedule(stage), layers(stage))
    (policy,) = stage.execute(
        "select id from apm_escalation_policies where organization_id = %(o)s and is_default",
        o=STAR.id,
    )
    span = {"starts_at": wall(at(5)), "ends_at": wall(at(6)), "user_id": str(TOM.id), "reason": ""}
    with (
        surfing(stage, TOM) as tom,
        surfing(stage, INES) as ines,
        surfing(stage, STRANGER) as stranger,
    ):
        assert "Only an owner or admin can make or change a rota." in tom.get("/on-call")
        assert f"{path}/edit" not in tom.http.get("/on-call").text
        tom.get("/on-call/new", 403)
        tom.get(f"{path}/edit", 403)
        ines.get(f"{path}/cover", 403)
        assert "/cover" not in ines.http.get("/on-call").text
        for who in (tom, ines):
            assert who.post("/on-call/new", None, **rota(name="x")).status_code == 403
            for verb in ("edit", "delete", "use"):
                sent = rota(name="x") | {"policy_id": str(policy["id"])}
                assert who.post(f"{path}/{verb}", None, **sent).status_code == 403
        assert ines.post(f"{path}/cover", None, **span).status_code == 403
        assert "Week" not in stranger.get("/on-call").replace("The week", "")
        for name in ("cover", "edit"):
            stranger.get(f"{path}/{name}", 404)
        for verb in ("edit", "delete", "use", "cover"):
            assert stranger.post(f"{path}/{verb}", None, **rota(), **span).status_code == 404
        tom.post(f"{path}/cover", **span)
        (made,) = overrides(stage)
        undo = f"/on-call/covers/{made['id']}/undo"
        assert ines.post(undo, None).status_code == 403
        assert stranger.post(undo, None).status_code == 404
        assert tom.http.post(undo, data={"csrf": "forged"}).status_code == 403
    assert (schedule(stage), layers(stage)) == before
    assert len(overrides(stage)) == 1
    with surfing(stage, ROSA) as rosa:
        rosa.post(f"{path}/delete")
        assert "There is no rota yet" in rosa.get("/on-call")
