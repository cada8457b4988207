"""Dashboards by mail: each time once, with what its receiver may see, until he or it is gone."""

import html
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pypdfium2
import pytest

from tests.integration.test_review_mails import Business, KilledError, Mortal
from tests.support.engine import EngineWorld, open_engine_world
from tests.support.outbox import BASE_URL, KEYRING, outbox_of
from tests.support.postgres import Database, PostgresServer
from tests.support.worst_mail import worst_mail
from wedsync_apm.config import Settings, load_settings
from wedsync_apm.dashboards.mails import store
from wedsync_apm.dashboards.pictures import desk
from wedsync_apm.db.pool import open_pool
from wedsync_apm.engine.dashboard_mails import DashboardMails
from wedsync_apm.notify.board_mail import PURPOSE
from wedsync_apm.web.build.sheets import build_sheet

DAY: Final = timedelta(days=1)
EIGHT: Final = datetime(2026, 6, 22, 7, tzinfo=UTC)
"""Eight on a Monday in London."""
LAYOUT: Final = """{"panels": [{"kind": "text", "key": "word", "title": "A word",
    "at": {"x": 0, "y": 0, "w": 6, "h": 2}, "text": "Ring Olga first."}]}"""


@pytest.fixture(scope="module")
def town(server: PostgresServer) -> Iterator[Database]:
    """One database for all of these: each test has organizations of its own."""
    with server.clone() as cloned:
        yield cloned


@pytest.fixture
async def world(town: Database) -> AsyncIterator[EngineWorld]:
    async with open_engine_world(town) as opened:
        # one run looks at a few: those of other tests would stand before ours
        await opened.run("delete from public.apm_dashboard_mails")
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({}, data_dir=tmp_path)


@pytest.fixture
async def mails(town: Database, settings: Settings) -> AsyncIterator[DashboardMails]:
    readers = await open_pool(town.api, name="readers", min_size=0, max_size=1)
    yield DashboardMails(readers, settings, build_sheet)
    await readers.close()


@dataclass
class Board:
    """A dashboard that goes out to some people of a business."""

    business: Business
    id: UUID

    @classmethod
    async def make(cls, business: Business, *people: str, weekday: int | None = None) -> "Board":
        rows = await business.world.run(
            "insert into public.apm_dashboards (organization_id, name, layout) values (%(o)s, "
            "'Flowers', %(l)s::jsonb) returning id",
            o=business.id,
            l=LAYOUT,
        )
        board = cls(business, rows[0]["id"])
        for name in people:
            await board.mail_to(name, weekday=weekday)
        return board

    async def mail_to(self, name: str, *, weekday: int | None = None) -> UUID:
        """From now on it goes out to him, on the Monday in question at first."""
        contact = await self.contact(name)
        rows = await self.business.world.run(
            "insert into public.apm_dashboard_mails (organization_id, dashboard_id, "
            "contact_method_id, weekday, at_time, time_zone, next_at) values (%(o)s, %(d)s, "
            "%(c)s, %(w)s, '08:00', 'Europe/London', %(at)s) returning id",
            o=self.business.id,
            d=self.id,
            c=contact,
            w=weekday,
            at=EIGHT,
        )
        mail_id: UUID = rows[0]["id"]
        return mail_id

    async def contact(self, name: str, verified: str = "now()") -> UUID:
        """An address of his."""
        rows = await self.business.world.run(
            "insert into public.apm_contact_methods (organization_id, user_id, name, channel, "
            "address, verified_at) select %(o)s, u.id, u.display_name, 'email', u.email, "
            f"{verified} from apm_private.users as u where u.email like %(who)s returning id",
            o=self.business.id,
            who=f"{name}.{self.business.id}@%",
        )
        contact: UUID = rows[0]["id"]
        return contact

    async def next(self) -> list[datetime]:
        """When it goes out next, to each of those who get it."""
        rows = await self.business.world.run(
            "select next_at from public.apm_dashboard_mails where dashboard_id = %(d)s "
            "order by next_at",
            d=self.id,
        )
        return [row["next_at"] for row in rows]


async def run(mails: DashboardMails, world: EngineWorld, at: datetime) -> str:
    async with world.engine.connection() as cx:
        await cx.set_autocommit(True)
        try:
            return await mails.run_once(cx, at)
        finally:
            await cx.set_autocommit(False)


async def test_it_goes_out_each_day_and_each_week_at_its_time(
    world: EngineWorld, mails: DashboardMails
) -> None:
    fern = await Business.open(world, fay="owner", tom="member")
    daily, weekly = await Board.make(fern, "fay"), await Business.open(world, una="owner")
    board = await Board.make(weekly, "una", weekday=1)
    await run(mails, world, EIGHT - timedelta(seconds=1))
    assert await fern.told() == []
    for _ in range(2):
        await run(mails, world, EIGHT)
    assert await fern.told() == [("fay", "dashboard")]
    assert await weekly.told() == [("una", "dashboard")]
    assert await daily.next() == [EIGHT + DAY]
    assert await board.next() == [EIGHT + 7 * DAY]
    # an engine that was away for days sends one, and goes on from there
    await run(mails, world, EIGHT + 4 * DAY + timedelta(hours=3))
    assert len(await fern.told()) == 2
    assert len(await weekly.told()) == 1
    assert await daily.next() == [EIGHT + 5 * DAY]


async def test_a_kill_before_any_statement_leaves_exactly_one(
    world: EngineWorld, mails: DashboardMails
) -> None:
    fern = await Business.open(world, fay="owner")
    await Board.make(fern, "fay")
    deaths = 0
    while True:
        async with world.engine.connection() as cx:
            await cx.set_autocommit(True)
            try:
                await mails.run_once(Mortal(cx, deaths), EIGHT)  # type: ignore[arg-type]
                break
            except KilledError:
                deaths += 1
                assert len(await fern.told()) in (0, 1)
            finally:
                await cx.set_autocommit(False)
    assert deaths >= 2, "it looks, and decides"
    await run(mails, world, EIGHT)
    assert await fern.told() == [("fay", "dashboard")]


async def test_two_engines_at_once_send_one(world: EngineWorld, mails: DashboardMails) -> None:
    fern = await Business.open(world, fay="owner")
    await Board.make(fern, "fay")
    async with world.engine.connection() as cx:
        await cx.set_autocommit(True)
        (due,) = [
            one
            for one in await store.list_due_dashboard_mails(cx, EIGHT)
            if one.organization_id == fern.id
        ]
        payload = {"word": "dashboard"}
        found = [await store.send_dashboard_mail(cx, due, EIGHT, payload, None) for _ in range(2)]
        await cx.set_autocommit(False)
    assert found == [True, False]
    assert len(await fern.told()) == 1


async def test_whoever_has_left_gets_nothing_more(
    town: Database, world: EngineWorld, mails: DashboardMails
) -> None:
    fern = await Business.open(world, fay="owner", tom="member", ada="member")
    board = await Board.make(fern, "fay", "tom", "ada")
    await fern.dismiss("tom")
    await run(mails, world, EIGHT)
    assert await fern.told() == [("ada", "dashboard"), ("fay", "dashboard")]
    assert len(await board.next()) == 2, "his has ended"
    # he leaves while his mail is in line
    await fern.dismiss("ada")
    await others_are_silent(world, fern)
    async with worst_mail() as server, outbox_of(town, mail_port=server.port) as sender:
        await sender.run_once(EIGHT)
        await sender.drain()
    states = {one["who"]: one["state"] for one in await fern.sent()}
    assert states == {"ada": "suppressed", "fay": "sent"}
    assert len(server.mails) == 1


async def others_are_silent(world: EngineWorld, business: Business) -> None:
    await world.run(
        "update public.apm_deliveries set state = 'cancelled' where organization_id <> %(o)s "
        "and state = 'pending'",
        o=business.id,
    )


async def test_a_dashboard_that_is_gone_goes_out_no_more(
    world: EngineWorld, mails: DashboardMails
) -> None:
    fern = await Business.open(world, fay="owner")
    board = await Board.make(fern, "fay")
    await run(mails, world, EIGHT)
    await world.run("delete from public.apm_dashboards where id = %(d)s", d=board.id)
    (mail,) = await fern.sent()
    assert mail["state"] == "cancelled", "not even what is in line"
    await run(mails, world, EIGHT + DAY)
    assert len(await fern.told()) == 1


async def test_only_proven_addresses_of_members_get_it(world: EngineWorld) -> None:
    fern = await Business.open(world, fay="owner")
    next_door = await Business.open(world, olga="owner")
    board, other = await Board.make(fern), await Board.make(next_door)
    unproven = await board.contact("fay", verified="null")
    with pytest.raises(psycopg.errors.CheckViolation):
        await add(world, board, unproven)
    theirs = await other.contact("olga")
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.ForeignKeyViolation)):
        await add(world, board, theirs)


async def add(world: EngineWorld, board: Board, contact: UUID) -> None:
    await world.run(
        "insert into public.apm_dashboard_mails (organization_id, dashboard_id, contact_method_id, "
        "at_time, time_zone, next_at) values (%(o)s, %(d)s, %(c)s, '08:00', 'UTC', now())",
        o=board.business.id,
        d=board.id,
        c=contact,
    )


async def test_the_mail_brings_the_pdf_and_a_link_that_ends_it(
    town: Database, world: EngineWorld, mails: DashboardMails
) -> None:
    fern = await Business.open(world, fay="owner")
    board = await Board.make(fern)
    mail_id = await board.mail_to("fay", weekday=1)
    await run(mails, world, EIGHT)
    await others_are_silent(world, fern)
    async with worst_mail() as server, outbox_of(town, mail_port=server.port) as sender:
        await sender.run_once(EIGHT)
        await sender.drain()
    (raw,) = server.mails
    mail = message_from_bytes(raw, policy=default)
    assert mail["Subject"] == "Flowers, Monday 22 June, 08:00"
    link = f"{BASE_URL}/dashboards/leave/{mail_id}/{KEYRING.token(PURPOSE, mail_id)}"
    assert mail["List-Unsubscribe"] == f"<{link}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for part in ("plain", "html"):
        text = mail.get_body((part,))
        assert text is not None
        said = html.unescape(text.get_content())
        for words in (f"/dashboards/{board.id}", link, "each week", "attached as a PDF"):
            assert words in said, words
    (paper,) = mail.iter_attachments()
    assert paper.get_content_type() == "application/pdf"
    assert str(paper.get_filename()).endswith(".pdf")
    drawn = pypdfium2.PdfDocument(paper.get_content())[0].get_textpage().get_text_range()
    assert "Ring Olga first." in drawn
    (kept,) = await fern.sent()
    assert link not in kept["body"], "colleagues who read the log cannot end it for her"
    assert "(a link)" in kept["body"]


async def test_one_that_cannot_be_drawn_says_so_and_holds_up_nobody(
    world: EngineWorld, mails: DashboardMails, monkeypatch: pytest.MonkeyPatch
) -> None:
    fern = await Business.open(world, fay="owner")
    board = await Board.make(fern, "fay")
    monkeypatch.setattr(desk, "MOST_JOB_BYTES", 1)
    await run(mails, world, EIGHT)
    (mail,) = await fern.sent()
    assert "paper_id" not in mail["payload"]
    assert await board.next() == [EIGHT + DAY]


async def test_what_was_drawn_is_not_kept_for_long(
    world: EngineWorld, mails: DashboardMails
) -> None:
    fern = await Business.open(world, fay="owner")
    await Board.make(fern, "fay")

    async def papers() -> list[dict[str, Any]]:
        return await world.run(
            "select made_at from apm_private.mail_papers where organization_id = %(o)s", o=fern.id
        )

    await run(mails, world, EIGHT)
    assert len(await papers()) == 1
    await run(mails, world, EIGHT + 4 * DAY)
    assert [one["made_at"] for one in await papers()] == [EIGHT + 4 * DAY]
