"""The pages on a real database: what people do, with and without scripts."""

import re
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.stage import Stage, open_stage
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR
from wedsync_apm.types import Role

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stage for the module; each test opens an incident of its own where it needs one."""
    folder: Path = tmp_path_factory.mktemp("stage")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest.fixture
def incident(stage: Stage) -> UUID:
    """The order form is slow, and nobody has it."""
    stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")
    stage.let_the_engine_breathe()
    found: UUID = stage.break_the_form()
    return found


@pytest_asyncio.fixture(loop_scope="session", params=[True, False], ids=["scripts", "no scripts"])
async def phone(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[BrowserContext]:
    """A phone, once with scripts and once without: everything must work in both."""
    context = await browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        java_script_enabled=request.param,
    )
    yield context
    await context.close()


async def sign_in(context: BrowserContext, stage: Stage, person: str = "florist") -> Page:
    """As one of the demo's people, by his button."""
    page = await context.new_page()
    await page.goto(f"{stage.url}/")
    assert "/sign-in" in page.url
    await page.locator(f'button[value="{person}"]').click()
    await page.wait_for_url(f"{stage.url}/")
    return page


async def test_sign_in_with_password_leads_back(phone: BrowserContext, stage: Stage) -> None:
    page = await phone.new_page()
    await page.goto(f"{stage.url}/rules")
    assert "then=/rules" in page.url.replace("%2F", "/")
    owner = STAR.people[0]
    await page.fill("input[name=email]", owner.email)
    await page.fill("input[name=password]", "wrong")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("alert")).to_have_text(
        "E-mail or password is not right.", use_inner_text=True
    )
    await expect(page.locator("input[name=email]")).to_have_value(owner.email)
    await page.fill("input[name=password]", stage.password(owner))
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url(f"{stage.url}/rules")
    cookie = next(c for c in await phone.cookies() if c["name"] == "wedsync_session")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    await page.goto(f"{stage.url}/more")
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(f"{stage.url}/")
    assert "/sign-in" in page.url


async def test_today_says_what_is_wrong_in_plain_words(
    phone: BrowserContext, stage: Stage, incident: UUID
) -> None:
    page = await sign_in(phone, stage)
    text = await page.locator("main").inner_text()
    assert "Your order form takes long to send" in text
    assert "Nobody has it yet" in text
    assert "today's limit is 2 s" in text
    assert re.search(r"Still working: (?!.*Order form).*Payments", text)
    assert not re.search(r"p95|threshold|severity|critical|wedding_forms\.", text, re.IGNORECASE)
    await expect(page).to_have_title(re.compile("^1 problem: order form takes long to send"))
    await expect(page.locator("text=Wedding today")).to_have_count(1)


async def test_member_of_the_ladder_takes_it_and_the_ladder_stops(
    phone: BrowserContext, stage: Stage, incident: UUID
) -> None:
    contact = stage.execute(
        "select id from apm_contact_methods where organization_id = %(o)s and user_id = %(u)s",
        o=STAR.id,
        u=STAR.people[0].id,
    )[0]["id"]
    stage.execute(
        "insert into apm_deliveries (organization_id, incident_id, contact_method_id, channel,"
        " kind, reason, idempotency_key, recipient, subject, body, state)"
        " values (%(o)s, %(i)s, %(c)s, 'email', 'page', 'first', %(k)s,"
        " '{\"name\": \"Rosa Whitlock\"}', 'Slow', 'It is slow.', 'delivered')",
        o=STAR.id,
        i=incident,
        c=contact,
        k=str(uuid4()),
    )
    page = await sign_in(phone, stage)
    await page.get_by_role("link", name="See what to do").click()
    await page.get_by_role("button", name="I'm on it").click()
    await page.wait_for_selector("text=You have it. The calls have stopped.")
    row = stage.execute("select * from apm_incidents where id = %(i)s", i=incident)[0]
    assert row["status"] == "acknowledged"
    assert row["acknowledged_by"] == STAR.people[0].id
    run = stage.execute(
        "select state from apm_escalation_runs where incident_id = %(i)s", i=incident
    )
    assert [one["state"] for one in run] == ["stopped"]
    await page.goto(f"{stage.url}/inbox")
    text = await page.locator("main").inner_text()
    assert "It is slow." in text
    assert "Arrived" in text


async def test_seeing_stops_nothing(phone: BrowserContext, stage: Stage, incident: UUID) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    await page.get_by_role("button", name="I have seen this").click()
    await page.wait_for_selector("text=Noted: you have seen this. The calls go on.")
    row = stage.execute("select status from apm_incidents where id = %(i)s", i=incident)[0]
    assert row["status"] == "open"
    await expect(page.locator(".tl")).to_contain_text("has seen it", use_inner_text=True)


async def test_viewer_looks_and_is_offered_nothing(
    browser: Browser, stage: Stage, incident: UUID
) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    viewer = next(one for one in STAR.people if one.role is Role.VIEWER)
    await page.goto(f"{stage.url}/sign-in")
    await page.fill("input[name=email]", viewer.email)
    await page.fill("input[name=password]", stage.password(viewer))
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url(f"{stage.url}/")
    text = await page.locator("main").inner_text()
    assert "Your order form takes long to send" in text
    assert re.search(r"Wedding today: [A-Z] & [A-Z]\n", text)
    await page.goto(f"{stage.url}/incidents/{incident}")
    await expect(page.locator("main button")).to_have_count(0)
    await context.close()


async def test_actions_stand_in_a_row_of_one_height(
    browser: Browser, stage: Stage, incident: UUID
) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await sign_in(context, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    row = await page.locator(".dock .b").evaluate_all(
        "(all) => all.map((el) => el.getBoundingClientRect())"
        ".map((b) => [b.x, b.y, b.height, b.right])"
    )
    assert len(row) == 3
    assert len({(y, height) for _, y, height, _ in row}) == 1
    gaps = [round(after[0] - before[3]) for before, after in pairwise(row)]
    assert gaps == [8, 8]
    assert await page.locator(".dock .b").first.evaluate("el => el.matches('.p')")
    await context.close()


async def test_second_tap_is_told_who_was_faster(
    phone: BrowserContext, stage: Stage, incident: UUID
) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    stage.execute(
        "select set_config('apm.actor', 'Mo Adeyemi', false);"
        " update apm_incidents set status = 'acknowledged' where id = '" + str(incident) + "'"
    )
    await page.get_by_role("button", name="Take this on myself").click()
    await page.wait_for_selector("text=This has moved on since you opened it")
    await expect(page.locator("main")).to_contain_text("Mo has had it in hand", use_inner_text=True)


async def test_note_and_fix(phone: BrowserContext, stage: Stage, incident: UUID) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    await page.locator("#note summary").click()
    await page.locator("#note textarea").fill("Rang <b>the</b> venue")
    await page.get_by_role("button", name="Save the note").click()
    await page.wait_for_selector("text=The note is saved.")
    await expect(page.locator(".tl")).to_contain_text("Rang <b>the</b> venue", use_inner_text=True)
    await page.locator("summary", has_text="Mark as fixed").click()
    await page.locator("#do-3 textarea").fill("Restarted the form")
    await page.locator("#do-3 button").click()
    await page.wait_for_selector("text=Marked as fixed.")
    await expect(page.locator(".state").first).to_contain_text(
        "Working again since", use_inner_text=True
    )


async def test_a_note_that_does_not_fit_is_kept_as_typed(
    phone: BrowserContext, stage: Stage, incident: UUID
) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    await page.locator("#note summary").click()
    await page.locator("#note textarea").fill("   ")
    await page.get_by_role("button", name="Save the note").click()
    await expect(page.get_by_role("alert")).to_have_text(
        "Write a word first. Nothing was saved.", use_inner_text=True
    )
    typed = "Rang <b>the</b> venue. " * 500
    await page.locator("#note textarea").fill(typed)
    await page.get_by_role("button", name="Save the note").click()
    await page.wait_for_selector("text=characters, and 10,000 fit")
    await expect(page.locator("#note textarea")).to_have_value(typed.strip())
    await page.locator("#note textarea").fill("Rang the venue")
    await page.get_by_role("button", name="Save the note").click()
    await page.wait_for_selector("text=The note is saved.")
    await expect(page.locator(".tl")).to_contain_text("Rang the venue", use_inner_text=True)


def test_whoever_belongs_nowhere_gets_a_plain_page(stage: Stage) -> None:
    nobody = uuid4()
    stage.execute(
        "insert into apm_private.users (id, email, display_name, password_hash)"
        " select %(id)s::uuid, %(id)s::text || '@example.org', 'Nora', password_hash"
        " from apm_private.users where email = %(like)s",
        id=str(nobody),
        like=STAR.people[0].email,
    )
    with client(stage) as http:
        form = {
            "csrf": token_in(http.get("/sign-in").text),
            "email": f"{nobody}@example.org",
            "password": stage.password(STAR.people[0]),
        }
        assert http.post("/sign-in", data=form).status_code == 303
        answer = http.get("/")
        assert answer.status_code == 404
        assert "belong to no business yet" in answer.text
        assert 'href="/"' not in answer.text, "a way that leads back here"
        out = http.post("/sign-out", data={"csrf": token_in(answer.text)})
        assert out.headers["location"] == "/sign-in?out=1"


async def test_theme_is_kept_on_the_device(phone: BrowserContext, stage: Stage) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/more")
    await page.get_by_role("button", name="Sunlight").click()
    await page.wait_for_load_state()
    await expect(page.locator("html")).to_have_attribute("data-theme", "sunlight")
    colour = await page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour == "rgb(255, 255, 255)"


async def test_engine_that_stands_still_is_not_green(phone: BrowserContext, stage: Stage) -> None:
    stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")
    stage.let_the_engine_breathe()
    page = await sign_in(phone, stage)
    await expect(page.locator(".st.ok").first).to_be_attached()
    stage.execute(
        "update apm_private.job_runs set started_at = now() - interval '20 s',"
        " finished_at = now() - interval '16 s'"
    )
    await page.goto(f"{stage.url}/")
    await expect(page.locator(".st.ok")).to_have_count(0)
    await expect(page.locator("h1")).to_contain_text("Not known", use_inner_text=True)
    await expect(page.locator("main")).not_to_contain_text("Working", use_inner_text=True)


async def test_page_renews_itself_without_a_reload(
    browser: Browser, stage: Stage, incident: UUID
) -> None:
    context = await browser.new_context()
    page = await sign_in(context, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    await page.evaluate("window.isSamePage = true")
    await page.locator("#note summary").click()
    stage.execute("update apm_incidents set status = 'resolved' where id = %(i)s", i=incident)
    await page.wait_for_selector("text=Working again since", timeout=60_000)
    assert await page.evaluate("window.isSamePage") is True
    assert await page.locator("#note").get_attribute("open") is not None
    await context.close()


async def test_charts_draw_and_tell_their_values(
    browser: Browser, stage: Stage, incident: UUID
) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await sign_in(context, stage)
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    await page.goto(f"{stage.url}/charts?range=1h")
    await page.wait_for_selector(".plot canvas")
    await expect(page.locator(".say").first).to_contain_text(
        "9.1 s now, usually 1.2 s, limit 2 s.", use_inner_text=True
    )
    await page.get_by_role("link", name="Show as a table").first.click()
    await expect(page.locator("tbody tr").nth(40)).to_be_attached()
    assert failed == []
    href = await page.locator("a[download]").get_attribute("href")
    answer = await page.request.get(f"{stage.url}{href}")
    lines = (await answer.text()).splitlines()
    assert lines[0].startswith("time,")
    assert any(line.endswith("9100.0") for line in lines)
    await context.close()


async def test_person_of_two_businesses_switches(browser: Browser, stage: Stage) -> None:
    context = await browser.new_context()
    page = await sign_in(context, stage, "planner")
    before = await page.locator(".who").inner_text()
    await page.goto(f"{stage.url}/more")
    names = await page.locator("option").all_inner_texts()
    assert len(names) == 2
    await page.select_option("select", label=next(name for name in names if name != before))
    await page.get_by_role("button", name="Switch business").click()
    await page.wait_for_url(f"{stage.url}/")
    await expect(page.locator(".who")).not_to_have_text(before)
    await context.close()


async def test_operator_sees_every_incident_in_technical_words(
    browser: Browser, stage: Stage, incident: UUID
) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await sign_in(context, stage, "oncall")
    await page.goto(f"{stage.url}/incidents/{incident}")
    text = await page.locator("main").inner_text()
    assert "Critical" in text
    assert str(incident) in text
    await page.get_by_role("button", name="I'm on it").click()
    await page.wait_for_selector("text=You have it.")
    await context.close()


PAGES = ("/", "/incidents", "/charts", "/rules", "/inbox", "/weddings", "/more")


async def test_no_page_is_wider_than_a_small_phone(
    browser: Browser, stage: Stage, incident: UUID
) -> None:
    context = await browser.new_context(
        viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True
    )
    page = await sign_in(context, stage)
    for path in (*PAGES, f"/incidents/{incident}", f"/incidents/{incident}?view=engineer"):
        await page.goto(stage.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320, path
    await context.close()


def client(stage: Stage) -> httpx.Client:
    """A program that speaks to the pages."""
    return httpx.Client(base_url=stage.url, headers={"accept": "text/html"})


def token_in(html: str) -> str:
    """The form's token."""
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found[1]


def enter(http: httpx.Client, person: str = "florist") -> str:
    """Signs the client in as one of the demo's people; gives back a token for its forms."""
    token = token_in(http.get("/sign-in").text)
    answer = http.post("/sign-in/demo", data={"csrf": token, "person": person})
    assert answer.status_code == 303
    return token_in(http.get("/more").text)


def test_unsafe_request_needs_our_token_and_our_origin(stage: Stage, incident: UUID) -> None:
    path = f"/incidents/{incident}/acknowledge"
    with client(stage) as http:
        token = enter(http)
        assert http.post(path).status_code == 403
        assert http.post(path, data={"csrf": token[:-2] + "AA"}).status_code == 403
        foreign = {"origin": "https://evil.example"}
        assert http.post(path, data={"csrf": token}, headers=foreign).status_code == 403
        null = {"origin": "null"}
        assert http.post(path, data={"csrf": token}, headers=null).status_code == 403
        with client(stage) as other:
            assert other.post(path, data={"csrf": enter(other, "planner")[::-1]}).status_code == 403
            stranger = token_in(other.get("/more").text)
        assert http.post(path, data={"csrf": stranger}).status_code == 403
        rows = stage.execute("select status from apm_incidents where id = %(i)s", i=incident)
        assert rows == [{"status": "open"}]
        ours = {"origin": stage.url}
        assert http.post(path, data={"csrf": token}, headers=ours).status_code == 303


def test_stranger_is_led_to_sign_in_and_nowhere_else(stage: Stage) -> None:
    with client(stage) as http:
        for path in PAGES:
            answer = http.get(path)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in")
        assert http.get("/", headers={"hx-request": "true"}).status_code == 401
        token = token_in(http.get("/sign-in?then=//evil.example").text)
        answer = http.post(
            "/sign-in/demo",
            data={"csrf": token, "person": "florist", "then": "//evil.example"},
        )
        assert answer.headers["location"] == "/"


def test_other_business_s_things_are_not_there(stage: Stage, incident: UUID) -> None:
    foreign = stage.execute(
        "select id from apm_alerts where organization_id <> %(o)s limit 1", o=STAR.id
    )[0]["id"]
    with client(stage) as http:
        enter(http)
        for path in (f"/rules/{foreign}", f"/incidents/{uuid4()}", "/nothing", "/static/x.js"):
            answer = http.get(path)
            assert answer.status_code == 404, path
            assert "There is nothing here" in answer.text


def test_every_page_guards_itself_and_stays_small(stage: Stage, incident: UUID) -> None:
    with client(stage) as http:
        enter(http)
        for path in (*PAGES, f"/incidents/{incident}"):
            with http.stream("GET", path) as answer:
                sent = b"".join(answer.iter_raw())
            assert answer.headers["content-encoding"] == "gzip"
            assert len(sent) <= 14 * 1024, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-frame-options"] == "DENY"


def test_files_of_ours_never_change_under_their_name(stage: Stage) -> None:
    with client(stage) as http:
        urls = set(re.findall(r'"(/static/[^"]+)"', http.get("/sign-in").text))
        assert len(urls) == 3
        for url in urls:
            answer = http.get(url)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]


def make_link(stage: Stage, incident: UUID, *, minutes: int = 60) -> str:
    """A one-tap link as the outbox makes it."""
    token = uuid4().hex
    stage.execute(
        "insert into apm_private.acknowledge_links"
        " (token_hash, organization_id, incident_id, generation, receiver, expires_at)"
        " select sha256(%(t)s::bytea), organization_id, id, generation, 'Mo Adeyemi',"
        " now() + make_interval(mins => %(m)s) from apm_incidents where id = %(i)s",
        t=token,
        i=incident,
        m=minutes,
    )
    return f"/ack/{token}"


def test_one_tap_takes_it_once_and_looking_changes_nothing(stage: Stage, incident: UUID) -> None:
    link = make_link(stage, incident)
    with client(stage) as http:
        page = http.get(link)
        assert page.status_code == 200
        assert "I'm on it" in page.text.replace("&#39;", "'")
        assert len(page.content) <= 6 * 1024
        assert "<script" not in page.text
        status = stage.execute("select status from apm_incidents where id = %(i)s", i=incident)
        assert status == [{"status": "open"}]
        assert "You have it." in http.post(link).text
        row = stage.execute("select * from apm_incidents where id = %(i)s", i=incident)[0]
        assert (row["status"], row["acknowledged_by_name"]) == ("acknowledged", "Mo Adeyemi")
        again = http.post(link).text
        assert "Mo has had this since" in again
        assert "<button" not in again


def test_one_tap_link_that_is_old_or_made_up_offers_nothing(stage: Stage, incident: UUID) -> None:
    old = make_link(stage, incident, minutes=-1)
    with client(stage) as http:
        for link in (old, f"/ack/{uuid4().hex}", "/ack/" + "x" * 3000):
            for answer in (http.get(link), http.post(link)):
                assert "<button" not in answer.text
                assert "This link is old." in answer.text
    rows = stage.execute("select status from apm_incidents where id = %(i)s", i=incident)
    assert rows == [{"status": "open"}]


async def test_one_thumb_takes_it_tells_everybody_ends_it_and_decides_what_follows(
    phone: BrowserContext, stage: Stage, incident: UUID
) -> None:
    """What matters on a wedding day needs no menu, no zoom and no second hand."""
    stage.execute(
        "insert into apm_deliveries (organization_id, incident_id, contact_method_id, channel,"
        " kind, reason, idempotency_key, recipient, subject, body, state)"
        " select %(o)s, %(i)s, m.id, 'email', 'page', 'first', 'thumb:' || %(i)s,"
        " jsonb_build_object('name', m.name, 'address', m.address), 'Slow', 'It is slow.', 'sent'"
        " from apm_contact_methods as m where m.organization_id = %(o)s and m.user_id = %(u)s"
        " limit 1",
        o=STAR.id,
        i=incident,
        u=STAR.people[0].id,
    )
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/incidents")
    await page.locator(f'a[href="/incidents/{incident}"]').tap()
    for name in ("I'm on it", "I have started working on it"):
        button = page.locator(".dock").get_by_role("button", name=name)
        await expect(button).to_be_in_viewport(ratio=1)
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= 48
        assert box["width"] >= 180
        await button.tap()
    jump = page.locator(".dock").get_by_role("link", name="Mark as fixed")
    await expect(jump).to_be_in_viewport(ratio=1)
    word = page.locator("#update")
    await word.locator("textarea").fill("The host is full. Orders still arrive.")
    await word.locator("select").select_option("5")
    await word.get_by_role("button", name="Send it").tap()
    await expect(page.get_by_text("Sent to everyone who was told.")).to_be_visible()
    await expect(page.locator(".tl")).to_contain_text("The host is full. Orders still arrive.")
    await expect(page.locator(".verdict")).to_contain_text("Next update by")
    await jump.tap()
    end = page.locator("#fix")
    await expect(end).to_be_in_viewport()
    await end.locator("textarea").fill("Moved to a bigger host")
    await end.get_by_role("button", name="Mark as fixed and tell everyone who was told").tap()
    await expect(page.get_by_text("Marked as fixed.")).to_be_visible()
    await page.get_by_role("link", name="Look back: what happened and what we change").tap()
    await expect(page.locator("textarea[name=summary]")).to_have_value(
        re.compile("What ended it: Moved to a bigger host")
    )
    await page.locator("input[name=action_title_0]").fill("Order a bigger host for June")
    await page.locator("input[name=action_owner_0]").fill(STAR.people[1].name)
    await page.locator("input[name=action_due_0]").fill("2027-01-08")
    await page.get_by_role("button", name="Save the review").tap()
    await expect(page.get_by_text("The review is saved.")).to_be_visible()
    await expect(page.locator("input[name=action_title_0]")).to_have_value(
        "Order a bigger host for June"
    )
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width == 375
    await page.goto(f"{stage.url}/reviews")
    still = page.locator(f'a[href="/incidents/{incident}/postmortem"]')
    await expect(still).to_contain_text("Order a bigger host for June")
    (kept,) = stage.execute(
        "select i.status, i.acknowledged_by, a.owner from apm_postmortem_actions as a"
        " join apm_incidents as i on i.id = a.incident_id where i.id = %(i)s",
        i=incident,
    )
    assert (kept["status"], kept["acknowledged_by"], kept["owner"]) == (
        "resolved",
        STAR.people[0].id,
        STAR.people[1].name,
    )
