"""How people are reached, through the pages: added, proven, tested, kept quiet, removed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import field_in, plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.config import load_settings
from wedsync_apm.notify.members.proofs import PURPOSE
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("contacts")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    stage.execute("delete from apm_deliveries where organization_id = %(o)s", o=STAR.id)
    stage.execute("delete from apm_contact_methods where organization_id = %(o)s", o=STAR.id)
    stage.execute(
        "update apm_memberships set role = 'MEMBER' where user_id = %(u)s", u=TOM.id
    )  # and the profile, where that is how he belongs
    stage.execute("update user_profiles set role = 'MEMBER' where user_id = %(u)s", u=TOM.id)


def contact(**more: Any) -> dict[str, Any]:
    return {
        "channel": "email",
        "address": "rosa@fern.example",
        "url": "",
        "name": "Rosa’s e-mail",
        "whose": str(ROSA.id),
    } | more


def put(
    stage: Stage,
    owner: UUID | None,
    name: str = "An e-mail",
    *,
    channel: str = "email",
    address: str = "somebody@fern.example",
) -> UUID:
    """A contact that somebody else has made."""
    (row,) = stage.execute(
        "insert into apm_contact_methods (organization_id, user_id, name, channel, address) "
        "values (%(o)s, %(u)s, %(name)s, %(channel)s::notification_channel, %(address)s) "
        "returning id",
        o=STAR.id,
        u=owner,
        name=name,
        channel=channel,
        address=address,
    )
    found: UUID = row["id"]
    return found


def only(stage: Stage, table: str = "apm_contact_methods") -> dict[str, Any]:
    (row,) = stage.execute(f"select * from {table} where organization_id = %(o)s", o=STAR.id)
    return row


def last_code(stage: Stage) -> str:
    """The digits of the newest message, as only this installation can make them."""
    rows = stage.execute(
        "select id from apm_deliveries where organization_id = %(o)s and kind = 'verify' "
        "order by created_at desc limit 1",
        o=STAR.id,
    )
    settings = load_settings({}, data_dir=str(stage.data_dir))
    return load_keyring(settings).code(PURPOSE, rows[0]["id"])


def other(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def test_from_nobody_to_a_proven_contact(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        assert "We have no way to reach you yet" in rosa.get("/contacts")
        made = rosa.post("/contacts/new", **contact())
        page = rosa.get(made.headers["location"])
        assert "Added. Have a code sent, so that it counts." in page
        assert "No code and no test was sent yet." in page
        path = f"/contacts/{only(stage)['id']}"
        assert only(stage)["user_id"] == ROSA.id
        assert "It is not proven that we can reach you" in rosa.get("/contacts")
        assert 'name="code"' not in rosa.http.get(path).text, "nothing to type yet"
        rosa.post(f"{path}/code")
        shown = rosa.get(path)
        assert "The six digits that came" in shown
        assert "Waiting to go out" in shown
        code = last_code(stage)
        wrong = rosa.post(f"{path}/verify", 422, code=other(code))
        assert "That is not the code that was sent last" in plain(wrong.text)
        assert "Enter the six digits" in plain(rosa.post(f"{path}/verify", 422, code="12").text)
        done = rosa.post(f"{path}/verify", code=f"{code[:3]} {code[3:]}")
        assert "Proven. We can reach you here." in rosa.get(done.headers["location"])
        assert only(stage)["verified_at"] is not None
        assert "Only one way to reach you is proven" in rosa.get("/contacts")
        again = rosa.post(f"{path}/verify", 422, code=code)
        assert "This code is too old" in plain(again.text)


def test_wrong_codes_count_and_the_fifth_is_the_last(stage: Stage) -> None:
    path = f"/contacts/{put(stage, ROSA.id)}"
    with surfing(stage, ROSA) as rosa:
        rosa.post(f"{path}/code")
        code = last_code(stage)
        for _ in range(5):
            rosa.post(f"{path}/verify", 422, code=other(code))
        last = rosa.post(f"{path}/verify", 422, code=code)
        assert "Five codes were wrong" in plain(last.text)
        assert only(stage)["verified_at"] is None


def test_codes_and_tests_are_sent_so_often_an_hour_and_no_oftener(stage: Stage) -> None:
    path = f"/contacts/{put(stage, ROSA.id)}"
    with surfing(stage, ROSA) as rosa:
        for _ in range(5):
            rosa.post(f"{path}/code")
        assert "often enough for an hour" in plain(rosa.post(f"{path}/code", 429).text)
        for _ in range(12):
            rosa.post(f"{path}/test")
        assert "Twelve tests an hour" in plain(rosa.post(f"{path}/test", 429).text)
        stage.execute(
            "update apm_deliveries set state = 'failed', state_reason = 'the mailbox is full' "
            "where organization_id = %(o)s",
            o=STAR.id,
        )
        shown = rosa.get(path)
        assert "Did not go out" in shown
        assert "The mailbox is full" in shown


def test_a_webhook_key_is_shown_once_and_its_address_never(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        url = "https://hooks.example.com/secret-path"
        made = rosa.post("/contacts/new", 200, **contact(channel="webhook", url=url))
        assert "whsec_" in made.text
        assert "secret-path" not in made.text
        row = only(stage)
        assert row["address"] == "hooks.example.com"
        assert b"secret-path" not in bytes(row["secret_ciphertext"])
        assert "whsec_" not in rosa.http.get(f"/contacts/{row['id']}").text


def test_of_an_apprise_address_only_the_service_shows(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        form = plain(rosa.get("/contacts/new"))
        assert "Another service, by Apprise" in form
        url = "discord://4174216298/T0P5ECRETPATH"
        made = contact(channel="apprise", url=url, whose=str(ROSA.id))
        rosa.post("/contacts/new", 303, **made)
        row = only(stage)
        assert (row["channel"], row["address"]) == ("apprise", "Discord")
        assert b"T0P5ECRETPATH" not in bytes(row["secret_ciphertext"])
        shown = rosa.get(f"/contacts/{row['id']}")
        assert "Discord" in shown
        assert "T0P5ECRETPATH" not in shown
        stage.execute(
            "update apm_contact_methods set verified_at = now() where id = %(id)s", id=row["id"]
        )
        assert "Only Apprise is proven to reach you" in plain(rosa.get("/contacts"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "Give it a name"),
        ({"address": "not one"}, "Enter one e-mail address"),
        ({"channel": "slack", "url": ""}, "This address cannot be used"),
        ({"channel": "webhook", "url": "http://[::"}, "This address cannot be used"),
        ({"channel": "apprise", "url": "slack://a/b/c"}, "Slack is what the channel slack is for"),
        ({"channel": "apprise", "url": "mqtt://x/y"}, "let a webhook call a receiver of yours"),
        ({"whose": str(STRANGER.id)}, "Choose somebody of your team"),
        ({"channel": "sms", "address": "+44 77"}, "This number cannot be used: it"),
    ],
)
def test_a_fault_stands_beside_its_field(stage: Stage, wrong: dict[str, Any], words: str) -> None:
    with surfing(stage, ROSA) as rosa:
        typed = contact(name="Kept <i>") | wrong
        answer = rosa.post("/contacts/new", 422, **typed)
        assert words in plain(answer.text)
        assert 'aria-invalid="true"' in answer.text
        assert field_in(answer.text, "name") == typed["name"]
    assert not stage.execute(
        "select id from apm_contact_methods where organization_id = %(o)s", o=STAR.id
    )


def quiet(**more: Any) -> dict[str, Any]:
    return {
        "start": "22:00",
        "end": "07:00",
        "time_zone": "Europe/London",
        "weekdays": ["5", "6"],
    } | more


def test_quiet_hours_say_when_and_what_still_gets_through(stage: Stage) -> None:
    path = f"/contacts/{put(stage, TOM.id, 'Tom’s e-mail')}"
    with surfing(stage, TOM) as tom:
        assert "it may ring at any time" in tom.get(path)
        tom.post(f"{path}/quiet", **quiet())
        shown = tom.get(path)
        assert "Friday and Saturday, 22:00 to 07:00 the next day, by the clock in London." in shown
        assert "Anything marked “Wake everybody”, on any day." in shown
        assert "While a wedding of yours is under way" in shown
        assert "Quiet 22:00 to 07:00" in tom.get("/contacts")
        for wrong, words in (
            ({"end": "22:00"}, "The end is the same as the start"),
            ({"start": "noon"}, "Enter a time like 22:00"),
            ({"weekdays": []}, "Choose at least one day"),
            ({"time_zone": "Mars"}, "Enter a zone like Europe/London"),
        ):
            answer = tom.post(f"{path}/quiet", 422, **quiet(**wrong))
            assert words in plain(answer.text)
        assert len(stage.execute("select contact_method_id from apm_quiet_hours")) == 1
        tom.post(f"{path}/quiet/clear")
        assert not stage.execute("select contact_method_id from apm_quiet_hours")


def test_an_owner_switches_it_off_and_removes_it(stage: Stage) -> None:
    path = f"/contacts/{put(stage, TOM.id)}"
    with surfing(stage, ROSA) as rosa:
        assert "Your team’s" in rosa.get("/contacts")
        rosa.post(f"{path}/off")
        assert "Switched off" in rosa.get(path)
        assert rosa.post(f"{path}/code", None).status_code == 409
        rosa.post(f"{path}/on")
        assert only(stage)["disabled_at"] is None
        rosa.post(f"{path}/delete")
        assert not stage.execute(
            "select id from apm_contact_methods where organization_id = %(o)s", o=STAR.id
        )


def test_members_keep_their_own_viewers_look_and_strangers_find_nothing(stage: Stage) -> None:
    own, foreign = put(stage, TOM.id, "Tom’s e-mail"), put(stage, ROSA.id, "Rosa’s e-mail")
    before = stage.execute("select * from apm_contact_methods order by id")
    sent = {"code": "123456"} | quiet()
    verbs = ("code", "test", "verify", "quiet", "quiet/clear", "off", "on", "delete")
    with (
        surfing(stage, TOM) as tom,
        surfing(stage, INES) as ines,
        surfing(stage, STRANGER) as stranger,
    ):
        listed = tom.get("/contacts")
        assert "Rosa’s e-mail" not in listed
        assert "Only Rosa Whitlock or an owner or admin can change this." in tom.get(
            f"/contacts/{foreign}"
        )
        given_away = contact(whose=str(ROSA.id))
        assert tom.post("/contacts/new", None, **given_away).status_code == 403
        ines.get("/contacts/new", 403)
        assert ines.post("/contacts/new", None, **contact()).status_code == 403
        for verb in verbs:
            assert tom.post(f"/contacts/{foreign}/{verb}", None, **sent).status_code == 403
        for verb in ("off", "on", "delete"):
            assert tom.post(f"/contacts/{own}/{verb}", None).status_code == 403
        assert "You only look" in ines.get("/contacts")
        assert "e-mail" not in ines.get("/contacts").replace("E-mail", "")
        ines.get(f"/contacts/{own}", 404)
        stranger.get(f"/contacts/{own}", 404)
        for verb in verbs:
            assert ines.post(f"/contacts/{own}/{verb}", None, **sent).status_code == 403
            assert stranger.post(f"/contacts/{own}/{verb}", None, **sent).status_code == 404
        forged = tom.http.post(f"/contacts/{own}/test", data={"csrf": "forged"})
        assert forged.status_code == 403
        moved = {"above": str(foreign), "back": str(own)}
        for who, path, status in (
            (tom, foreign, 403), (ines, own, 403), (stranger, own, 404), (tom, own, 303),
        ):  # fmt: skip
            assert who.post(f"/contacts/{path}/earlier", None, **moved).status_code == status
        tom.post(f"/contacts/{own}/earlier", 404, above="x", back="y")
    assert stage.execute("select * from apm_contact_methods order by id") == before
    assert not stage.execute("select contact_method_id from apm_quiet_hours")


def test_a_member_adds_a_telephone_of_his_own(stage: Stage) -> None:
    number = "+44 7700 900123"
    with surfing(stage, TOM) as tom, surfing(stage, ROSA) as rosa:
        assert "Add a way to be reached" in tom.get("/contacts")
        assert "Whose is it" not in tom.get("/contacts/new")
        made = tom.post("/contacts/new", **contact(channel="sms", address=number, whose=""))
        path = made.headers["location"].partition("?")[0]
        assert "+447700900123" in tom.get(path)
        assert (only(stage)["user_id"], only(stage)["address"]) == (TOM.id, "+447700900123")
        tom.post(f"{path}/code")
        tom.post(f"{path}/test")
        assert "+447700900123" in rosa.get(path)
        other = put(stage, ROSA.id, "Rosa’s mobile", channel="sms", address="+447700900456")
        assert "+44 … 56" in tom.get(f"/contacts/{other}")
        assert "900456" not in tom.get(f"/contacts/{other}")
        stage.execute(
            "update apm_contact_methods set disabled_at = now(),"
            " disabled_reason = 'they answered STOP' where user_id = %(u)s",
            u=TOM.id,
        )
        assert "they answered STOP. A text that says START" in plain(tom.get(path))


TOKEN, SIGNING = "xoxb-1234567890-abcdefghij", "8f742231b10e8888abcd99yyyzzz85a5"


def test_a_slack_bot_is_added_proven_and_its_secrets_are_never_shown(stage: Stage) -> None:
    sent = contact(
        channel="slack", name="Studio Slack", whose="", url="", bot_token=TOKEN,
        channel_id="C024BE91L", signing_secret=SIGNING, routing_key="not meant",
    )  # fmt: skip
    with surfing(stage, ROSA) as rosa, surfing(stage, TOM) as tom:
        for wrong, said in (
            ({"bot_token": "hello"}, "This cannot be used: it must be a bot's token"),
            ({"channel_id": "general"}, "This cannot be used: it must be a channel's id"),
            ({"channel_id": ""}, "This cannot be used: it is needed for a Slack bot"),
            ({"signing_secret": "short"}, "This cannot be used: it must be the app's signing"),
        ):
            refused = rosa.post("/contacts/new", 422, **(sent | wrong))
            assert said in plain(refused.text)
            assert field_in(refused.text, "name") == "Studio Slack"
        made = rosa.post("/contacts/new", **sent)
        path = made.headers["location"].partition("?")[0]
        row = only(stage)
        assert (row["channel"], row["address"]) == ("slack", "C024BE91L")
        shown = rosa.http.get(path).text + rosa.http.get("/contacts").text
        seen = rosa.http.get(f"{path}/callback").text
        for secret in (TOKEN, SIGNING):
            assert secret not in shown + seen
            assert secret.encode() not in bytes(row["secret_ciphertext"])
        assert "/api/v1/webhooks/" not in shown
        assert f"/api/v1/webhooks/{row['id']}/" in seen
        # It is proven like any other: a code goes there, and comes back.
        rosa.post(f"{path}/code")
        rosa.post(f"{path}/verify", code=last_code(stage))
        assert only(stage)["verified_at"] is not None
        # The address to hear taps at is for those who administer it.
        tom.get(f"{path}/callback", 403)
        assert "Show the address" not in tom.get(path)
        mail = put(stage, None)
        rosa.get(f"/contacts/{mail}/callback", 404)
    with surfing(stage, STRANGER) as stranger:
        stranger.get(f"{path}/callback", 404)


def test_pagerduty_is_added_with_what_it_takes_to_hear_back(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        made = rosa.post(
            "/contacts/new",
            **contact(channel="pagerduty", name="Pager", routing_key="R" * 32,
                      webhook_secret=SIGNING, url="https://not.meant.example/"),
        )  # fmt: skip
        path = made.headers["location"].partition("?")[0]
        assert "make a webhook subscription (V3)" in rosa.get(path)
        assert SIGNING not in rosa.http.get(path).text


def test_the_order_in_which_somebody_is_reached_is_his(stage: Stage) -> None:
    mail = put(stage, TOM.id, "Tom’s e-mail")
    text = put(stage, TOM.id, "Tom’s mobile", channel="sms", address="+447700900123")
    call = put(stage, TOM.id, "Tom’s telephone", channel="voice", address="+447700900123")

    def order() -> list[UUID]:
        rows = stage.execute(
            "select id from apm_contact_methods where organization_id = %(o)s "
            "order by preference, created_at",
            o=STAR.id,
        )
        return [row["id"] for row in rows]

    with surfing(stage, TOM) as tom, surfing(stage, ROSA) as rosa:
        page = tom.get(f"/contacts/{mail}")
        assert "1. Tom’s e-mail" in page
        assert "3. Tom’s telephone" in page
        for _ in range(2):  # a second tap does no more
            tom.post(f"/contacts/{call}/earlier", above=str(text), back=str(mail))
            assert order() == [mail, call, text]
        rosa.post(f"/contacts/{call}/earlier", above=str(mail), back=str(call))
        assert order() == [call, mail, text]
        listed = tom.get("/contacts")
        assert listed.index("Tom’s telephone") < listed.index("Tom’s e-mail")
        alone = put(stage, ROSA.id, "Rosa’s e-mail")
        assert "Which is tried first" not in rosa.get(f"/contacts/{alone}")


def test_more_leads_here(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        assert 'href="/contacts"' in rosa.http.get("/more").text
        assert 'href="/on-call"' in rosa.http.get("/more").text
