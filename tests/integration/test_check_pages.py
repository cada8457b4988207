"""Checks as people see and keep them through the pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("checks")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    stage.execute("delete from service_health_checks")
    stage.let_the_engine_breathe()


def check(**more: Any) -> dict[str, Any]:
    return {
        "display_name": "Our shop",
        "endpoint_url": "http://127.0.0.1:80/",
        "seconds": "0.8",
        "interval": "60",
        "codes": "200, 401",
        "body_contains": "",
        "certificate_days": "14",
        "judged_over": "86400",
        "errors_percent": "5",
        "errors_critical": "20",
        "available_warning": "99",
        "available_critical": "95",
        "wedding_critical": "yes",
        "opens_incidents": "yes",
        "template": "",
    } | more


def only(stage: Stage) -> dict[str, Any]:
    (row,) = stage.execute("select * from service_health_checks")
    return row


def test_one_tap_checks_a_service_of_the_catalogue(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        assert "Stripe payments" in rosa.get("/checks/new")
        made = rosa.post("/checks/adopt/stripe_payments")
        page = rosa.get(made.headers["location"])
        assert "It is checked from now on." in page
        row = only(stage)
        assert (row["shared_key"], row["check_interval"].total_seconds()) == ("stripe_payments", 60)
        assert f'href="/checks/{row["id"]}"' in rosa.http.get("/checks/new").text
        again = rosa.post("/checks/adopt/stripe_payments", 422)
        assert "There is a check of this name already" in plain(again.text)
        rosa.post("/checks/adopt/website", 404)
        rosa.post("/checks/adopt/nonsense", 404)
        stage.execute(
            "update service_health_checks set status = 'healthy', status_reason = 'It takes 0.1 s',"
            " last_check_at = now(), response_time_ms = 120"
        )
        assert "Answered 401 in 0.1 s: that is alive" in rosa.get("/checks")


def test_trouble_of_one_provider_is_told_once(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        for key in ("stripe_payments", "resend_email", "twilio_sms"):
            rosa.post(f"/checks/adopt/{key}")
        stage.execute(
            "update service_health_checks set status = 'critical', last_check_at = now(),"
            " status_reason = 'It does not answer: timed out',"
            " caused_by = 'service:stripe_payments'"
        )
        page = rosa.get("/checks")
        assert page.count("has trouble") == 1
        assert "Stripe payments has trouble; 3 of your checks depend on it." in page


def test_by_an_address_of_ones_own(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        form = rosa.http.get("/checks/own?template=website").text
        assert field_in(form, "seconds") == "0.5"
        made = rosa.post("/checks/own", **check())
        row = only(stage)
        assert (row["service_name"], row["response_time_threshold_ms"]) == ("our_shop", 800)
        assert (row["error_rate_critical"], row["availability_critical"]) == (0.2, 95)
        assert row["expected_status_codes"] == [200, 401]
        page = rosa.get(made.headers["location"])
        assert "Not working under 95 % of the last 24 hours" in page
        path = f"/checks/{row['id']}"
        edit = rosa.http.get(f"{path}/edit").text
        assert field_in(edit, "available_warning") == "99"
        rosa.post(f"{path}/edit", **check(display_name="The shop", available_warning=""))
        row = only(stage)
        assert (row["display_name"], row["service_name"]) == ("The shop", "our_shop")
        assert row["availability_warning"] is None
        rosa.post(f"{path}/pause")
        assert "Paused: nobody looks at it." in rosa.get(path)
        rosa.post(f"{path}/resume")
        assert only(stage)["is_active"]
        rosa.post(f"{path}/delete")
        assert "Nothing is checked yet." in rosa.get("/checks")


def test_a_look_at_once(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        made = rosa.post("/checks/own", **check(endpoint_url=f"{stage.url}/sign-in"))
        path = made.headers["location"].partition("?")[0]
        seen = plain(rosa.post(f"{path}/run", 200).text)
        assert "Just now it answered 200 in " in seen
        assert "that is alive" in seen
        assert "Not looked at yet." in seen, "it is told and not kept"
        soon = rosa.post(f"{path}/run", 200)
        assert "It was looked at a moment ago. Try again in" in plain(soon.text)


def test_how_it_was(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        rosa.post("/checks/own", **check())
        row = only(stage)
        path = f"/checks/{row['id']}"
        stage.execute("delete from apm_service_status_history")
        stage.execute(
            "insert into apm_service_status_history (organization_id, check_id, status, reason,"
            " since) values (%(o)s, %(c)s, 'healthy', 'fine', now() - interval '10 days'),"
            " (%(o)s, %(c)s, 'critical', 'it is gone', now() - interval '150 minutes'),"
            " (%(o)s, %(c)s, 'healthy', 'it is back', now() - interval '120 minutes')",
            o=STAR.id,
            c=row["id"],
        )
        text = rosa.http.get(path).text
        page = plain(text)
        assert "It is gone" in page
        assert "24 hours 97.92 %" in page
        hours, days = text.split("check.days")[0], text
        assert hours.count('<i class="crit"') >= 1
        # twenty days of which nothing is known are not drawn as fine
        assert days.count('<i class="none"') >= 19


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"display_name": ""}, "Give it a name"),
        ({"endpoint_url": "ftp://x"}, "Enter an address like https://www.example.com/"),
        ({"endpoint_url": "http://10.0.0.1/"}, "This address"),
        ({"seconds": "soon"}, "Enter a number like 2.5"),
        ({"codes": "fine"}, "Enter numbers like 200 or 200, 401"),
        ({"available_warning": "101"}, "Enter a share from 0 to 100"),
        ({"available_critical": "99.5"}, "This must not be stricter than the milder limit"),
        ({"errors_critical": "1"}, "This must not be stricter than the milder limit"),
    ],
)
def test_a_fault_stands_beside_its_field(stage: Stage, wrong: dict[str, Any], words: str) -> None:
    with surfing(stage, ROSA) as rosa:
        typed = check(body_contains="<kept>") | wrong
        answer = rosa.post("/checks/own", 422, **typed)
        assert words in plain(answer.text)
        assert 'aria-invalid="true"' in answer.text
        assert field_in(answer.text, "body_contains") == "<kept>"
    assert not stage.execute("select from service_health_checks")


def test_viewers_look_and_strangers_find_nothing(stage: Stage) -> None:
    with surfing(stage, TOM) as tom:
        tom.post("/checks/own", **check())
    before = only(stage)
    path = f"/checks/{before['id']}"
    with surfing(stage, INES) as ines, surfing(stage, STRANGER) as stranger:
        assert "Our shop" in ines.get("/checks")
        assert "Only an owner or admin" in ines.get(path)
        for form in ("/checks/new", "/checks/own", f"{path}/edit"):
            ines.get(form, 403)
        stranger.get(path, 404)
        stranger.get(f"{path}/edit", 404)
        for verb in ("edit", "pause", "resume", "delete", "run"):
            assert ines.post(f"{path}/{verb}", None, **check()).status_code == 403
            assert stranger.post(f"{path}/{verb}", None, **check()).status_code == 404
        assert ines.post("/checks/own", None, **check()).status_code == 403
        assert ines.post("/checks/adopt/openai", None).status_code == 403
        assert ines.http.post(f"{path}/pause", data={"csrf": "forged"}).status_code == 403
    assert only(stage) == before
