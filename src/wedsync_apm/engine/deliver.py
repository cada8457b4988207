"""Sends what lies in the outbox.

A shared job: many engines do it at once, each with leases of its own. A run starts the sending and
does not wait for it, so `aclose` has to be awaited before the pool goes away.
"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from uuid import uuid4

from wedsync_apm.config import Settings
from wedsync_apm.db.pool import Connection, Pool
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.notify.mail_server import read_mail_server
from wedsync_apm.notify.message import Tools
from wedsync_apm.notify.outbox import Outbox
from wedsync_apm.notify.telephone.accounts import read_telephone
from wedsync_apm.notify.vapid import read_vapid
from wedsync_apm.organizations.secrets import Keyring


class Deliver:
    """The job; `run_once` has the shape that the cycle wants."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """Claims what is due and starts sending it; says how many."""
        count = await self._outbox.run_once(cx, at)
        return f"{count} on their way" if count else ""


@asynccontextmanager
async def open_deliver(pool: Pool, settings: Settings, keyring: Keyring) -> AsyncIterator[Deliver]:
    """The job with all that it reaches the world with; at the end what is on its way is recorded.

    `pool` enters as the engine. Raises ConfigurationError for a mail server or an egress exception
    that cannot be read.
    """
    mail = read_mail_server(settings.smtp_url, settings.mail_from)
    second = read_mail_server(settings.smtp_url_2, settings.mail_from, "SMTP_URL_2")
    telephone = read_telephone(settings, keyring)
    policy = EgressPolicy.parse(settings.egress_allow)
    # The operator named these himself, and tenants can name no mail server and no telephone. With
    # one client for both, a tenant's webhook could call what only we may.
    endpoints = [server.endpoint for server in (mail, second) if server is not None]
    endpoints += [account.endpoint for account in telephone.accounts] if telephone else []
    async with AsyncExitStack() as stack:
        egress, named = (EgressClient(one) for one in (policy, policy.allowing(*endpoints)))
        for client in (egress, named):
            stack.push_async_callback(client.aclose)
        outbox = Outbox(
            pool,
            Tools(
                egress,
                mail,
                second,
                telephone,
                read_vapid(settings),
                has_apprise=settings.apprise == "on",
                named=named,
            ),
            keyring,
            base_url=settings.base_url,
            lease_owner=f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}",
        )
        yield Deliver(outbox)
        await outbox.drain()
