"""Every call that goes out keeps to the egress rules, whoever has named where to.

The calls are listed in docs/egress.md, each with its test; a module that could open a connection
and is not named there or here fails.
"""

import ast
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from tests.support.outbox import AT, BASE_URL, KEYRING, World, world_of
from tests.support.postgres import Database
from tests.support.providers import BOT_TOKEN, CHANNEL_ID, ROUTING_KEY, Browser
from tests.support.worst_day import WorstDay, worst_day
from tests.support.worst_mail import worst_mail
from wedsync_apm import app
from wedsync_apm.config import Settings
from wedsync_apm.db.pool import open_pool
from wedsync_apm.egress import EgressClient, EgressPolicy, EgressRefused
from wedsync_apm.engine.deliver import open_deliver
from wedsync_apm.notify.channels import SENDERS, apprise
from wedsync_apm.notify.channels.pagerduty.config import PagerDutyTarget
from wedsync_apm.notify.channels.push.config import PushTarget
from wedsync_apm.notify.channels.slack.config import SlackTarget
from wedsync_apm.notify.channels.webhook.config import WebhookTarget, new_key
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Kind, Outcome, Result
from wedsync_apm.notify.vapid import Vapid, encode, new_private_key
from wedsync_apm.types import Channel

ROOT: Final = Path(app.__file__).parent
VAPID: Final = Vapid.read(new_private_key(), "mailto:apm@wedsync.example")


def _push(url: str) -> Any:
    browser = Browser()
    return PushTarget(url, browser.p256dh, encode(browser.auth))


NAMED_BY_TENANTS: dict[str, tuple[Channel, Callable[[str], Any]]] = {
    "webhook": (Channel.WEBHOOK, lambda url: WebhookTarget(url, new_key())),
    "slack": (Channel.SLACK, SlackTarget),
    "slack bot": (Channel.SLACK, lambda url: SlackTarget(url, BOT_TOKEN, CHANNEL_ID, "s" * 32)),
    "pagerduty": (Channel.PAGERDUTY, lambda url: PagerDutyTarget(ROUTING_KEY, url)),
    "push": (Channel.PUSH, _push),
    "apprise": (
        Channel.APPRISE,
        lambda url: apprise.configure("", url.replace("http://", "json://", 1)),
    ),
}


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


async def send(name: str, url: str, client: EgressClient) -> Outcome:
    channel, target = NAMED_BY_TENANTS[name]
    body = '{"event_action":"trigger","dedup_key":"k"}' if channel is Channel.PAGERDUTY else "x"
    message = Message(
        delivery_id=UUID(int=7),
        incident_id=UUID(int=7),
        kind=Kind.PAGE,
        subject="Your order form is slow",
        body=body,
        created_at=AT,
        base_url=BASE_URL,
        generation=1,
    )
    outcome: Outcome = await SENDERS[channel].send(
        message, target(url), Tools(client, vapid=VAPID), AT
    )
    return outcome


@pytest.mark.parametrize("name", NAMED_BY_TENANTS)
async def test_what_a_tenant_names_within_is_not_called(name: str, day: WorstDay) -> None:
    async with aclosing(EgressClient(EgressPolicy())) as client:
        outcome = await send(name, day.url("/ok"), client)
    assert outcome.result is Result.FAILED, outcome
    assert "loopback" in outcome.reason
    assert day.connections == 0


@pytest.mark.parametrize("name", NAMED_BY_TENANTS)
async def test_the_checked_address_is_dialled_and_a_redirect_leads_nowhere(
    name: str, day: WorstDay
) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[Any]:
        asked.append(host)
        # Good at the first look, and within at any other.
        return [ip_address("127.0.0.1" if len(asked) == 1 else "10.0.0.1")]

    policy = EgressPolicy.parse([f"127.0.0.1:{day.port}"])
    async with worst_day() as inside, AsyncExitStack() as stack:
        client = await stack.enter_async_context(aclosing(EgressClient(policy, resolve=resolve)))
        outcome = await send(
            name, f"http://rebinds.example:{day.port}/to?{inside.url('/ok')}", client
        )
        assert outcome.result is not Result.SENT
        assert asked == ["rebinds.example"]
        assert [seen.headers["host"] for seen in day.requests] == [f"rebinds.example:{day.port}"]
        again = await send(name, f"http://rebinds.example:{day.port}/ok", client)
        assert again.result is Result.FAILED
        assert "private" in again.reason
        assert (len(day.requests), inside.connections) == (1, 0)


def test_every_channel_is_named_by_tenants_or_by_the_operator() -> None:
    named = {channel for channel, _ in NAMED_BY_TENANTS.values()}
    assert named | {Channel.EMAIL, Channel.SMS, Channel.VOICE} == set(Channel)


async def test_what_the_operator_named_within_is_no_tenants_to_call(database: Database) -> None:
    async with worst_mail() as mail, world_of(database) as world:
        settings = Settings(
            smtp_url=f"smtp://127.0.0.1:{mail.port}",
            twilio_account_sid="AC" + "1" * 32,
            twilio_auth_token="t" * 32,
            twilio_from="+447700900123",
            twilio_base_url=f"http://127.0.0.1:{mail.port}",
            public_url=BASE_URL,
        )
        calls = await _calls(world, f"http://127.0.0.1:{mail.port}/")
        pool = await open_pool(database.engine, name="engine", max_size=2, wait=True)
        async with pool, open_deliver(pool, settings, KEYRING) as job, pool.connection() as cx:
            await job.run_once(cx, AT)
        assert (await world.delivery(calls[Channel.EMAIL]))["state"] == "sent"
        hook = await world.delivery(calls[Channel.WEBHOOK])
        assert (hook["state"], len(mail.mails)) == ("failed", 1)
        assert "loopback" in hook["state_reason"]


async def _calls(world: World, url: str) -> dict[Channel, Any]:
    vendor = await world.organization()
    incident = await world.incident(vendor)
    made = {}
    for channel in (Channel.EMAIL, Channel.WEBHOOK):
        contact = await world.contact(vendor, channel, url, name=str(channel))
        made[channel] = await world.call(vendor, incident, contact, channel)
    return made


async def test_keys_are_fetched_from_where_the_operator_said_and_nowhere_else(
    day: WorstDay,
) -> None:
    async with worst_day() as inside, AsyncExitStack() as stack:
        for path, fault in ((f"/to?{inside.url('/ok')}", ValueError), ("/huge", ValueError)):
            fetch = app._fetch_keys(Settings(jwks_url=day.url(path)), stack)
            assert fetch is not None
            with pytest.raises(fault):
                await fetch()
        assert inside.connections == 0
        # Its host may be within because he named it; another port of that host is not named.
        policy = EgressPolicy.parse([]).allowing(f"127.0.0.1:{day.port}")
        async with aclosing(EgressClient(policy)) as client:
            with pytest.raises(EgressRefused):
                await client.request("GET", inside.url("/ok"))


# Modules that can open a connection, and to whom. A tenant has a say in none but the first two.
MAY_CONNECT: Final = {
    "egress/client.py": "the one way out",
    "checks/probes": "over sockets and addresses that the way out has checked",
    "notify/channels/email/send.py": "over a socket that the way out has checked",
    "notify/mail_server.py": "opens none: it names the faults of TLS",
    "notify/channels/apprise/child.py": "opens none: it has every way out refused",
    "addresses.py": "this machine: is the port free, does the page answer",
    "serving.py": "this machine: listens",
    "api/lines.py": "this machine: how much the kernel keeps for a client",
    "api/turns.py": "this machine: hands connections to its neighbours",
    "app.py": "this machine: listens",
    "selfwatch": "this machine: reads our own page",
    "simulate": "this machine: the demo's traffic to our own page",
    "commands/freeze.py": "the product's own page, as whoever runs the command names it",
    "client": "the library that customers run, to the product",
    "ingest/statsd": "this machine: listens",
    "ingest/line.py": "the database",
    "engine/deliver.py": "opens none: the machine's name",
    "db/embedded.py": "the database",
}
CAN_CONNECT: Final = frozenset(
    {
        *("aiosmtplib", "dns", "ftplib", "http.client", "httpcore", "httpx", "imaplib", "requests"),
        *("smtplib", "socket", "ssl", "telnetlib", "urllib.request", "urllib3", "websockets"),
        *("aiohttp", "anyio", "apprise", "xmlrpc"),
    }
)


def connecting() -> Iterator[str]:
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
                names = [str(one.value) for one in node.args if isinstance(one, ast.Constant)]
            elif isinstance(node, ast.Attribute) and node.attr in (
                "open_connection",
                "open_unix_connection",
                "create_connection",
                "create_datagram_endpoint",
                "sock_connect",
            ):
                names = ["socket"]
            if any(name in CAN_CONNECT or name.split(".")[0] in CAN_CONNECT for name in names):
                yield path.relative_to(ROOT).as_posix()


def test_nothing_else_opens_a_connection() -> None:
    found = set(connecting())
    strange = {one for one in found if not any(one.startswith(known) for known in MAY_CONNECT)}
    assert not strange, "name it in docs/egress.md, and have it call through the one way out"
    unused = {known for known in MAY_CONNECT if not any(one.startswith(known) for one in found)}
    assert not unused


def test_each_call_in_the_docs_has_the_test_that_it_names() -> None:
    page = (ROOT.parents[1] / "docs" / "egress.md").read_text("utf-8")
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", page)
    assert len(named) >= 12
    for file, test in named:
        assert f"def {test}(" in (ROOT.parents[1] / file).read_text("utf-8"), test
