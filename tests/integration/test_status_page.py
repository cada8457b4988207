"""A vendor's status page as strangers read it, and mail for whoever asks for it."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import psycopg
import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.outbox import BASE_URL, outbox_of
from tests.support.pages import fields_in, plain, surfing
from tests.support.postgres import Database, PostgresServer
from tests.support.worst_mail import worst_mail
from wedsync_apm.db.pool import open_pool
from wedsync_apm.errors import DatabaseAway
from wedsync_apm.simulate.vendors import STAR, VENDORS
from wedsync_apm.status import store
from wedsync_apm.web.pages import status as pages

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]
SLUG = "fern-field"
GUEST = "guest@example.com"
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Scene:
    """The demo's florist, with a status page, and somebody who is not signed in."""

    stage: Stage
    database: Database
    http: httpx.Client

    def run(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """One statement as the owner."""
        return self.stage.execute(statement, o=STAR.id, **values)

    def get(self, path: str, status: int = 200) -> str:
        """What a stranger reads."""
        answer = self.http.get(path)
        assert answer.status_code == status, (answer.status_code, plain(answer.text))
        return plain(answer.text)

    def ask(self, address: str = GUEST, status: int = 200, slug: str = SLUG) -> str:
        """A stranger asks for mail."""
        answer = self.http.post(f"/status/{slug}/subscribe", data={"address": address})
        assert answer.status_code == status, plain(answer.text)
        return plain(answer.text)

    def follow(self, after: timedelta = timedelta()) -> int:
        """The engine's job, at a later time."""

        async def once() -> int:
            pool = await open_pool(self.database.engine, name="engine", min_size=1, max_size=1)
            async with pool, pool.connection() as cx, cx.transaction():
                return await store.follow_status_pages(cx, datetime.now(UTC) + after)

        return asyncio.run(once())

    def mails(self, **replies: str) -> list[EmailMessage]:
        """What the mail server is handed of all that is due."""

        async def send() -> list[bytes]:
            async with (
                worst_mail() as server,
                outbox_of(self.database, mail_port=server.port) as sender,
            ):
                server.replies.update(replies)
                async with sender.pool.connection() as cx:
                    await sender.outbox.run_once(cx, datetime.now(UTC) + timedelta(minutes=10))
                await sender.outbox.drain()
                return server.mails

        found = []
        for raw in asyncio.run(send()):
            mail = message_from_bytes(raw.removesuffix(b".\r\n"), policy=default)
            assert isinstance(mail, EmailMessage)
            found.append(mail)
        return found

    def subscribe(self, address: str = GUEST) -> str:
        """Asked and confirmed; the path that ends it."""
        self.ask(address)
        (mail,) = self.mails()
        answer = self.http.post(link(mail, "confirm"))
        assert answer.status_code == 200, answer.text
        return link(mail, "leave", header=True)

    def set_check(self, status: str) -> None:
        """The order form is looked at, and found so."""
        self.run(
            "update service_health_checks set status = %(s)s::service_status,"
            " last_check_at = now(), status_since = now()"
            " where organization_id = %(o)s and couple_facing",
            s=status,
        )


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def link(mail: EmailMessage, purpose: str, *, header: bool = False) -> str:
    """The path of a link in a mail, or of its header."""
    where = mail["List-Unsubscribe"] if header else text_of(mail)
    found = re.search(rf"{re.escape(BASE_URL)}(/status/[\w-]+/{purpose}/[\w-]+)", where)
    assert found is not None, where
    return found[1]


@pytest.fixture(scope="module")
def scene(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("status")
    with (
        server.clone() as database,
        open_stage(database, folder) as stage,
        httpx.Client(base_url=stage.url, timeout=30) as http,
    ):
        opened = Scene(stage, database, http)
        opened.run(
            "update service_health_checks as c set check_interval = '10 minutes',"
            " couple_facing = c.service_name = 'wedding_forms' where organization_id = %(o)s"
        )
        for table in ("apm_memberships", "user_profiles"):
            opened.run(f"update {table} set role = 'MEMBER' where user_id = %(u)s", u=TOM.id)
        yield opened


@pytest.fixture(autouse=True)
def calm(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(pages, "CALLS_A_MINUTE", 10**6)
    for table in (
        "apm_deliveries", "apm_status_subscribers", "apm_status_problems", "apm_status_notes",
        "apm_status_pages", "apm_private.status_asks", "apm_incidents",
    ):  # fmt: skip
        scene.run(f"delete from {table}")
    scene.stage.let_the_engine_breathe()
    scene.run(
        "insert into apm_status_pages (organization_id, slug, title, is_public, check_ids)"
        " select %(o)s, %(slug)s, 'Fern & Field Flowers', true, array_agg(id)"
        " from service_health_checks where organization_id = %(o)s and couple_facing",
        slug=SLUG,
    )


def form_name(scene: Scene) -> str:
    (row,) = scene.run(
        "select display_name from service_health_checks"
        " where organization_id = %(o)s and couple_facing"
    )
    name: str = row["display_name"]
    return name


def test_everybody_reads_the_page_in_plain_words_without_a_cookie(scene: Scene) -> None:
    answer = scene.http.get(f"/status/{SLUG}", headers={"accept-encoding": "identity"})
    assert answer.status_code == 200
    page = plain(answer.text)
    assert "Everything works" in page
    assert f"{form_name(scene)} Working" in page
    assert "Last 90 days" in page
    assert "Times are in Europe/London" in page
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"].startswith("public, max-age=")
    assert answer.headers["x-robots-tag"] == "noindex"
    assert "script-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert len(answer.content) <= 10 * 1024
    again = scene.http.get(f"/status/{SLUG}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    scene.run("update apm_status_pages set is_indexed = true")
    assert "x-robots-tag" not in scene.http.get(f"/status/{SLUG}").headers


def test_trouble_is_told_with_when_who_and_the_next_word_and_never_more(scene: Scene) -> None:
    incident = scene.stage.break_the_form()
    scene.run(
        "update apm_incidents set status = 'acknowledged', acknowledged_at = now(),"
        " acknowledged_by_name = 'Priya Secret', title = 'p95 of node7 over 3000',"
        " engineer_text = 'replica lag on node7',"
        " next_update_at = now() + interval '40 minutes' where id = %(i)s",
        i=incident,
    )
    name = form_name(scene)
    scene.set_check("warning")
    assert f"{name} is slow since" in scene.get(f"/status/{SLUG}"), "before the engine came round"
    scene.follow()
    page = scene.get(f"/status/{SLUG}")
    assert f"{name} is slow since" in page
    assert "We are on it." in page
    assert "Next update by" in page
    assert "No other trouble in the last 14 days." in page
    everything = "".join(
        scene.http.get(f"/status/{SLUG}{kind}").text for kind in ("", ".json", ".atom")
    )
    for secret in ("Priya", "node7", "p95", "9100", "form_submission_time", "wedding_forms"):
        assert secret not in everything
    for wedding in scene.run("select * from apm_wedding_people where organization_id = %(o)s"):
        for told in (wedding.get("partner_one_name"), wedding.get("partner_two_name")):
            assert not told or told not in everything
    scene.run("update apm_status_problems set next_update_at = now() - interval '1 minute'")
    assert "is late" in scene.get(f"/status/{SLUG}")
    scene.set_check("critical")
    assert f"{name} does not work since" in scene.get(f"/status/{SLUG}")


def test_what_is_over_is_told_with_how_long_it_lasted(scene: Scene) -> None:
    scene.set_check("critical")
    scene.follow()
    scene.run("update apm_status_problems set began_at = began_at - interval '21 minutes'")
    scene.set_check("healthy")
    scene.follow()
    page = scene.get(f"/status/{SLUG}")
    assert "Everything works" in page
    assert f"{form_name(scene)} was not as it should be for 21 min" in page
    entry = ElementTree.fromstring(scene.http.get(f"/status/{SLUG}.atom").text)  # noqa: S314 ours
    assert entry.tag == "{http://www.w3.org/2005/Atom}feed"
    assert len(entry.findall("{http://www.w3.org/2005/Atom}entry")) == 1


def test_a_rules_incident_is_told_in_the_vendors_words(scene: Scene) -> None:
    incident = scene.stage.break_the_form()
    scene.run(
        "update apm_incidents set vendor_text = %(v)s::jsonb where id = %(i)s",
        i=incident,
        v='{"subject": "Your order form", "problem": "is slow",'
        ' "still_works": "Orders still arrive", "what_to_do": ["Restart the server"]}',
    )
    scene.follow()
    page = scene.get(f"/status/{SLUG}")
    assert f"{form_name(scene)} is slow since" in page
    assert "The Your" not in page
    assert "The order form is slow. " in page
    assert "Orders still arrive." in page
    assert "Restart" not in page


def test_ninety_days_are_told_by_the_vendors_clock(scene: Scene) -> None:
    scene.run("delete from apm_service_status_history")
    scene.run(
        "insert into apm_service_status_history (organization_id, check_id, status, reason, since)"
        " select c.organization_id, c.id, s.status::service_status, 'x', (current_date - s.back"
        " + s.at) at time zone 'Europe/London' from service_health_checks as c cross join (values"
        " (60, time '00:00', 'healthy'), (10, time '10:00', 'warning'),"
        " (10, time '10:06', 'healthy'), (3, time '23:50', 'critical'),"
        " (2, time '00:20', 'healthy'))"
        " as s (back, at, status)"
        " where c.organization_id = %(o)s and couple_facing"
    )
    (service,) = scene.http.get(f"/status/{SLUG}.json").json()["services"]
    marks = [mark for _, mark in service["days"]]
    assert len(marks) == 90
    (today,) = scene.run("select (now() at time zone 'Europe/London')::date as day, current_date")
    if today["day"] == today["current_date"]:
        assert marks[:29] == ["none"] * 29
        assert [i for i, mark in enumerate(marks) if mark == "slow"] == [79]
        assert [i for i, mark in enumerate(marks) if mark == "down"] == [86, 87]
    page = scene.get(f"/status/{SLUG}")
    assert "trouble on 3 days" in page
    assert "29 days not known" in page
    assert "slow for 6 min" in page
    assert "not working for 10 min" in page
    assert "not working for 20 min" in page


def test_old_knowledge_is_not_known_and_never_green(scene: Scene) -> None:
    """The engine is dead: the page still answers, and says how old its knowledge is."""
    scene.run("update service_health_checks set last_check_at = now() - interval '2 hours'")
    page = scene.get(f"/status/{SLUG}")
    assert "Not known since" in page
    assert "Everything works" not in page
    assert f"{form_name(scene)} Not known" in page


def test_unknown_and_hidden_pages_are_the_same(scene: Scene) -> None:
    unknown = scene.http.get("/status/no-such-page")
    scene.run("update apm_status_pages set is_public = false")
    hidden = scene.http.get(f"/status/{SLUG}")
    assert unknown.status_code == hidden.status_code == 404
    forget = re.compile(r'(name="csrf" value=")[^"]*|datetime="[^"]*"|\d\d:\d\d')
    assert forget.sub("", unknown.text) == forget.sub("", hidden.text)
    for kind in (".json", ".atom", "/subscribe", ".exe"):
        scene.get(f"/status/{SLUG}{kind}", 404)
    assert scene.http.post(f"/status/{SLUG}/subscribe", data={"address": GUEST}).status_code == 404


def test_a_mail_scanner_confirms_nothing_and_a_person_does(scene: Scene) -> None:
    assert "Look into your mailbox" in scene.ask()
    (mail,) = scene.mails()
    assert mail["To"] == GUEST
    assert "Fern & Field Flowers" in mail["Subject"]
    path = link(mail, "confirm")
    for _ in range(3):
        assert "Yes, send me the news" in scene.get(path)
    assert scene.run("select confirmed_at from apm_status_subscribers") == [{"confirmed_at": None}]
    assert scene.http.post(path).status_code == 200
    (row,) = scene.run("select * from apm_status_subscribers")
    assert (row["address"], row["confirmed_at"] is None) == (GUEST, False)
    assert "You get the news" in scene.get(path), "a second look says that it is done"
    assert scene.http.post(path).status_code == 200


def test_an_unconfirmed_address_gets_nothing_and_is_forgotten(scene: Scene) -> None:
    scene.ask()
    scene.mails()
    scene.set_check("critical")
    scene.follow()
    assert scene.follow(2 * MINUTE) == 0
    scene.run("update apm_status_subscribers set asked_at = now() - interval '3 days'")
    scene.run("select apm_private.forget_status_asks(now())")
    assert scene.run("select * from apm_status_subscribers") == []


def test_asking_looks_the_same_for_whoever_is_known(scene: Scene) -> None:
    scene.subscribe()
    scene.run("delete from apm_private.status_asks")
    known, new = scene.ask(), scene.ask("new@example.com")
    assert known.replace(GUEST, "x") == new.replace("new@example.com", "x")
    mails = {str(mail["To"]): text_of(mail) for mail in scene.mails()}
    assert set(mails) == {GUEST, "new@example.com"}
    assert "already" in mails[GUEST]
    assert "/confirm/" not in mails[GUEST]


def test_an_address_is_not_flooded_and_callers_have_a_limit(scene: Scene) -> None:
    for _ in range(3):
        assert "Look into your mailbox" in scene.ask(), "the same words"
    assert len(scene.mails()) == 1
    for number in range(9):
        scene.ask(f"guest{number}@example.com")
    assert "Try again in an hour" in scene.ask("one-more@example.com", 429)
    assert len(scene.run("select * from apm_private.status_asks")) == 10


@pytest.mark.parametrize(
    "address",
    [
        "", "nobody", "a@b@c", "a b@example.com", "a@example.com, b@example.com",
        "a@example.com\r\nBcc: b@example.com", '"a b"@example.com', "<a@example.com>", "x" * 400,
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_address_is_kept_and_sent_nothing(scene: Scene, address: str) -> None:
    page = scene.ask(address, 422)
    assert "Enter one e-mail address" in page
    assert scene.run("select * from apm_status_subscribers") == []
    assert scene.mails() == []


def test_subscribers_hear_the_beginning_the_change_and_the_end_each_alone(scene: Scene) -> None:
    scene.subscribe()
    scene.run("delete from apm_private.status_asks")
    scene.subscribe("other@example.com")
    name = form_name(scene)
    scene.set_check("warning")
    assert scene.follow() == 0, "what flickers is not told"
    assert scene.follow(2 * MINUTE) == 2
    assert scene.follow(3 * MINUTE) == 0, "once"
    mails = scene.mails()
    assert sorted(str(mail["To"]) for mail in mails) == [GUEST, "other@example.com"]
    for mail in mails:
        assert f"{name} is slow, since" in text_of(mail)
        assert mail["Cc"] is None
        assert mail["Bcc"] is None
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert len({str(m["List-Unsubscribe"]) for m in mails}) == 2
    scene.set_check("critical")
    scene.follow(4 * MINUTE)
    assert scene.follow(6 * MINUTE) == 2
    assert f"{name} does not work" in text_of(scene.mails()[0])
    scene.set_check("healthy")
    scene.follow(7 * MINUTE)
    assert scene.follow(9 * MINUTE) == 2
    ended = scene.mails()[0]
    assert "Working again since" in text_of(ended)
    assert "does not work" in ended["Subject"], "the same thread as before"


def test_trouble_that_only_flickers_is_told_to_nobody(scene: Scene) -> None:
    scene.subscribe()
    scene.set_check("critical")
    scene.follow()
    scene.set_check("healthy")
    scene.follow(MINUTE / 2)
    assert scene.follow(5 * MINUTE) == 0


def test_a_note_is_on_the_page_and_in_the_mail(scene: Scene) -> None:
    scene.subscribe()
    with surfing(scene.stage, ROSA) as rosa:
        rosa.post("/status-page/notes", body="We have found the cause.\nMore soon.", next_in="30")
    page = scene.get(f"/status/{SLUG}")
    assert "We have found the cause. More soon." in page
    assert "Next update by" in page
    assert scene.follow() == 1
    (mail,) = scene.mails()
    assert "We have found the cause.\nMore soon.\nNext update by" in text_of(mail)


def test_one_click_ends_it_and_what_was_on_its_way(scene: Scene) -> None:
    leave = scene.subscribe()
    scene.set_check("critical")
    scene.follow()
    assert scene.follow(2 * MINUTE) == 1
    assert "Stop the mails" in scene.get(leave)
    assert len(scene.run("select * from apm_status_subscribers")) == 1, "a look ends nothing"
    scene.run("update apm_status_pages set slug = 'another-address'")
    answer = scene.http.post(
        leave,
        content="List-Unsubscribe=One-Click",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 200
    assert "Your address is deleted" in answer.text
    assert scene.run("select * from apm_status_subscribers") == []
    assert scene.mails() == []
    scene.get(leave, 404)


def test_a_mailbox_that_is_gone_ends_its_subscription(scene: Scene) -> None:
    scene.subscribe()
    scene.set_check("critical")
    scene.follow()
    scene.follow(2 * MINUTE)
    assert scene.mails(RCPT="550 5.1.1 no such user") == []
    assert scene.run("select * from apm_status_subscribers") == []


def test_three_mails_that_come_back_end_it(scene: Scene) -> None:
    scene.subscribe()
    for number in range(3):
        assert len(scene.run("select * from apm_status_subscribers")) == 1
        scene.run("insert into apm_status_notes (organization_id, body) values (%(o)s, 'x')")
        assert scene.follow(number * MINUTE) == 1
        assert scene.mails(body="554 5.7.1 no thanks") != []
    assert scene.run("select * from apm_status_subscribers") == []


def test_a_page_that_is_turned_off_tells_nobody_anything(scene: Scene) -> None:
    scene.subscribe()
    scene.set_check("critical")
    scene.follow()
    assert scene.follow(2 * MINUTE) == 1
    scene.run("update apm_status_pages set is_public = false")
    assert scene.mails() == []
    scene.set_check("healthy")
    scene.follow(3 * MINUTE)
    assert scene.follow(9 * MINUTE) == 0


def test_an_address_stands_nowhere_but_where_admins_see_it(scene: Scene) -> None:
    scene.subscribe()
    for table in ("apm_deliveries", "apm_delivery_attempts", "apm_audit_log"):
        found = scene.run(f"select * from {table} as t where t::text like '%%guest@%%'")
        assert found == [], table
    bodies = scene.run("select body from apm_deliveries where status_subscriber_id is not null")
    assert bodies
    assert all("(a link)" in row["body"] for row in bodies)
    with surfing(scene.stage, ROSA) as rosa:
        assert GUEST in rosa.get("/status-page")
    with surfing(scene.stage, TOM) as tom:
        page = tom.get("/status-page")
        assert GUEST not in page
        assert "1 person gets its news" in page


def test_the_owner_sets_it_up_and_others_cannot(scene: Scene) -> None:
    scene.run("delete from apm_status_pages")
    with surfing(scene.stage, ROSA) as rosa:
        form = fields_in(rosa.http.get("/status-page").text)
        assert form["slug"] == [STAR.name.lower().replace(" & ", "-").replace(" ", "-")]
        assert len(form["show"]) == 1, "what couples use is chosen"
        rosa.post("/status-page", **form)
        assert "Nobody can see it" in rosa.get("/status-page")
        assert "Everything works" in rosa.get("/status-page/preview")
        scene.get(f"/status/{form['slug'][0]}", 404)
        form = fields_in(rosa.http.get("/status-page").text)
        rosa.post("/status-page", **form | {"is_public": "yes"})
        assert "Everything works" in scene.get(f"/status/{form['slug'][0]}")
        form = fields_in(rosa.http.get("/status-page").text)
        wrong = form | {"slug": "Not a slug", "title": "", "is_public": "yes", "show": []}
        refused = plain(rosa.post("/status-page", 422, **wrong).text)
        assert "Use 3 to 60 small letters" in refused
        assert "Enter a title" in refused
        assert "Choose what it shows" in refused
        (stranger,) = scene.run(
            "select id from service_health_checks where organization_id = %(b)s limit 1",
            b=VENDORS[1].id,
        )
        rosa.post("/status-page", 422, **form | {"show": [str(stranger["id"])]})
    for person in (TOM, INES):
        with surfing(scene.stage, person) as other:
            assert "Only an owner or admin" in other.get("/status-page")
            other.post("/status-page", 403, **form)
            other.post("/status-page/notes", 403, body="x")
    logged = scene.run(
        "select action from apm_audit_log where object_type = 'apm_status_pages'"
        " and organization_id = %(o)s and actor = %(name)s order by id",
        name=ROSA.name,
    )
    assert [row["action"] for row in logged][-2:] == ["insert", "update"]


def test_who_saves_second_sees_what_the_first_has_changed(scene: Scene) -> None:
    with surfing(scene.stage, ROSA) as rosa, surfing(scene.stage, ROSA) as other:
        at_rosa, at_other = (fields_in(one.http.get("/status-page").text) for one in (rosa, other))
        rosa.post("/status-page", **at_rosa | {"title": "Changed by <Rosa>"})
        answer = other.post("/status-page", 409, **at_other | {"intro": "Typed meanwhile"})
        said = plain(answer.text)
        assert "Somebody changed this while you were typing" in said
        assert "Title now: Changed by <Rosa> yours: Fern & Field Flowers" in said
        assert "yours: Typed meanwhile" in said
        kept = fields_in(answer.text)
        assert kept["intro"] == ["Typed meanwhile"]
        (row,) = scene.run(
            "select title, intro from apm_status_pages where organization_id = %(o)s"
        )
        assert (row["title"], row["intro"]) == ("Changed by <Rosa>", "")
        # A fault keeps the mark, and whoever has looked may choose his own.
        faulty = fields_in(other.post("/status-page", 422, **kept | {"title": ""}).text)
        other.post("/status-page", **faulty | {"title": "His own"})
        (row,) = scene.run(
            "select title, intro from apm_status_pages where organization_id = %(o)s"
        )
        assert (row["title"], row["intro"]) == ("His own", "Typed meanwhile")


def test_another_vendor_sees_his_own_page_and_no_other(scene: Scene) -> None:
    scene.subscribe()
    with surfing(scene.stage, STRANGER) as other:
        page = other.get("/status-page")
        assert GUEST not in page
        assert "Fern & Field Flowers" not in page
        other.get("/status-page/preview", 404)
        form = fields_in(other.http.get("/status-page").text)
        taken = plain(other.post("/status-page", 422, **form | {"slug": SLUG}).text)
        assert "Another page has this address" in taken
        other.post("/status-page/notes", 404, body="x")
    (row,) = scene.run("select title from apm_status_pages where slug = %(s)s", s=SLUG)
    assert row["title"] == "Fern & Field Flowers"


def test_hostile_names_are_text(scene: Scene) -> None:
    name = form_name(scene)
    evil = "<script>alert(1)</script>\u202e%0d%0aBcc: x@example.com {{7*7}} & =cmd"
    scene.run("update apm_status_pages set title = %(t)s, intro = %(t)s", t=evil)
    scene.run(
        "update service_health_checks set display_name = %(t)s"
        " where organization_id = %(o)s and couple_facing",
        t=evil,
    )
    try:
        scene.run(
            "insert into apm_status_notes (organization_id, body) values (%(o)s, %(t)s)", t=evil
        )
        scene.set_check("critical")
        scene.follow()
        for kind in ("", ".atom"):
            text = scene.http.get(f"/status/{SLUG}{kind}").text
            assert "<script" not in text
            assert "\u202e" not in text
            assert "{{7*7}}" in text
        ElementTree.fromstring(scene.http.get(f"/status/{SLUG}.atom").text)  # noqa: S314 ours
        assert (
            scene.http.get(f"/status/{SLUG}.json")
            .headers["content-type"]
            .startswith("application/json")
        )
        scene.ask()
        (mail,) = scene.mails()
        assert mail["Bcc"] is None
        assert mail["To"] == GUEST
        assert "\u202e" not in text_of(mail)
        html = mail.get_body(("html",))
        assert html is not None
        assert "<script" not in html.get_content()
    finally:
        scene.run(
            "update service_health_checks set display_name = %(n)s"
            " where organization_id = %(o)s and couple_facing",
            n=name,
        )


def test_planned_work_is_announced_without_its_reason(scene: Scene) -> None:
    scene.run("delete from apm_maintenance_windows")
    scene.run(
        "insert into apm_maintenance_windows (organization_id, name, reason, starts_at, ends_at)"
        " values (%(o)s, 'Kernel of node7', 'CVE', now() + interval '1 day',"
        " now() + interval '25 hours')"
    )
    answer = scene.http.get(f"/status/{SLUG}")
    scene.run("delete from apm_maintenance_windows")
    assert f"Announced work {form_name(scene)}:" in plain(answer.text)
    assert "node7" not in answer.text
    assert "CVE" not in answer.text


def test_a_crowd_is_served_of_one_reading_and_a_single_caller_has_a_limit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FRESH_SECONDS", 600.0)
    assert "Everything works" in scene.get(f"/status/{SLUG}")
    scene.set_check("critical")
    assert "Everything works" in scene.get(f"/status/{SLUG}"), "kept for some seconds"
    monkeypatch.setattr(pages, "FRESH_SECONDS", 0.0)
    assert "does not work" in scene.get(f"/status/{SLUG}")
    monkeypatch.setattr(pages, "CALLS_A_MINUTE", 0)
    answer = scene.http.get(f"/status/{SLUG}")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_where_the_database_is_away_the_last_page_is_shown_as_old(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Everything works" in scene.get(f"/status/{SLUG}")

    async def away(*_: object) -> None:
        raise DatabaseAway

    monkeypatch.setattr(store, "show_status_page", away)
    page = scene.get(f"/status/{SLUG}")
    assert "We cannot reach our own records" in page
    assert "Everything works" not in page
    scene.get("/status/never-read-before", 503)


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_nobody_signed_in_nowhere_reads_the_tables(scene: Scene, role: str) -> None:
    scene.subscribe()
    with psycopg.connect(scene.database.owner) as cx:
        cx.execute(f"set role {role}".encode())
        for table in ("apm_status_pages", "apm_status_subscribers", "apm_status_problems"):
            try:
                with cx.transaction():
                    assert cx.execute(f"select * from {table}".encode()).fetchall() == []
            except psycopg.errors.InsufficientPrivilege:
                continue
