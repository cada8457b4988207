"""Dashboards as people see and keep them through the pages."""

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import httpx
import pypdfium2
import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, fields_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.config import load_settings
from wedsync_apm.notify.board_mail import PURPOSE
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER: Final = VENDORS[1].people[0]
HOSTILE: Final = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("dashboards")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.measure_the_form()
        opened.let_the_engine_breathe()
        yield opened


def board(stage: Stage, name: str = "Flowers") -> dict[str, Any]:
    rows = stage.execute(
        "select * from apm_dashboards where organization_id = %(o)s and name = %(n)s",
        o=stage.organization_id,
        n=name,
    )
    (row,) = rows
    return row


def test_vendors_of_the_demo_have_dashboards_that_show(stage: Stage) -> None:
    for vendor in (VENDORS[1], VENDORS[4], VENDORS[5]):
        with surfing(stage, vendor.people[0], vendor.id) as person:
            page = person.http.get("/dashboards").text
            links = {part.split('"')[0] for part in page.split('href="/dashboards/')[1:]}
            assert len(links) >= 2, vendor.key
            for link in links:
                shown = person.get(f"/dashboards/{link}")
                assert "This part could not be" not in shown


def test_figures_and_samples_stand_behind_each_point(stage: Stage) -> None:
    path = f"/dashboards/{board(stage)['id']}"
    with surfing(stage, ROSA) as rosa:
        page = rosa.http.get(path, params={"span": "1h"}).text
        assert 'data-panel="orders"' in page
        feed = rosa.http.get(f"{path}/feed", params={"span": "1h"}).json()
        lines = feed["panels"]["orders"]["lines"]
        assert [line["name"] for line in lines] == ["slowest 1 in 20", "middle value"]
        assert len(lines[0]["values"]) == len(feed["frame"]["x"]) == 60
        assert feed["panels"]["orders"]["limits"][0]["words"].startswith("limit")
        table = rosa.http.get(f"{path}/panels/orders", params={"span": "1h"}).text
        csv = rosa.http.get(f"{path}/panels/orders", params={"span": "1h", "as": "csv"})
        assert csv.headers["content-type"].startswith("text/csv")
        assert csv.text.splitlines()[0] == "time,slowest 1 in 20 (ms),middle value (ms)"
        samples = table.split(f'href="{path}/panels/orders/samples?')[1].split('"')[0]
        found = rosa.get(f"{path}/panels/orders/samples?{samples.replace('&amp;', '&')}")
        assert "wedding_forms.form_submission_time" in found
        for wrong in ("at=x&step=60", "at=1&step=0", "at=1&step=1e9", "at=nan", "at=1e300"):
            rosa.get(f"{path}/panels/orders/samples?{wrong}", 404)
        rosa.get(f"{path}/panels/absent", 404)
        rosa.get(f"{path}/panels/services/samples?at=1", 404)


def test_others_see_nothing_and_viewers_change_nothing(stage: Stage) -> None:
    before = board(stage)
    path = f"/dashboards/{before['id']}"
    sent = {"document": "{}", "version": "1"}
    with surfing(stage, STRANGER) as stranger:
        for part in ("", "/feed", "/edit", "/file", "/panels/orders"):
            stranger.get(path + part, 404)
        stranger.post(f"{path}/edit", 404, **sent)
        stranger.post(f"{path}/delete", 404)
    with surfing(stage, INES) as ines:
        page = ines.get(path)
        assert "Change it" not in page
        assert "A & R" in page
        assert "Amelia" not in page
        ines.get(f"{path}/edit", 403)
        ines.post(f"{path}/edit", 403, **sent)
        ines.post(f"{path}/delete", 403)
        ines.post("/dashboards/add", 403, template="venue")
        ines.post("/dashboards/import", 403, file="schema: x")
    with surfing(stage, ROSA) as rosa:
        for action, more in (("edit", sent), ("delete", {})):
            refused = rosa.http.post(f"{path}/{action}", data={"csrf": "forged", **more})
            assert refused.status_code == 403
    assert board(stage) == before


def test_two_editors_are_told_of_each_other(stage: Stage) -> None:
    path = f"/dashboards/{board(stage, 'Wedding day')['id']}/edit"
    with surfing(stage, ROSA) as rosa, surfing(stage, TOM) as tom:
        mine, his = (fields_in(one.http.get(path).text) for one in (rosa, tom))
        document = json.loads("".join(his["document"]))
        document["panels"][0]["title"] = "What Tom wrote"
        tom.post(path, document=json.dumps(document), version=his["version"][0])
        document["panels"][0]["title"] = "What Rosa wrote"
        text = json.dumps(document)
        late = rosa.post(path, 409, document=text, version=mine["version"][0])
        assert "Tom Ashby changed this dashboard" in plain(late.text)
        assert "What Rosa wrote" in late.text
        assert board(stage, "Wedding day")["layout"]["panels"][0]["title"] == "What Tom wrote"
        copy = rosa.post(path, document=text, version=mine["version"][0], do="copy")
        assert copy.headers["location"].startswith("/dashboards/")
        kept = board(stage, "Wedding day (copy 2)")
        assert kept["layout"]["panels"][0]["title"] == "What Rosa wrote"
        stage.execute("delete from apm_dashboards where id = %(id)s", id=kept["id"])


def test_faults_keep_everything_that_was_typed(stage: Stage) -> None:
    before = board(stage)
    path = f"/dashboards/{before['id']}/edit"
    with surfing(stage, ROSA) as rosa:
        version = field_in(rosa.http.get(path).text, "version")
        document = json.loads("".join(fields_in(rosa.http.get(path).text)["document"]))
        document["panels"][1]["query"]["agg"] = "mean"
        text = json.dumps(document)
        wrong = rosa.post(path, 422, document=text, version=version)
        assert "panels[1].query.agg: 'mean' is none of avg" in plain(wrong.text)
        assert "".join(fields_in(wrong.text)["document"]).strip() == text
        unread = rosa.post(path, 422, document="{", version=version)
        assert "The text is no JSON" in plain(unread.text)
        document["panels"][1]["query"]["agg"] = "p95"
        document["name"] = "For your couples"
        taken = rosa.post(path, 422, document=json.dumps(document), version=version)
        assert "another dashboard has this name" in plain(taken.text)
    assert board(stage) == before


def test_what_people_write_is_shown_as_text(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        file = json.dumps(
            {
                "schema": "wedsync.dashboard/1",
                "name": HOSTILE,
                "description": HOSTILE,
                "panels": [
                    {
                        "kind": "text",
                        "key": "words",
                        "title": HOSTILE,
                        "note": HOSTILE,
                        "text": HOSTILE,
                        "at": {"x": 0, "y": 0, "w": 6, "h": 2},
                    }
                ],
            }
        )
        made = rosa.post("/dashboards/import", file=file).headers["location"]
        for page in (made.partition("?")[0], "/dashboards", made.partition("?")[0] + "/edit"):
            text = rosa.http.get(page).text
            assert "onerror" in text
            assert "<img" not in text
        again = rosa.post("/dashboards/import", file=file)
        assert again.headers["location"] == made
        wrong = rosa.post("/dashboards/import", 422, file="schema: 1\npanels: []\nname: x")
        assert "schema: '1' is none that this server reads" in plain(wrong.text)
        out = rosa.http.get(made.partition("?")[0] + "/file")
        assert out.headers["content-type"].startswith("application/yaml")
        rosa.post(made.partition("?")[0] + "/delete")
        rosa.get(made.partition("?")[0], 404)


def test_templates_are_offered_until_they_are_there(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        assert "For your couples" in rosa.get("/dashboards")
        stage.execute(
            "delete from apm_dashboards where organization_id = %(o)s and template_key = 'couples'",
            o=stage.organization_id,
        )
        page = rosa.http.get("/dashboards").text
        assert 'name="template" value="couples"' in page
        rosa.post("/dashboards/add", template="couples")
        assert 'name="template" value="couples"' not in rosa.http.get("/dashboards").text
        rosa.post("/dashboards/add", 404, template="zoo")


def test_a_dashboard_of_an_older_program_says_so(stage: Stage) -> None:
    row = board(stage, "For your couples")
    stage.execute(
        "update apm_dashboards set layout = %(l)s::jsonb where id = %(id)s",
        l=json.dumps({"panels": [{"widget": "tasks"}]}),
        id=row["id"],
    )
    with surfing(stage, ROSA) as rosa:
        page = rosa.get(f"/dashboards/{row['id']}", 422)
        assert "This dashboard cannot be shown" in page
        assert "panels[0].kind" in page
        form = rosa.http.get(f"/dashboards/{row['id']}/edit").text
        assert "panels[0].kind" in plain(form)
        mended = json.loads("".join(fields_in(form)["document"]))
        mended["panels"] = []
        version = field_in(form, "version")
        path = f"/dashboards/{row['id']}/edit"
        rosa.post(path, document=json.dumps(mended), version=version)
        assert "There is nothing on this dashboard yet" in rosa.get(f"/dashboards/{row['id']}")


def test_a_link_opens_one_dashboard_until_its_key_is_revoked(stage: Stage) -> None:
    row = board(stage)
    with surfing(stage, ROSA) as rosa:
        made = rosa.post(f"/dashboards/{row['id']}/share", 200)
        link = html.unescape(made.text.split("readonly>")[1].split("<")[0])
    path = "/shared/" + link.rpartition("/shared/")[2]
    with httpx.Client(base_url=stage.url, timeout=30) as stranger:
        page = stranger.get(path)
        assert page.status_code == 200, page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in page.headers
        shown = plain(page.text)
        assert "Flowers" in shown
        assert "Amelia" not in shown
        assert "A & R" in shown
        for nothing in ("/dashboards/", "/incidents/", 'name="csrf"', "/edit"):
            assert nothing not in page.text
        feed = stranger.get(f"{path}/feed", params={"span": "1h"})
        assert feed.json()["panels"]["orders"]["lines"]
        said, _, signed = path.removeprefix("/shared/").partition(".")
        for forged in (
            f"{said[:-4]}AAAA.{signed}",
            f"{said}.{signed[:-4]}AAAA",
            said,
            "x",
            "x" * 5000,
        ):
            assert stranger.get(f"/shared/{forged}").status_code == 404
        # the token is no key of the API's, and no other page opens with it
        bearer = {"authorization": f"Bearer {path.removeprefix('/shared/')}"}
        assert stranger.get("/dashboards", headers=bearer).status_code == 303
        keys = stage.execute(
            "select id, scope, name from apm_api_keys where name = 'Shared link: Flowers'"
        )
        assert [one["scope"] for one in keys] == ["read"]
        stage.execute(
            "update apm_api_keys set revoked_at = now() where id = %(id)s", id=keys[0]["id"]
        )
        assert stranger.get(path).status_code == 404
        assert stranger.get(f"{path}/feed").status_code == 404
    with surfing(stage, INES) as ines:
        ines.post(f"/dashboards/{row['id']}/share", 403)
    with surfing(stage, STRANGER) as other:
        other.post(f"/dashboards/{row['id']}/share", 404)


def test_a_links_variables_are_locked(stage: Stage) -> None:
    document = {
        "schema": "wedsync.dashboard/1",
        "name": "By region",
        "variables": [{"name": "region", "tag": "region"}],
        "panels": [
            {
                "kind": "stat",
                "key": "now",
                "title": "Now",
                "at": {"x": 0, "y": 0, "w": 3, "h": 2},
                "query": {
                    "metric": "wedding_forms.form_submission_time",
                    "agg": "p95",
                    "tags": {"region": "$region"},
                },
            }
        ],
    }
    with surfing(stage, ROSA) as rosa:
        made = rosa.post("/dashboards/import", file=json.dumps(document))
        path = made.headers["location"].partition("?")[0]
        shared = rosa.post(f"{path}/share?var.region=nowhere", 200)
        link = html.unescape(shared.text.split("readonly>")[1].split("<")[0])
    with httpx.Client(base_url=stage.url, timeout=30) as stranger:
        where = "/shared/" + link.rpartition("/shared/")[2]
        for asked in ({}, {"var.region": ""}, {"var.region": "eu"}):
            page = stranger.get(where, params=asked)
            assert "No samples of wedding_forms.form_submission_time" in plain(page.text)
            assert "<select" not in page.text


def test_who_may_make_rules_makes_one_from_a_panel(stage: Stage) -> None:
    path = f"/dashboards/{board(stage)['id']}"
    with surfing(stage, ROSA) as rosa:
        assert "Make a rule from this chart" in rosa.http.get(path).text
        answer = rosa.http.get(f"{path}/panels/errors/rule", follow_redirects=False)
        assert answer.status_code == 303
        asked = dict(parse_qsl(answer.headers["location"].split("?")[1], keep_blank_values=True))
        assert asked == {
            "kind": "threshold",
            "name": "Visitors who meet an error",
            "metric": "website.error_rate",
            "agg": "max",
            "op": ">",
            "group_by": "",
            "limit": "5",
            "severity": "critical",
            "from": "limit",
        }
        form = rosa.http.get(answer.headers["location"]).text
        assert field_in(form, "threshold_value") == "5"
        assert "The limit is the one that the chart shows." in form
        hostile = rosa.http.get(
            f"/rules/new?kind=threshold&agg=p95&name={quote(HOSTILE)}&from=x&limit=<"
        )
        assert hostile.status_code == 200
        assert HOSTILE not in hostile.text
        for wrong in ("nothing", "countdown"):
            rosa.get(f"{path}/panels/{wrong}/rule", 404)
    with surfing(stage, INES) as ines:
        assert "Make a rule from this chart" not in ines.http.get(path).text
        ines.get(f"{path}/panels/errors/rule", 403)
    with surfing(stage, STRANGER, VENDORS[1].id) as stranger:
        stranger.get(f"{path}/panels/errors/rule", 404)


def test_websites_that_may_show_a_dashboard_get_what_goes_into_their_page(stage: Stage) -> None:
    row = board(stage)
    path = f"/dashboards/{row['id']}"
    with surfing(stage, ROSA) as rosa:
        first = rosa.post(f"{path}/share?span=1h", 200)
        assert "Show it on your website" in plain(first.text)
        assert "<textarea" in first.text
        assert "iframe" not in first.text
        named = "https://www.fern.example, https://shop.fern.example"
        framed = rosa.post(f"{path}/share?span=1h", 200, origins=named)
        code = html.unescape(framed.text.split("readonly>")[2].split("</textarea>")[0])
        assert code.startswith('<iframe src="http')
        assert 'title="Flowers"' in code
        address = "/shared/" + code.split("/shared/")[1].split('"')[0]
        rosa.post(f"{path}/share", 422, origins="https://*.fern.example")
    with httpx.Client(base_url=stage.url, timeout=30) as stranger:
        answer = stranger.get(address)
        assert "x-frame-options" not in answer.headers
        wanted = "frame-ancestors https://www.fern.example https://shop.fern.example"
        assert wanted in answer.headers["content-security-policy"]
        for form, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
            assert f"{address}/image.{form}" in answer.text
            assert stranger.get(f"{address}/image.{form}").content.startswith(magic)


def test_a_dashboard_is_saved_from_its_page_as_it_is_looked_at(stage: Stage) -> None:
    path = f"/dashboards/{board(stage)['id']}"
    with surfing(stage, INES) as ines, surfing(stage, STRANGER) as stranger:
        assert f'href="{path}/image.pdf?span=1h"' in ines.http.get(f"{path}?span=1h").text
        saved = ines.http.get(f"{path}/image.pdf?span=1h")
        assert saved.headers["content-type"] == "application/pdf"
        assert saved.headers["content-disposition"].startswith("attachment; filename=")
        text = "\n".join(
            page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(saved.content)
        )
        for words in ("Flowers", "Last hour", "A & R", "Europe/London time", "limit"):
            assert words in text, words
        assert "Amelia" not in text, "what is passed on names no couple"
        stranger.get(f"{path}/image.pdf", 404)
        stranger.get(f"{path}/image.png", 404)


def test_a_dashboard_is_mailed_to_people_until_somebody_ends_it(stage: Stage) -> None:
    path = f"/dashboards/{board(stage)['id']}"

    def mails() -> list[dict[str, Any]]:
        return stage.execute("select * from apm_dashboard_mails order by created_at")

    with surfing(stage, ROSA) as rosa, surfing(stage, INES) as ines:
        assert "Nobody here has proven an e-mail address" in rosa.get(f"{path}/mails")
        stage.execute(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "verified_at) select %(o)s, id, display_name, 'email', email, now() "
            "from apm_private.users where email = %(email)s",
            o=stage.organization_id,
            email=ROSA.email,
        )
        page = rosa.http.get(f"{path}/mails?span=7d").text
        receivers = fields_in(page)["?receiver"]
        sent = {"receiver": receivers[0], "weekday": "6", "at_time": "07:30"}
        rosa.post(f"{path}/mails?span=7d", **sent)
        rosa.post(f"{path}/mails?span=7d", **sent | {"at_time": "08:15"})
        (mail,) = mails()
        assert (mail["weekday"], mail["span"], f"{mail['at_time']:%H:%M}") == (6, "7d", "08:15")
        assert "Each Saturday at 08:15" in rosa.get(f"{path}/mails")
        for wrong in (
            {"at_time": "25:00"},
            {"weekday": "8"},
            {"receiver": "x"},
            {"receiver": str(mail["id"])},
        ):
            rosa.post(f"{path}/mails", 422, **sent | wrong)
        ines.get(f"{path}/mails", 403)
        ines.post(f"{path}/mails", 403, **sent)
        ines.post(f"{path}/mails/{mail['id']}/end", 403)
        with surfing(stage, STRANGER) as stranger:
            stranger.get(f"{path}/mails", 404)
            stranger.post(f"{path}/mails", 404, **sent)
            stranger.post(f"{path}/mails/{mail['id']}/end", 404)
        assert len(mails()) == 1
        rosa.post(f"{path}/mails/{mail['id']}/end")
        assert mails() == []
        rosa.post(f"{path}/mails", **sent)
        (mail,) = mails()
    token = load_keyring(load_settings({}, data_dir=stage.data_dir)).token(PURPOSE, mail["id"])
    with httpx.Client(base_url=stage.url, timeout=30) as receiver:
        leave = f"/dashboards/leave/{mail['id']}/{token}"
        for forged in (f"{leave[:-2]}AA", f"/dashboards/leave/{board(stage)['id']}/{token}"):
            assert receiver.post(forged).status_code == 404
        shown = receiver.get(leave)
        assert "Get Flowers no more by mail?" in plain(shown.text)
        assert len(mails()) == 1, "looking ends nothing"
        assert receiver.post(leave, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        assert mails() == []
        assert receiver.get(leave).status_code == 404
