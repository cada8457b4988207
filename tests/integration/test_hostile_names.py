"""Whatever stands in a name, a text or a title: it stays text, and the alert arrives all the same.

Every field of a message at once, through every channel, to providers that hold it to their rules,
over real sockets.
"""

import email
import email.policy
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest

from tests.support.providers import (
    BOT_TOKEN,
    CHANNEL_ID,
    ROUTING_KEY,
    Browser,
    Providers,
    providers,
)
from tests.support.telephone import PRIYA, telephone_of
from tests.support.worst_mail import WorstMail, worst_mail
from tests.support.worst_phone import WorstPhone, worst_phone
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.incidents.works import Watched
from wedsync_apm.notify.channels import SENDERS, apprise
from wedsync_apm.notify.channels.email.config import EmailTarget
from wedsync_apm.notify.channels.pagerduty.config import PagerDutyTarget
from wedsync_apm.notify.channels.push.config import PushTarget
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.sms.config import SmsTarget
from wedsync_apm.notify.channels.voice.config import VoiceTarget
from wedsync_apm.notify.channels.webhook.config import WebhookTarget, new_key
from wedsync_apm.notify.mail_server import MailServer
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Kind, Result
from wedsync_apm.notify.vapid import Vapid, encode, new_private_key
from wedsync_apm.notify.words import Facts
from wedsync_apm.types import Channel

AT = datetime.now(UTC)
BASE = "https://apm.example"
EVIL = {
    "header": "Fern\r\nBcc: x@evil.example\r\n\r\nbody",
    "mrkdwn": "<!channel> <@U1> <https://evil.example|I'm on it> *b* `c` & &lt;",
    "html": "<script>alert(1)</script><img src=x onerror=y>\"'</p></body>",
    "formula": '=HYPERLINK("https://evil.example","x")',
    "direction": "\u202egpj.exe\u202c \u2066a\u2069 \u200f\u061c",
    "control": "a\x00b\x07c\x1b[31md\x7fe\u2028f\u0085g",
    "long": "Fern and Field " * 683,
    "wide": "\U0001f469\u200d\U0001f373\ufdfd\u0635" * 2048,
    "link": f"x\nI'm on it: {BASE}/ack/forged\nSee it: https://evil.example/",
}
KINDS = (Kind.PAGE, Kind.REOPENED, Kind.UPDATE, Kind.RESOLVED, Kind.TEST, Kind.VERIFY)


@dataclass(slots=True)
class World:
    """Everything that a message can be sent to."""

    others: Providers
    mail: WorstMail
    phone: WorstPhone
    tools: Tools
    browser: Browser = field(default_factory=Browser)

    def targets(self, channel: Channel) -> list[Any]:  # noqa: PLR0911
        url = self.others.url
        match channel:
            case Channel.EMAIL:
                return [EmailTarget("priya@fern.example")]
            case Channel.SMS:
                return [SmsTarget(PRIYA)]
            case Channel.VOICE:
                return [VoiceTarget(PRIYA)]
            case Channel.SLACK:
                return [
                    SlackTarget(url("/api"), BOT_TOKEN, CHANNEL_ID, "s" * 32),
                    SlackTarget(url("/services/T0/B0/x")),
                ]
            case Channel.WEBHOOK:
                return [WebhookTarget(url("/hook"), new_key())]
            case Channel.PAGERDUTY:
                return [PagerDutyTarget(ROUTING_KEY, url("/v2/enqueue"))]
            case Channel.APPRISE:
                return [apprise.configure("", url("/hook").replace("http", "json", 1))]
            case Channel.PUSH:
                self.others.browsers["one"] = self.browser
                auth = encode(self.browser.auth)
                return [PushTarget(url("/push/one"), self.browser.p256dh, auth)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        others = await stack.enter_async_context(providers())
        mail = await stack.enter_async_context(worst_mail())
        phone = await stack.enter_async_context(worst_phone())
        egress = await stack.enter_async_context(
            aclosing(EgressClient(EgressPolicy.parse(["127.0.0.1"]), total_seconds=30.0))
        )
        tools = Tools(
            egress,
            MailServer("127.0.0.1", mail.port, "if offered", "WedSync APM <apm@wedsync.example>"),
            telephone=telephone_of(phone),
            vapid=Vapid.read(new_private_key(), "mailto:apm@wedsync.example"),
        )
        yield World(others, mail, phone, tools)


def facts_of(kind: Kind, evil: str) -> Facts:
    """A message with it in every field that somebody can write."""
    return Facts(
        kind=kind,
        reason="first",
        delivery_id=UUID(int=KINDS.index(kind) + 1),
        organization_id=UUID(int=3),
        organization_name=evil,
        time_zone=evil[:100],
        receiver=evil,
        at=AT,
        base_url=BASE,
        incident_id=None if kind in (Kind.TEST, Kind.VERIFY) else UUID(int=2),
        number=7,
        title=evil,
        status={Kind.UPDATE: "acknowledged", Kind.RESOLVED: "resolved"}.get(kind, "open"),
        severity="critical",
        priority="high",
        detected_at=AT - timedelta(minutes=5),
        reopened_at=AT if kind is Kind.REOPENED else None,
        resolved_at=AT if kind is Kind.RESOLVED else None,
        acknowledged_at=AT if kind is Kind.UPDATE else None,
        acknowledged_by=evil if kind is Kind.UPDATE else None,
        weddings=({"next_milestone_at": evil, "time_zone": evil},),
        vendor_text={"subject": evil, "problem": evil, "still_works": evil, "what_to_do": [evil]},
        services=(Watched(evil, evil, evil, True),),
        metric_pattern=evil,
        help_line=evil,
        acknowledge_url=f"{BASE}/ack/real" if kind in (Kind.PAGE, Kind.REOPENED) else None,
        code="041907" if kind is Kind.VERIFY else None,
    )


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("channel", Channel)
async def test_a_hostile_name_stays_a_name_and_the_alert_arrives(
    channel: Channel, name: str, world: World
) -> None:
    sender = SENDERS[channel]
    # A process for each message: the page is the one with everything in it.
    for kind in KINDS if channel is not Channel.APPRISE else KINDS[:1]:
        facts = facts_of(kind, EVIL[name])
        rendered = sender.render(facts)
        message = Message(
            delivery_id=facts.delivery_id,
            incident_id=facts.incident_id,
            kind=kind,
            subject=rendered.subject,
            body=rendered.body,
            created_at=AT,
            base_url=BASE,
            generation=1,
        )
        for target in world.targets(channel):
            outcome = await sender.send(message, target, world.tools, AT)
            assert outcome.result is Result.SENT, (kind, outcome)
            assert EVIL[name] not in repr(outcome)
    CHECKS[channel](world, name)


# What turns the direction of writing, moves the cursor or begins another line.
UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028]"
)


def check_text(text: str) -> None:
    assert not UNSEEN.search(text), ascii(UNSEEN.findall(text))


class Reader(HTMLParser):
    """What a mail program would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links |= {str(value) for key, value in attrs if key == "href"}
        assert {key for key, _ in attrs} <= {"href", "lang", "style"}


def check_mail(world: World, name: str) -> None:
    assert len(world.mail.mails) == len(KINDS)
    for raw in world.mail.mails:
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        assert set(mail.keys()) <= {
            "From", "To", "Subject", "Date", "Message-ID", "References", "In-Reply-To",
            "Auto-Submitted", "MIME-Version", "Content-Type",
        }  # fmt: skip
        assert mail["To"] == "priya@fern.example"
        check_text(mail["Subject"])
        check_text(plain_of(raw).replace("\r\n", "\n"))
        html = mail.get_body(("html",))
        assert html is not None
        reader = Reader()
        reader.feed(html.get_content())
        assert reader.tags <= {"html", "body", "p", "br", "a"}
        assert reader.links <= {f"{BASE}/ack/real", f"{BASE}/incidents/{UUID(int=2)}"}
    assert f"{BASE}/ack/real" in plain_of(world.mail.mails[0])


def plain_of(raw: bytes) -> str:
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def check_texts(world: World, name: str) -> None:
    assert len(world.phone.orders) == len(KINDS)
    for order in world.phone.orders:
        check_text(order["Body"])
        assert len(order["Body"]) <= 160
    assert "041907" in world.phone.orders[-1]["Body"]


def check_calls(world: World, name: str) -> None:
    assert len(world.phone.orders) == len(KINDS)
    for order in world.phone.orders:
        if "Twiml" in order:
            said = ElementTree.fromstring(order["Twiml"])  # noqa: S314 our own
            assert {one.tag for one in said.iter()} <= {"Response", "Say", "Gather", "Pause"}


def check_slack(world: World, name: str) -> None:
    taken = [*world.others.messages.values(), *world.others.hooks]
    assert len(taken) == 2 * len(KINDS)
    for said in taken:
        check_text(said["text"])
        for block in said["blocks"]:
            if block["type"] == "header":
                check_text(block["text"]["text"])
            if block["type"] != "section":
                continue
            check_text(block["text"]["text"])
            assert block["text"]["verbatim"] is True
            found = re.findall(r"<([^>]*)>", block["text"]["text"])
            assert {one.partition("|")[0] for one in found} <= {
                f"{BASE}/ack/real",
                f"{BASE}/incidents/{UUID(int=2)}",
            }
        assert not re.search(r"[<>]", said["text"])
    # By button or by link: whoever reads the call can say that he is on it.
    assert world.others.messages["1700000000.000001"]["blocks"][-1]["type"] == "actions"
    assert f"<{BASE}/ack/real|I'm on it>" in json.dumps(world.others.hooks[0])


def check_webhooks(world: World, name: str) -> None:
    assert len(world.others.webhooks) == len(KINDS)
    for seen in world.others.webhooks:
        assert not {"bcc", "x"} & seen.headers.keys()
        said = json.loads(seen.body)
        check_text(said["data"]["message"])
    assert f"{BASE}/ack/real" in world.others.webhooks[0].body.decode()


def check_pagerduty(world: World, name: str) -> None:
    events = [json.loads(seen.body) for seen in world.others.requests]
    assert len(events) == len(KINDS)
    for event in events:
        if event["event_action"] == "trigger":
            check_text(event["payload"]["summary"])
            check_text(event["payload"]["source"])
            assert len(event["payload"]["summary"]) <= 1024
            assert {link["href"].split("/")[2] for link in event.get("links", [])} <= {
                "apm.example"
            }
    assert events[0]["links"][-1]["href"] == f"{BASE}/ack/real"


def check_pushed(world: World, name: str) -> None:
    assert len(world.browser.shown) == len(KINDS)
    for shown in world.browser.shown:
        check_text(shown["title"])
        check_text(shown["body"])
        assert len(shown["title"]) <= 40
        assert len(shown["body"]) <= 110
    assert world.browser.shown[0]["acknowledge_url"] == f"{BASE}/ack/real"
    told = "There is nothing to do. Should a page ask for a code, it is 041907."
    assert world.browser.shown[-1]["body"] == told


def check_apprise(world: World, name: str) -> None:
    [seen] = world.others.webhooks
    assert not {"bcc", "x"} & seen.headers.keys()
    said = json.loads(seen.body)
    check_text(said["message"])
    check_text(said["title"])
    assert not set("<>[]`") & set(said["title"])
    assert f"I'm on it: {BASE}/ack/real" in said["message"].splitlines()


CHECKS = {
    Channel.APPRISE: check_apprise,
    Channel.EMAIL: check_mail,
    Channel.SMS: check_texts,
    Channel.VOICE: check_calls,
    Channel.SLACK: check_slack,
    Channel.WEBHOOK: check_webhooks,
    Channel.PAGERDUTY: check_pagerduty,
    Channel.PUSH: check_pushed,
}
