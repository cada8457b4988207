"""The wedding pages over HTTP: who may what, faults beside fields, files, guard, freeze."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate import vendors
from wedsync_apm.web.pages.wedding_imports import IMPORT_BODY_BYTES
from wedsync_apm.web.routes import PAGE_BODY_BYTES

PEOPLE = (*(person for vendor in vendors.VENDORS for person in vendor.people), *vendors.OPERATORS)
BY_EMAIL = {person.email.partition("@")[0]: person for person in PEOPLE}
FAR = date.today() + timedelta(days=400)  # noqa: DTZ011 any day far ahead


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


class Person:
    """Somebody's browser."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text[:300]
        return answer.text

    def token(self, path: str = "/more") -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path))
        assert found is not None
        return found[1]

    def post(self, path: str, status: int = 303, /, **form: Any) -> httpx.Response:
        answer = self.client.post(path, data={"csrf": self.token(), **form}, timeout=60)
        assert answer.status_code == status, (answer.status_code, answer.text[-1500:])
        return answer


@contextmanager
def signed_in(stage: Stage, name: str) -> Iterator[Person]:
    with httpx.Client(base_url=stage.url, timeout=30) as client:
        person = Person(client)
        who = BY_EMAIL[name]
        form = {"email": who.email, "password": stage.password(who)}
        token = person.token("/sign-in")
        answer = client.post("/sign-in", data={"csrf": token, **form})
        assert answer.status_code == 303, answer.text[:500]
        yield person


def made(person: Person, **form: Any) -> UUID:
    """A new wedding's id."""
    values = {"on": FAR.isoformat(), "couple": "Amara Cole & Ruth Bell", **form}
    return UUID(person.post("/weddings/new", **values).headers["location"].split("/")[2][:36])


def row_of(stage: Stage, wedding: UUID) -> dict[str, Any]:
    found = stage.execute(
        "select w.*, p.couple_names, p.contacts from apm_weddings as w left join apm_wedding_people"
        " as p on p.wedding_id = w.id where w.id = %(id)s",
        id=wedding,
    )
    return found[0]


def test_a_wedding_is_entered_changed_moved_cancelled_and_takes_place_after_all(
    stage: Stage,
) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(
            rosa, venue="Villa Cora", time_zone="Europe/Rome", ceremony="14:30", ends="01:30",
            name_0="Dan Hill", phone_0="+44 7700 900123",
        )  # fmt: skip
        page = rosa.get(f"/weddings/{wedding}")
        assert "14:30–17:30" in page
        assert "13:30–16:30 here" in page
        assert "+44 7700 900123" in page
        month = rosa.get(f"/weddings?day={FAR}")
        assert "14:30 at the venue, Rome; 13:30 here" in month

        starts = f"{FAR}T15:00"
        edit = {
            "couple": "Amara Cole & Ruth Bell", "venue": "Villa Cora", "status": "booked",
            "time_zone": "Europe/Rome", "visible_to": "ADMIN",
            "starts_ceremony": starts, "ends_ceremony": f"{FAR}T16:00", "name_0": "Dan Hill",
        }  # fmt: skip
        rosa.post(f"/weddings/{wedding}/edit", **edit)
        assert "15:00–16:00" in rosa.get(f"/weddings/{wedding}")

        later = FAR + timedelta(days=7)
        rosa.post(f"/weddings/{wedding}/move", date=later.isoformat())
        row = row_of(stage, wedding)
        assert (row["wedding_date"], row["moved_from"]) == (later, FAR)
        page = rosa.get(f"/weddings/{wedding}")
        assert "Moved here from" in page
        assert "15:00–16:00" in page, "its times stay by the venue's clock"
        assert "Moved to" in rosa.get(f"/weddings?day={FAR}")

        rosa.post(f"/weddings/{wedding}/cancel")
        assert row_of(stage, wedding)["status"] == "cancelled"
        assert "Cancelled" in rosa.get(f"/weddings?day={later}")
        rosa.post(f"/weddings/{wedding}/restore")
        rosa.post(f"/weddings/{wedding}/move", date=FAR.isoformat())
        row = row_of(stage, wedding)
        assert (row["status"], row["moved_from"]) == ("booked", None), "back where it was"
        audit = stage.execute(
            "select action from apm_audit_log where object_id = %(id)s::text order by id",
            id=wedding,
        )
        assert [one["action"] for one in audit] == ["insert", *["update"] * 4]


def test_faults_stand_beside_the_field_and_nothing_is_changed(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        before = stage.execute("select count(*) as n from apm_weddings")
        answer = rosa.post(
            "/weddings/new", 422, on=FAR.isoformat(), couple="<b>A</b> & R", ceremony="14:30",
            time_zone="Mars/Base",
        )  # fmt: skip
        assert 'id="e-time_zone"' in answer.text
        assert "&lt;b&gt;A&lt;/b&gt; &amp; R" in answer.text
        assert 'value="14:30"' in answer.text
        assert stage.execute("select count(*) as n from apm_weddings") == before

        wedding = made(rosa)
        far = FAR + timedelta(days=9)
        answer = rosa.post(
            f"/weddings/{wedding}/edit", 422, couple="A & R",
            starts_ceremony=f"{far}T15:00", ends_ceremony=f"{far}T16:00",
        )  # fmt: skip
        assert 'class="err"' in answer.text, "what only the end of the transaction sees"
        assert f"{far}T15:00" in answer.text
        answer = rosa.post(f"/weddings/{wedding}/move", 422, date="tomorrow")
        assert 'id="e-date"' in answer.text


@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"reception": "18:00"}, "ceremony"),
        ({"ceremony": "14:30", "reception": "18:00", "ends": "16:00"}, "ends"),
        ({"ceremony": "15:00", "reception": "14:00"}, "reception"),
        ({"ceremony": "15:00", "ends": "14:30"}, "ends"),
    ],
)
def test_times_that_contradict_each_other_are_told_beside_the_field(
    stage: Stage, times: dict[str, str], field: str
) -> None:
    with signed_in(stage, "rosa") as rosa:
        before = stage.execute("select count(*) as n from apm_weddings")
        answer = rosa.post("/weddings/new", 422, on=FAR.isoformat(), couple="A & R", **times)
        assert re.findall(r'id="e-(\w+)"', answer.text) == [field]
        assert stage.execute("select count(*) as n from apm_weddings") == before


@pytest.mark.parametrize("day", [date(1990, 1, 1), date(2100, 12, 31)])
def test_the_first_and_the_last_date_have_their_pages(stage: Stage, day: date) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa, on=day.isoformat(), ceremony="14:30")
        assert "14:30–17:30" in rosa.get(f"/weddings/{wedding}")
        rosa.get(f"/weddings?day={day}")
        for none in ("1989-12-31", "2101-01-01", "9999-12-31"):
            answer = rosa.post(f"/weddings/{wedding}/move", 422, date=none)
            assert 'id="e-date"' in answer.text
        assert row_of(stage, wedding)["wedding_date"] == day
        rosa.post(f"/weddings/{wedding}/cancel")


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_a_wedding_from_before_dates_had_bounds_has_its_page(stage: Stage, day: str) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa)
        old = "alter table apm_weddings {} constraint apm_weddings_wedding_date_check{}"
        stage.execute(old.format("drop", ""))
        try:
            stage.execute(
                "update apm_weddings set wedding_date = %(day)s, moved_from = null"
                " where id = %(id)s",
                day=day,
                id=wedding,
            )
        finally:
            bounds = " check (wedding_date between '1990-01-01' and '2100-12-31') not valid"
            stage.execute(old.format("add", bounds))
        for path in ("", "/edit"):
            rosa.get(f"/weddings/{wedding}{path}")
        rosa.post(f"/weddings/{wedding}/move", date=FAR.isoformat())
        assert row_of(stage, wedding)["wedding_date"] == FAR


def test_a_viewer_looks_and_changes_nothing(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa, name_0="Dan Hill", phone_0="0123")
    with signed_in(stage, "ines") as ines:
        page = ines.get(f"/weddings/{wedding}")
        assert "A &amp; R" in page
        assert "Amara" not in page
        assert "Dan Hill" not in page
        assert "Names and numbers are not shown to viewers." in page
        assert "Amara" not in ines.get(f"/weddings?day={FAR}")
        for path in ("/weddings/new", f"/weddings/{wedding}/edit", "/weddings/import"):
            ines.get(path, 403)
        before = row_of(stage, wedding)
        for action in ("move", "cancel", "share", "join", "leave", "edit", "link", "ready"):
            ines.post(f"/weddings/{wedding}/{action}", 403, date="2030-01-01", code="x", couple="x")
        ines.post("/weddings/new", 403, on="2030-01-01", couple="X & Y")
        ines.post("/weddings/import", 403, text="Date,Couple\n2030-01-01,A & B\n")
        ines.post("/weddings/import/confirm", 403, body="RGF0ZQ==")
        assert row_of(stage, wedding) == before


def test_another_business_is_told_that_there_is_nothing(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa)
        code = re.search(r'class="code mono mt8">([^<]+)<', rosa.post(
            f"/weddings/{wedding}/share", 200
        ).text)  # fmt: skip
        assert code is not None
        assert code[1] not in rosa.get(f"/weddings/{wedding}"), "shown once"
    with signed_in(stage, "priya") as priya:
        for path in ("", "/edit"):
            priya.get(f"/weddings/{wedding}{path}", 404)
        for action in ("move", "cancel", "share", "join", "leave", "edit", "link", "ready"):
            priya.post(f"/weddings/{wedding}/{action}", 404, date="2030-01-01", code=code[1])
        own = made(priya, couple="Amara Cole & Ruth Bell")
        wrong = priya.post(f"/weddings/{own}/join", 422, code="nonsense")
        assert 'id="e-code"' in wrong.text
        assert 'value="nonsense"' in wrong.text
        priya.post(f"/weddings/{own}/join", code=code[1])
        assert "You and 1 other vendor." in priya.get(f"/weddings/{own}")
        priya.post(f"/weddings/{own}/leave")
        assert "You alone." in priya.get(f"/weddings/{own}")


def test_a_form_of_another_site_or_without_its_token_is_refused(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa)
        paths = [
            "/weddings/new", "/weddings/import", "/weddings/import/confirm", "/freeze",
            "/platform/guard", f"/platform/guard/{uuid4()}/end",
            f"/freeze/approvals/{uuid4()}/withdraw",
            *(f"/weddings/{wedding}/{name}" for name in ("move", "cancel", "share", "edit", "ready",
                                                         "reveal")),
        ]  # fmt: skip
        for path in paths:
            assert rosa.client.post(path, data={"csrf": "AAAA"}).status_code == 403, path
            foreign = {"origin": "https://evil.example"}
            answer = rosa.client.post(path, data={"csrf": rosa.token()}, headers=foreign)
            assert answer.status_code == 403, path


def test_an_operator_says_why_and_the_vendor_reads_it(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa, name_0="Dan Hill", phone_0="+44 7700 900123")
    with signed_in(stage, "nadia") as nadia:
        for known in (wedding, uuid4()):
            page = nadia.get(f"/weddings/{known}")
            assert "Why do you need to know?" in page
            assert "Amara" not in page
        short = nadia.post(f"/weddings/{wedding}/reveal", 422, reason="because")
        assert 'id="e-reason"' in short.text
        nadia.post(f"/weddings/{uuid4()}/reveal", 422, reason="The venue cannot reach anybody")
        told = nadia.post(
            f"/weddings/{wedding}/reveal", 200, reason="The venue cannot reach anybody"
        )
        assert "+44 7700 900123" in told.text
    rows = stage.execute(
        "select new_values ->> 'reason' as reason from apm_audit_log"
        " where action = 'reveal' and object_id = %(id)s::text",
        id=wedding,
    )
    assert [row["reason"] for row in rows] == ["The venue cannot reach anybody"]
    with signed_in(stage, "rosa") as rosa:
        rosa.post(f"/weddings/{wedding}/reveal", 403, reason="I am the vendor myself here")


def ics(*events: str) -> str:
    return "\r\n".join(
        ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//t//EN", *events, "END:VCALENDAR", "")
    )


def event(uid: str, day: date, couple: str) -> str:
    return "\r\n".join(
        ("BEGIN:VEVENT", f"UID:{uid}", f"DTSTART;VALUE=DATE:{day:%Y%m%d}", f"SUMMARY:{couple}",
         "END:VEVENT")
    )  # fmt: skip


def test_a_file_shows_what_it_would_do_and_does_it_when_told(stage: Stage) -> None:
    day = FAR + timedelta(days=30)
    with signed_in(stage, "tom") as tom:
        text = ics(event("p@x", day, "Cleo & Dan"), event("q@x", day, "=SUM(1)"))
        shown = tom.post("/weddings/import", 200, text=text)
        assert "1 wedding would change" in shown.text
        assert "Cleo &amp; Dan" in shown.text
        assert "Refused: 1" in shown.text
        assert "spreadsheet&#39;s formula" in shown.text
        count = "select count(*) as n from apm_weddings where wedding_date = %(day)s"
        assert stage.execute(count, day=day)[0]["n"] == 0, "a look changes nothing"
        body = re.search(r'name="body" value="([^"]+)"', shown.text)
        assert body is not None
        tom.post("/weddings/import/confirm", body=body[1])
        assert stage.execute(count, day=day)[0]["n"] == 1
        page = tom.get("/weddings/import")
        assert "New: 1" in page
        assert "Refused: 1" in page
        assert "Tom" in page

        file = {"file": ("w.ics", ics(event("p@x", day + timedelta(days=1), "Cleo & Dan")))}
        answer = tom.client.post("/weddings/import", data={"csrf": tom.token()}, files=file)
        assert "Moved: 1" in answer.text
        assert "date: " in answer.text
        empty = tom.post("/weddings/import", 422)
        assert 'id="e-text"' in empty.text
        bad = tom.post("/weddings/import", 422, text="\x00\x01 nothing of the kind")
        assert 'id="e-text"' in bad.text or "Refused" in bad.text
    with signed_in(stage, "priya") as priya:
        assert "Refused: 1" not in priya.get("/weddings/import"), "each sees his own imports"


def test_a_file_is_bounded_and_so_is_every_other_form(stage: Stage) -> None:
    with signed_in(stage, "tom") as tom:
        large = "x" * (1024 * 1024 + 1)
        answer = tom.post("/weddings/import", 422, text=large)
        assert "more than 1 MB" in answer.text
        huge = {"csrf": tom.token(), "text": "x" * IMPORT_BODY_BYTES}
        assert tom.client.post("/weddings/import", data=huge).status_code == 413
        form = {"csrf": tom.token(), "couple": "x" * PAGE_BODY_BYTES}
        assert tom.client.post("/weddings/new", data=form).status_code == 413
        bomb = ics(
            "BEGIN:VEVENT",
            "UID:b@x",
            "DTSTART:20300601T140000",
            "RRULE:FREQ=SECONDLY",
            "END:VEVENT",
        )
        assert "Refused: 1" in tom.post("/weddings/import", 200, text=bomb).text
    with httpx.Client(base_url=stage.url) as stranger:
        answer = stranger.post("/weddings/import", data={"text": "x" * 100_000})
        assert answer.status_code == 401


def test_a_client_and_an_entry_are_shown_once_and_linked(stage: Stage) -> None:
    day = FAR + timedelta(days=60)
    client = uuid4()
    stage.execute(
        "insert into clients (id, organization_id, first_name, last_name, partner_first_name,"
        " partner_last_name, wedding_date, status) values"
        " (%(id)s, %(o)s, 'Jo', 'Lind', 'Pat', 'Marsh', %(day)s, 'booked')",
        id=client, o=stage.organization_id, day=day,
    )  # fmt: skip
    is_day = (
        "select exists (select from"
        " apm_private.weddings_between(array[%(o)s::uuid], %(day)s, %(day)s)) as found"
    )
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa, on=day.isoformat(), couple="Pat Marsh and Jo Lind")
        month = rosa.get(f"/weddings?month={day:%Y-%m}")
        assert "shown once" in month
        assert month.count("Jo Lind") == 1, "the client's own entry is folded into ours"
        assert "We show both as one." in rosa.get(f"/weddings/{wedding}")
        assert f"/weddings/{wedding}" in rosa.get(f"/weddings/{client}"), "each leads to the other"
        assert stage.execute(is_day, o=stage.organization_id, day=day)[0]["found"]
        other = made(rosa, on=(day + timedelta(days=1)).isoformat())
        rosa.post(f"/weddings/{other}/link", 409, client_id=str(client))
        rosa.post(f"/weddings/{wedding}/link", 404, client_id=str(uuid4()))
        rosa.post(f"/weddings/{wedding}/link", client_id=str(client))
        assert row_of(stage, wedding)["client_id"] == client
        assert "shown once" not in rosa.get(f"/weddings?month={day:%Y-%m}")
        assert stage.execute(is_day, o=stage.organization_id, day=day)[0]["found"]


def test_a_wedding_that_is_near_has_its_readiness(stage: Stage) -> None:
    soon = datetime.now(UTC).date() + timedelta(days=2)
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa, on=soon.isoformat())
        page = rosa.get(f"/weddings/{wedding}")
        assert "Ready for the day?" in page
        assert "To put right:" in page or "Not known:" in page
        rosa.post(f"/weddings/{wedding}/ready")
        far = made(rosa)
        assert "Ready for the day?" not in rosa.get(f"/weddings/{far}")
        late = rosa.post(f"/weddings/{far}/ready").headers["location"]
        assert late.endswith("said=ready_early")


def test_a_zone_that_nobody_can_read_is_told_and_breaks_no_page(stage: Stage) -> None:
    today = datetime.now(UTC).date()
    with signed_in(stage, "rosa") as rosa:
        wedding = made(rosa, on=today.isoformat(), couple="Ike Mars & Joy Base")
        stage.execute(
            "update apm_weddings set time_zone = 'Mars/Base' where id = %(id)s", id=wedding
        )
        page = rosa.get(f"/weddings/{wedding}")
        assert "Nobody can read the venue&#39;s time zone" in page or (
            "Nobody can read the venue's time zone" in page
        )
        assert "Ike Mars" in rosa.get(f"/weddings?day={today}")
        rosa.get("/")
        rosa.get(f"/weddings/{wedding}/edit")
        stage.execute("delete from apm_weddings where id = %(id)s", id=wedding)


def test_today_asks_on_the_evening_before_whether_all_is_ready(stage: Stage) -> None:
    now = datetime.now(UTC)
    # wherever it is between eight and nine in the evening at this moment
    ahead = (20 - now.hour + 12) % 24 - 12
    venue = now + timedelta(hours=ahead)
    zone = f"Etc/GMT{-ahead:+d}"
    with signed_in(stage, "rosa") as rosa:
        tomorrow = (venue.date() + timedelta(days=1)).isoformat()
        made(rosa, on=tomorrow, couple="Una Reed & Vic Shaw", time_zone=zone, ceremony="14:00")
        later = (venue.date() + timedelta(days=2)).isoformat()
        made(rosa, on=later, couple="Wyn Teal & Xia Urban", time_zone=zone, ceremony="14:00")
        page = rosa.get("/")
        assert "Wedding tomorrow: Una Reed &amp; Vic Shaw" in page
        assert "Wedding tomorrow: Wyn Teal" not in page
        assert "A backup was proven by restoring it" in page
    with signed_in(stage, "ines") as ines:
        assert "Wedding tomorrow: U &amp; V" in ines.get("/")


def test_operators_order_a_mode_and_end_it(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        rosa.get("/platform/guard", 403)
        rosa.post("/platform/guard", 403, mode="maximum", reason="because", minutes="10")
        rosa.post("/platform/guard", 403, mode="maximum")
    with signed_in(stage, "nadia") as nadia:
        wrong = nadia.post(
            "/platform/guard", 422, mode="maximum", reason="x", minutes="481", emergency="payment"
        )
        assert all(
            f'id="e-{name}"' in wrong.text for name in ("reason", "minutes", "rollback_plan")
        )
        nadia.post("/platform/guard", mode="maximum", reason="A provider is down", minutes="30")
        page = nadia.get("/platform/guard")
        assert "Closest watch until" in page
        assert "A provider is down" in page
        order = re.search(r"/platform/guard/([0-9a-f-]{36})/end", page)
        assert order is not None
    with signed_in(stage, "rosa") as rosa:
        assert "ordered by Nadia" in rosa.get("/weddings")
        rosa.post(f"/platform/guard/{order[1]}/end", 403, reason="I say so")
    with signed_in(stage, "sam") as sam:
        ended = sam.post(
            f"/platform/guard/{order[1]}/end", reason="It is back", emergency="payment"
        )
        assert ended.headers["location"].endswith("said=guard_ended")
        assert "ended early by" in sam.get("/platform/guard")
        sam.post(f"/platform/guard/{order[1]}/end", 409, reason="again and again")


def test_the_freeze_answers_with_the_weddings_that_are_the_reason(stage: Stage) -> None:
    with signed_in(stage, "rosa") as rosa:
        today = datetime.now(UTC).date()
        made(rosa, on=today.isoformat(), couple="Zoe Hart & Yan Moss")
        page = rosa.get("/freeze?service=forms")
        assert "must not be changed" in page
        assert "Z &amp; Y" in page
        calm = FAR + timedelta(days=90 - FAR.weekday())
        far = rosa.get(f"/freeze?service=forms&at={calm}T12:00")
        assert "may be changed" in far
        assert "Enter a day and a time" in rosa.get("/freeze?service=forms&at=noon")
        bad = rosa.post("/freeze", 422, reason="no", minutes="60", emergency="payment")
        assert 'id="e-rollback_plan"' in bad.text
        rosa.post(
            "/freeze", reason="Payments fail", minutes="60", emergency="payment",
            rollback_plan="The last release again", service="forms",
        )  # fmt: skip
        page = rosa.get("/freeze?service=forms")
        assert "Lifted by Rosa" in page
        approval = re.search(r"/freeze/approvals/([0-9a-f-]{36})/withdraw", page)
        assert approval is not None
    with signed_in(stage, "ines") as ines:
        assert "Owners and admins agree" in ines.get("/freeze?service=forms")
        ines.post("/freeze", 403, reason="I would like to", minutes="60")
        ines.post("/freeze", 403, reason="x")
    with signed_in(stage, "priya") as priya:
        priya.post(f"/freeze/approvals/{approval[1]}/withdraw", 404)
    with signed_in(stage, "nadia") as nadia:
        platform = nadia.get("/freeze?service=forms")
        assert "weddings are counted, and never named" in platform
        assert "Z &amp; Y" not in platform
    with signed_in(stage, "rosa") as rosa:
        rosa.post(f"/freeze/approvals/{approval[1]}/withdraw")
        assert "Lifted by" not in rosa.get("/freeze?service=forms")


@pytest.mark.parametrize(
    "query", ["?month=x", "?month=9999-99", "?day=0000", "?month=2100-12&day=z"]
)
def test_a_month_that_is_none_is_this_one_or_the_nearest(stage: Stage, query: str) -> None:
    with signed_in(stage, "rosa") as rosa:
        assert "<h1>" in rosa.get(f"/weddings{query}")
