"""One contract for every channel, and each channel's own promises, over real sockets."""

import asyncio
import email
import email.policy
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.certificates import certificate
from tests.support.worst_day import WorstDay, worst_day
from tests.support.worst_mail import worst_mail
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.errors import ConfigurationError, NotValid
from wedsync_apm.notify.channels import SENDERS, webhook
from wedsync_apm.notify.channels import email as email_channel
from wedsync_apm.notify.channels.email.config import EmailTarget
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.slack.config import new_target as new_slack
from wedsync_apm.notify.channels.webhook.config import WebhookTarget
from wedsync_apm.notify.channels.webhook.config import new_target as new_webhook
from wedsync_apm.notify.mail_server import MailServer, Security, read_mail_server
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Kind, Outcome, Result
from wedsync_apm.types import Channel

SECRET = "T0P5ECRETPATH"
KEY = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
AT = datetime.now(UTC)
MESSAGE = Message(
    delivery_id=UUID("0190a000-0000-7000-8000-000000000001"),
    incident_id=UUID("0190a000-0000-7000-8000-000000000002"),
    kind=Kind.PAGE,
    subject="Your order form is slow",
    body="Your order form is slow.\nI'm on it: http://here.example/ack/abc?x=1&y=2\n"
    "A <b>trap</b> & <!channel>: http://evil.example/ack\n",
    created_at=AT,
    base_url="http://here.example",
)


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    policy = EgressPolicy.parse(["127.0.0.1"])
    async with aclosing(EgressClient(policy, total_seconds=30.0)) as client:
        yield Tools(client)


@asynccontextmanager
async def hasty() -> AsyncIterator[Tools]:
    """For what never answers; a busy machine takes longer for what does."""
    policy = EgressPolicy.parse(["127.0.0.1"])
    async with aclosing(EgressClient(policy, total_seconds=0.5)) as client:
        yield Tools(client)


HTTP_CHANNELS = [Channel.WEBHOOK, Channel.SLACK]


def target(channel: Channel, url: str) -> Any:
    if channel is Channel.WEBHOOK:
        return WebhookTarget(url, KEY)
    return SlackTarget(url) if channel is Channel.SLACK else EmailTarget("priya@fern.example")


async def attempt(channel: Channel, url: str, tools: Tools, at: datetime = AT) -> Outcome:
    outcome: Outcome = await SENDERS[channel].send(MESSAGE, target(channel, url), tools, at)
    for text in (outcome.reason, outcome.provider_status, outcome.provider_id, repr(outcome)):
        assert SECRET not in (text or "")
        assert KEY not in (text or "")
    return outcome


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_every_http_status(channel: Channel, day: WorstDay, tools: Tools) -> None:
    for status in (*range(200, 207), *range(300, 309), *range(400, 452), *range(500, 512), 599):
        outcome = await attempt(channel, day.url(f"/status/{status}/{SECRET}"), tools)
        if 200 <= status < 300:
            # Slack has one way to say yes, and this server does not say it.
            expected = Result.RETRY if channel is Channel.SLACK else Result.SENT
        elif status in (408, 421, 423, 425, 429) or status >= 500:
            expected = Result.RETRY
        else:
            expected = Result.FAILED
        assert outcome.result is expected, status
        assert outcome.provider_status == f"HTTP {status}"


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_retry_after_is_passed_on(channel: Channel, day: WorstDay, tools: Tools) -> None:
    for status in (429, 503):
        outcome = await attempt(channel, day.url(f"/status/{status}/7"), tools)
        assert (outcome.result, outcome.retry_after_seconds) == (Result.RETRY, 7.0)


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
@pytest.mark.parametrize(
    "path", ["reset", "close", "garbage", "slow-head", "long-head", "half", "slow-body", "drip"]
)
async def test_bad_servers_are_tried_again(
    channel: Channel, path: str, day: WorstDay, tools: Tools
) -> None:
    # The status says yes; a webhook's answer has no body that matters.
    is_taken = channel is Channel.WEBHOOK and path in ("half", "slow-body", "drip")
    async with hasty() as impatient:
        hangs = path in ("slow-head", "slow-body", "drip") and not is_taken
        url = day.url(f"/{path}/{SECRET}?token={SECRET}")
        outcome = await attempt(channel, url, impatient if hangs else tools)
    if is_taken:
        assert outcome.result is Result.SENT
    else:
        assert outcome.result is Result.RETRY
        assert outcome.may_have_arrived


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_a_huge_answer_does_no_harm(channel: Channel, day: WorstDay, tools: Tools) -> None:
    outcome = await attempt(channel, day.url(f"/huge/{SECRET}"), tools)
    expected = Result.RETRY if channel is Channel.SLACK else Result.SENT
    assert outcome.result is expected


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_nobody_there_has_not_arrived(channel: Channel, tools: Tools) -> None:
    async with worst_day() as gone:
        url = gone.url(f"/ok/{SECRET}")
    outcome = await attempt(channel, url, tools)
    assert (outcome.result, outcome.may_have_arrived) == (Result.RETRY, False)


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_inner_addresses_fail_for_good(channel: Channel, day: WorstDay) -> None:
    async with aclosing(EgressClient(EgressPolicy())) as client:
        outcome = await attempt(channel, day.url(f"/ok/{SECRET}"), Tools(client))
    assert outcome.result is Result.FAILED
    assert day.connections == 0


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_redirects_are_not_followed(channel: Channel, day: WorstDay, tools: Tools) -> None:
    outcome = await attempt(channel, day.url("/redirect/1"), tools)
    assert outcome.result is Result.FAILED
    assert "redirect" in outcome.reason
    assert len(day.requests) == 1


@pytest.mark.parametrize("channel", HTTP_CHANNELS)
async def test_a_channel_logs_no_secret(
    channel: Channel, day: WorstDay, tools: Tools, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for path in ("ok", "status/500", "reset"):
            await attempt(channel, day.url(f"/{path}/{SECRET}"), tools)
    assert SECRET not in caplog.text
    assert KEY not in caplog.text


async def test_a_webhook_is_signed_and_a_second_try_is_the_same(
    day: WorstDay, tools: Tools
) -> None:
    now = datetime.now(UTC)  # which the receiver holds it against
    for at in (now, now.astimezone(timezone(timedelta(hours=5)))):
        outcome = await attempt(Channel.WEBHOOK, day.url("/ok/hook"), tools, at)
        assert outcome == Outcome(
            Result.SENT, "the receiver answered 200", str(MESSAGE.delivery_id), "HTTP 200"
        )
    first, second = day.requests
    assert first.headers["webhook-id"] == str(MESSAGE.delivery_id)
    assert first.headers["content-type"] == "application/json"
    assert first.body == second.body == MESSAGE.body.encode()
    assert first.headers["webhook-signature"] == second.headers["webhook-signature"]
    for seen in day.requests:
        Webhook(KEY).verify(seen.body, seen.headers, json_parse=False)
        with pytest.raises(WebhookVerificationError):
            Webhook(KEY).verify(seen.body + b" ", seen.headers, json_parse=False)


async def test_slack_gets_words_that_cannot_be_commands(day: WorstDay, tools: Tools) -> None:
    outcome = await attempt(Channel.SLACK, day.url("/ok/services/x"), tools)
    assert outcome.result is Result.SENT
    sent = json.loads(day.requests[0].body)
    assert sent["text"] == "Your order form is slow"
    heading, section = sent["blocks"]
    assert heading["text"] == {
        "type": "plain_text",
        "text": "Your order form is slow",
        "emoji": False,
    }
    text = section["text"]["text"]
    assert "<http://here.example/ack/abc?x=1&amp;y=2|I'm on it>" in text
    assert "&lt;b&gt;trap&lt;/b&gt; &amp; &lt;!channel&gt;: http://evil.example/ack" in text


@pytest.mark.parametrize("word", ["invalid_token", "no_service", "channel_is_archived"])
async def test_slacks_own_words_are_passed_on(word: str, day: WorstDay, tools: Tools) -> None:
    outcome = await attempt(Channel.SLACK, day.url(f"/says/403/{word}"), tools)
    assert outcome.result is Result.FAILED
    assert word in outcome.reason
    # attempt() looks for the secret in what comes back
    await attempt(Channel.SLACK, day.url(f"/says/403/{SECRET}"), tools)
    other = await attempt(Channel.SLACK, day.url(f"/says/200/{SECRET}"), tools)
    assert other.result is Result.RETRY


async def test_a_long_slack_message_is_cut_at_a_line(day: WorstDay, tools: Tools) -> None:
    long = replace(MESSAGE, subject="s" * 400, body="a line of words\n" * 1000)
    await SENDERS[Channel.SLACK].send(long, SlackTarget(day.url("/ok")), tools, AT)
    sent = json.loads(day.requests[0].body)
    heading, *sections = sent["blocks"]
    assert len(heading["text"]["text"]) == 150
    assert len(sent["text"]) == 300
    texts = [section["text"]["text"] for section in sections]
    assert len(texts) == 3
    assert all(len(text) <= 3000 for text in texts)
    assert texts[0].endswith("words")
    assert texts[-1].endswith("words\n…")


class Sink:
    """What aiosmtpd was handed."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 2.0.0 Ok: queued as 4Xz"


def with_mail(tools: Tools, port: int, **changes: Any) -> Tools:
    server = MailServer("127.0.0.1", port, "if offered", "WedSync APM <apm@wedsync.example>")
    return replace(tools, mail=replace(server, **changes))


async def test_an_email_arrives_whole_and_twice_is_the_same(tools: Tools) -> None:
    sink = Sink()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(sink), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(2):
            outcome = await attempt(Channel.EMAIL, "", with_mail(tools, port))
            assert outcome.result is Result.SENT
            assert outcome.provider_status == "SMTP 250 2.0.0"
            assert outcome.provider_id == f"<{MESSAGE.delivery_id}@wedsync.example>"
    first, second = (parsed(envelope.content) for envelope in sink.envelopes)
    assert sink.envelopes[0].rcpt_tos == ["priya@fern.example"]
    assert sink.envelopes[0].mail_from == "apm@wedsync.example"
    for name in ("Message-ID", "Date", "Subject", "References"):
        assert first[name] == second[name]
    assert first["Message-ID"] == outcome.provider_id
    assert first["References"] == f"<incident.{MESSAGE.incident_id}@wedsync.example>"
    plain, html = first.get_body(("plain",)), first.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == MESSAGE.body.splitlines()
    shown = html.get_content()
    assert '<a href="http://here.example/ack/abc?x=1&amp;y=2">I&#x27;m on it</a>' in shown
    assert "&lt;b&gt;trap&lt;/b&gt;" in shown
    assert 'href="http://evil' not in shown


def parsed(content: bytes | str | None) -> EmailMessage:
    assert isinstance(content, bytes)
    read = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


@pytest.mark.parametrize(
    "evil", ["a\r\nBcc: x@evil.example", "a\nX: y", "a\x00b", "a\u2028Bcc: x", "\r\n\r\nbody"]
)
async def test_no_subject_can_add_a_header(evil: str, tools: Tools) -> None:
    async with worst_mail() as server:
        message = replace(MESSAGE, subject=f"{evil} {'x' * 400}")
        outcome = await email_channel.send(
            message, EmailTarget("a@b.example"), with_mail(tools, server.port), AT
        )
        assert outcome.result is Result.SENT
        read = parsed(server.mails[0])
        assert set(read.keys()) == {
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "References",
            "Auto-Submitted",
            "MIME-Version",
            "Content-Type",
        }
        assert len(read["Subject"]) <= 200


@pytest.mark.parametrize("code", [*range(400, 460), *range(500, 560)])
@pytest.mark.parametrize("word", ["RCPT", "body"])
async def test_every_smtp_refusal(word: str, code: int, tools: Tools) -> None:
    async with worst_mail() as server:
        server.replies[word] = f"{code} 4.7.1 {SECRET} says no"
        outcome = await attempt(Channel.EMAIL, "", with_mail(tools, server.port))
    assert outcome.result is (Result.RETRY if code < 500 else Result.FAILED)
    assert outcome.provider_status == f"SMTP {code} 4.7.1"


@pytest.mark.parametrize("word", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "body"])
@pytest.mark.parametrize("what", ["reset", "stall", "I am not SMTP", "421 4.3.2 shutting down"])
async def test_bad_mail_servers_are_tried_again(word: str, what: str, tools: Tools) -> None:
    async with worst_mail() as server:
        server.replies[word] = what
        mail = with_mail(tools, server.port, total_seconds=0.5 if what == "stall" else 30.0)
        outcome = await attempt(Channel.EMAIL, "", mail)
        if word == "EHLO" and what.startswith(("I am", "421")):
            assert outcome.result in (Result.RETRY, Result.SENT)  # HELO does as well
        else:
            assert outcome.result is Result.RETRY
        if word == "body" and what in ("reset", "stall"):
            assert outcome.may_have_arrived


async def test_a_server_that_refuses_us_is_tried_again(tools: Tools) -> None:
    """The operator's mistake must not lose a page: it goes out when the set-up is mended."""
    async with worst_mail() as server:
        server.replies["MAIL"] = "550 5.7.1 who are you"
        outcome = await attempt(Channel.EMAIL, "", with_mail(tools, server.port))
    assert outcome.result is Result.RETRY
    assert "sender" in outcome.reason


async def test_credentials_never_travel_in_the_open(tools: Tools) -> None:
    async with worst_mail() as server:
        mail = with_mail(tools, server.port, security="starttls", username="apm", password=SECRET)
        outcome = await attempt(Channel.EMAIL, "", mail)
        assert outcome.result is Result.RETRY
        assert server.mails == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_goes_in_over_tls_with_the_servers_name_checked(
    security: Security, tools: Tools, tmp_path: Path
) -> None:
    server_tls, client_tls = certificate(tmp_path, "mail.example")

    async def resolve(host: str, port: int) -> list[Any]:
        return [ip_address("127.0.0.1")]

    async with (
        worst_mail(server_tls, is_wrapped=security == "tls") as server,
        aclosing(EgressClient(EgressPolicy.parse(["127.0.0.1"]), resolve=resolve)) as egress,
    ):
        mail = MailServer(
            "mail.example",
            server.port,
            security,
            "a@b.example",
            "apm",
            SECRET,
            tls=client_tls,
            total_seconds=30.0,
        )
        outcome = await attempt(Channel.EMAIL, "", Tools(egress, mail))
        assert outcome.result is Result.SENT, outcome
        assert server.logins == [f"\0apm\0{SECRET}"]
        for wrong in (replace(mail, host="other.example"), replace(mail, tls=None)):
            outcome = await attempt(Channel.EMAIL, "", Tools(egress, wrong))
            assert outcome.result is Result.RETRY
            assert "TLS" in outcome.reason
        assert len(server.logins) == 1
        server.replies["AUTH"] = f"535 5.7.8 not with {SECRET}"
        outcome = await attempt(Channel.EMAIL, "", Tools(egress, mail))
        assert outcome.result is Result.RETRY
        assert "535" in outcome.reason
        assert len(server.mails) == 1


async def test_without_a_mail_server_it_stays_in_the_inbox(tools: Tools) -> None:
    assert "WEDSYNC_APM_SMTP_URL" in (SENDERS[Channel.EMAIL].unready(tools) or "")
    assert SENDERS[Channel.EMAIL].unready(with_mail(tools, 25)) is None
    for channel in HTTP_CHANNELS:
        assert SENDERS[channel].unready(tools) is None
    outcome = await attempt(Channel.EMAIL, "", tools)
    assert outcome.result is Result.RETRY


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@",
        "@b.example",
        "a@b.example, c@d.example",
        "a@b.example\r\nBcc: c@d.example",
        "a@b.example\n",
        "A <a@b.example>",
        '"a b"@c.example',
        "a@b@c.example",
        "a@-b.example",
        "ü@b.example",
        "a@b..example",
    ],
)
def test_what_is_no_single_mailbox_is_refused(address: str) -> None:
    with pytest.raises(NotValid) as caught:
        email_channel.configure(address, None)
    assert caught.value.errors[0].field == "address"


@pytest.mark.parametrize("url", ["", "ftp://x.example", "https://u:p@x.example/", "nonsense"])
def test_what_cannot_be_called_is_refused_with_the_field(url: str) -> None:
    for make in (new_webhook, new_slack):
        with pytest.raises(NotValid) as caught:
            make(url)
        assert caught.value.errors[0].field == "url"


@pytest.mark.parametrize("key", ["secret", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "ü" * 40])
def test_weak_webhook_keys_are_refused(key: str) -> None:
    with pytest.raises(NotValid) as caught:
        new_webhook("https://x.example/", key)
    assert caught.value.errors[0].field == "key"
    assert key not in str(caught.value)


def test_contacts_survive_being_stored() -> None:
    shown, made = new_webhook(f"https://x.example/{SECRET}")
    assert shown == "x.example"
    assert webhook.configure(shown, made.secret) == made
    assert SECRET not in repr(made)
    for rubbish in (None, "", "{}", f'{{"url": "{SECRET}"', "[]", "3"):
        with pytest.raises(NotValid) as caught:
            webhook.configure(shown, rubbish)
        assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("url", "port", "security"),
    [
        ("smtp://mail.example", 25, "if offered"),
        ("smtp://127.0.0.1:1025", 1025, "if offered"),
        ("smtp://apm:p%40ss@mail.example", 587, "starttls"),
        ("smtps://apm:p%40ss@mail.example", 465, "tls"),
        ("smtps://mail.example:2465", 2465, "tls"),
    ],
)
def test_mail_servers_are_read_from_one_url(url: str, port: int, security: str) -> None:
    server = read_mail_server(url, "A <a@b.example>")
    assert server is not None
    assert (server.port, server.security, server.domain) == (port, security, "b.example")
    assert server.password in (None, "p@ss")
    assert "p@ss" not in repr(server)


def test_no_mail_server_is_no_mail_server_and_a_bad_one_is_an_error() -> None:
    assert read_mail_server(None, "a@b.example") is None
    for url, sender in (("http://x", "a@b.example"), ("smtp://x", "nobody")):
        with pytest.raises(ConfigurationError):
            read_mail_server(url, sender)
