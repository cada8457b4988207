"""Heartbeats as people keep them through the pages, and as jobs ping what a page has shown."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.heartbeats.store import hash_token
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("heartbeats")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    stage.execute("delete from apm_heartbeats")


def heartbeat(**more: Any) -> dict[str, Any]:
    return {
        "name": "Nightly export",
        "way": "cron",
        "cron": "30 2 * * mon-sat",
        "time_zone": "Europe/London",
        "period": "5",
        "period_unit": "minutes",
        "grace": "20",
        "grace_unit": "minutes",
        "severity": "warning",
        "service_name": "exports",
        "description": "",
    } | more


def only(stage: Stage) -> dict[str, Any]:
    (row,) = stage.execute("select * from apm_heartbeats")
    return row


def token_of(page: str) -> str:
    found = re.search(r"/api/v1/heartbeats/(hb_[\w-]{43})", page)
    assert found is not None
    return found[1]


def ping(stage: Stage, token: str, signal: str = "success") -> None:
    """As the front door notes it."""
    stage.execute(
        "select apm_private.note_heartbeat(h.organization_id, h.id, %(signal)s, 'failed', "
        "now() + interval '1 day', clock_timestamp()) from apm_private.take_heartbeat(%(hash)s) h",
        signal=signal,
        hash=hash_token(token),
    )


def test_the_address_is_shown_once_and_the_last_pings_ever_after(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        made = rosa.post("/heartbeats/new", 200, **heartbeat())
        token = token_of(made.text)
        assert 'curl -fsS -m 10 --retry 3 -X POST "' in plain(made.text)
        path = f"/heartbeats/{only(stage)['id']}"
        assert "Not heard of yet" in rosa.get("/heartbeats")
        assert "hb_" not in rosa.http.get(path).text, "shown once"
        assert rosa.get(path).count(" 02:30") == 5, "the next five times"
        ping(stage, token, "start")
        assert "Running" in rosa.get(path)
        ping(stage, token)
        ping(stage, token, "fail")
        shown = rosa.get(path)
        assert "Missed" in shown
        assert "Heard of 3 times in all" in shown
        assert re.findall(r"Failed|Ran well|Began", shown) == [
            "Failed",
            "Ran well",
            "Began",
        ]
        for _ in range(25):
            ping(stage, token)
        assert rosa.get(path).count("Ran well") == 20
        renewed = token_of(rosa.post(f"{path}/rotate", 200).text)
        assert renewed != token
        ping(stage, token, "fail")
        assert "On time" in rosa.get(path), "the old address is good no more"
        ping(stage, renewed, "fail")
        assert "Missed" in rosa.get(path)


def test_pause_change_and_delete(stage: Stage) -> None:
    with surfing(stage, TOM) as tom:
        tom.post("/heartbeats/new", 200, **heartbeat(way="period", period="90"))
        path = f"/heartbeats/{only(stage)['id']}"
        assert "Every 90 min, at most 20 min late" in tom.get(path)
        tom.post(f"{path}/pause")
        assert "Paused" in tom.get("/heartbeats")
        tom.post(f"{path}/resume")
        assert only(stage)["is_active"]
        form = tom.http.get(f"{path}/edit").text
        assert field_in(form, "grace") == "20"
        tom.post(f"{path}/edit", **heartbeat(name="Weekly export", way="period", period="2",
                                             period_unit="hours"))  # fmt: skip
        assert "Every 120 min" in tom.get(path)
        tom.post(f"{path}/delete")
        assert "No job is listened for yet." in tom.get("/heartbeats")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "Give it a name"),
        ({"cron": "99 * * * *"}, "That does not work: '99' does not lie within 0-59"),
        ({"time_zone": "Mars"}, "That does not work: is no time zone"),
        ({"way": "period", "period": "0"}, "Enter a number above 0"),
        ({"way": "period", "period": "5", "period_unit": "seconds"}, "That does not work"),
        ({"grace": "soon"}, "Enter a number above 0"),
    ],
)
def test_a_fault_stands_beside_its_field(stage: Stage, wrong: dict[str, Any], words: str) -> None:
    with surfing(stage, ROSA) as rosa:
        answer = rosa.post("/heartbeats/new", 422, **heartbeat(description="kept <i>", **wrong))
        assert words in plain(answer.text)
        assert "kept &lt;i&gt;" in answer.text
        assert 'aria-invalid="true"' in answer.text
    assert not stage.execute("select from apm_heartbeats")


def test_a_name_is_given_once(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        rosa.post("/heartbeats/new", 200, **heartbeat())
        again = rosa.post("/heartbeats/new", 422, **heartbeat())
        assert "There is one of this name already" in plain(again.text)
        assert "hb_" not in again.text


def test_viewers_look_and_strangers_find_nothing(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        rosa.post("/heartbeats/new", 200, **heartbeat())
    before = only(stage)
    path = f"/heartbeats/{before['id']}"
    with surfing(stage, INES) as ines, surfing(stage, STRANGER) as stranger:
        assert "Nightly export" in ines.get("/heartbeats")
        assert "Only an owner or admin" in ines.get(path)
        ines.get("/heartbeats/new", 403)
        ines.get(f"{path}/edit", 403)
        stranger.get(path, 404)
        stranger.get(f"{path}/edit", 404)
        for verb in ("edit", "pause", "resume", "rotate", "delete"):
            assert ines.post(f"{path}/{verb}", None, **heartbeat()).status_code == 403
            assert stranger.post(f"{path}/{verb}", None, **heartbeat()).status_code == 404
        assert ines.post("/heartbeats/new", None, **heartbeat(name="x")).status_code == 403
        assert ines.http.post(f"{path}/pause", data={"csrf": "forged"}).status_code == 403
    assert only(stage) == before
