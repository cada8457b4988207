"""Which services go out by Apprise, what an address may hold, and what its calls come to."""

import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.egress import Answer, EgressFailed, EgressRefused, Failure
from wedsync_apm.errors import NotValid
from wedsync_apm.notify.channels import apprise
from wedsync_apm.notify.channels.apprise.penman import Call, Written
from wedsync_apm.notify.channels.apprise.render import body_of, plain
from wedsync_apm.notify.channels.apprise.send import judge
from wedsync_apm.notify.channels.apprise.services import LISTED, REFUSED, SERVICES
from wedsync_apm.notify.message import Message
from wedsync_apm.notify.model import Kind, Result

AT = datetime(2026, 6, 20, 13, 10, tzinfo=UTC)


def test_the_list_is_what_the_librarys_own_registry_comes_to() -> None:
    # Anew: python -m tests.support.apprise_services
    program = "import tests.support.apprise_services as a, sys; sys.stdout.write(a.written())"
    # In a process of its own: 180 plug-ins of other people are imported.
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert LISTED.read_text("utf-8") == ran.stdout.decode()


def test_what_opens_connections_of_its_own_is_not_on_it() -> None:
    refused = {scheme for scheme, one in SERVICES.items() if one.refused}
    assert refused >= {
        "mailto", "slack", "pagerduty", "twilio", "vapid", "mqtt", "irc", "xmpp", "syslog",
        "rsyslog", "smpp", "amqp", "nostr", "aprs", "growl", "fcm", "dbus", "macosx", "windows",
    }  # fmt: skip
    assert refused.isdisjoint({"discord", "tgram", "workflows", "gchat", "ntfy", "pover", "json"})
    assert {SERVICES[scheme].refused for scheme in refused} <= REFUSED.keys()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("slack://a/b/c", "the channel slack"),
        ("mailto://a:b@gmail.com", "the channel email"),
        ("mqtt://host/topic", "does not go out by HTTP alone; let a webhook"),
        ("fcm://project@key/device", "needs a file"),
        ("nobody://x", "no service that Apprise knows: nobody://"),
        ("https://discord.com/api/webhooks/1/2", "the service's own scheme"),
        ("discord:/1/2", "must be an Apprise address"),
        ("discord://1/2 3", "without spaces"),
        ("discord://1/2\r\nX: y", "without spaces"),
        ("", "is needed"),
        ("discord://1/2?template=/etc/passwd", "names a file (template)"),
        ("workflows://h/w/s?TEMPLATE=file:///etc/passwd", "names a file"),
        ("jsons://example.com/?verify=No", "certificates"),
        ("json://example.com/?retry=5", "what is not its to set (retry)"),
        ("json://example.com/?redirect=yes", "what is not its to set (redirect)"),
    ],
)
def test_an_address_that_cannot_be_taken_says_why(url: str, reason: str) -> None:
    with pytest.raises(NotValid) as caught:
        apprise.read_fields({"url": url} if url else {})
    [fault] = caught.value.errors
    assert fault.field == "url"
    assert reason in fault.reason


@given(
    st.builds(
        "{}{}{}".format,
        st.sampled_from([*SERVICES, "http", ""]),
        st.sampled_from(["://", ":", "//", ""]),
        st.text(max_size=60),
    )
)
def test_whatever_is_given_is_read_or_refused(url: str) -> None:
    fields = set()
    try:
        made = apprise.read_fields({"url": url} if url else {})
        assert apprise.configure(made.address, made.secret).service.refusal is None
    except NotValid as exc:
        fields = {one.field for one in exc.errors}
    assert fields <= {"url"}


def test_of_an_address_only_the_service_shows() -> None:
    url = "Discord://1234567890/T0P5ECRET?footer=yes&verify=yes"
    made = apprise.read_fields({"url": url})
    assert (made.address, made.secret, made.made_key) == ("Discord", url, None)
    target = apprise.configure(made.address, made.secret)
    assert (target.service.module, target.service.plugin) == ("discord", "NotifyDiscord")
    assert "T0P5ECRET" not in repr(target)


def test_foreign_text_mentions_nobody_and_fakes_no_link() -> None:
    evil = "@everyone <!channel> <@U1> <at>x</at> [I'm on it](https://evil.example) `x`\r\n\u202ee"
    said = plain(evil)
    assert not set("<>[]`\r\n\u202e") & set(said)
    assert "@everyone" not in said
    message = Message(
        delivery_id=UUID(int=1),
        incident_id=UUID(int=2),
        kind=Kind.PAGE,
        subject="x",
        body=f"{evil.splitlines()[0]}\n\nI'm on it: http://here.example/ack/a_b-c\n",
        created_at=AT,
        base_url="http://here.example",
    )
    assert body_of(message).splitlines()[-1] == "I'm on it: http://here.example/ack/a_b-c"


def answered(status: int, **headers: str) -> Answer:
    return Answer(status, headers, b"", False, 0.1, "http://x.example")


CUT = EgressFailed(Failure.RESET, "x broke the connection off")
NOT_FOUND = EgressFailed(Failure.DNS, "the name x cannot be found")
INSIDE = EgressRefused("x may not be called: it leads to an address that is private")


@pytest.mark.parametrize(
    ("written", "result", "may_have_arrived"),
    [
        (Written([Call("POST", answered(204))], True), Result.SENT, False),
        # what it says counts, and not what the service answered
        (Written([Call("POST", answered(200))], False), Result.RETRY, True),
        (Written([Call("POST", answered(429))], False), Result.RETRY, False),
        (Written([Call("POST", answered(503))], False), Result.RETRY, False),
        (Written([Call("POST", answered(404))], False), Result.FAILED, False),
        (Written([Call("POST", answered(302))], False), Result.FAILED, False),
        (Written([Call("POST", CUT)], False), Result.RETRY, True),
        (Written([Call("POST", NOT_FOUND)], False), Result.RETRY, False),
        (Written([Call("GET", CUT)], False), Result.RETRY, True),
        (Written([Call("POST", INSIDE)], False), Result.FAILED, False),
        # an earlier call may have been the message
        (
            Written([Call("POST", answered(200)), Call("POST", answered(500))], False),
            Result.RETRY,
            True,
        ),
        (
            Written([Call("GET", answered(200)), Call("POST", answered(500))], False),
            Result.RETRY,
            False,
        ),
        # it died: before a call, in the middle of one, after one
        (Written(), Result.RETRY, False),
        (Written([Call("POST")]), Result.RETRY, True),
        (Written([Call("POST", answered(200))]), Result.RETRY, True),
        # it has looked at the address, and made nothing of it
        (Written([], False), Result.FAILED, False),
        (Written([], None, "Apprise cannot read it"), Result.FAILED, False),
    ],
)
def test_what_its_calls_come_to(written: Written, result: Result, may_have_arrived: bool) -> None:
    outcome = judge(written, "Discord", AT)
    assert (outcome.result, outcome.may_have_arrived) == (result, may_have_arrived)
    assert outcome.provider_id is None, "nothing tells of it afterwards"
    assert outcome.reason


def test_a_wait_that_was_asked_for_is_kept() -> None:
    busy = Written([Call("POST", answered(429, **{"retry-after": "7"}))], False)
    assert judge(busy, "Discord", AT).retry_after_seconds == 7.0
