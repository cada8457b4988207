"""A browser's subscription as a page sees it, and the way of a message from us into its worker.

A headless Chromium has no push service behind it. So `PushManager` in the page is made to give out
a subscription at the tests' own push service; what that takes and decrypts is put into the worker
by the browser's own `ServiceWorker.deliverPushMessage`, as the real one would have it done. Nothing
else is made up: permission, worker, notifications and receipts are the browser's and ours.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, CDPSession, Page, Worker

from tests.support.providers import Browser as Subscribed
from wedsync_apm.clock import utcnow
from wedsync_apm.config import load_settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import open_pool
from wedsync_apm.engine.deliver import open_deliver
from wedsync_apm.notify.vapid import encode
from wedsync_apm.organizations.secrets import load_keyring

PATIENCE = 30.0
"""Seconds: a deadline, not a pause."""
_MANAGER = """
const made = () => ({
  endpoint: %(endpoint)s,
  toJSON: () => ({ endpoint: %(endpoint)s, keys: %(keys)s }),
  unsubscribe: async () => { localStorage.removeItem("subscribed"); return true; },
});
PushManager.prototype.subscribe = async (options) => {
  if (!options.userVisibleOnly) throw new TypeError("a push must be shown");
  localStorage.setItem("subscribed", new Uint8Array(options.applicationServerKey).join());
  return made();
};
PushManager.prototype.getSubscription = async () =>
  (localStorage.getItem("subscribed") ? made() : null);
"""


async def subscribe_at(context: BrowserContext, url: str, browser: Subscribed) -> None:
    """Every page of the context gets this subscription, once it asks for one."""
    keys = {"p256dh": browser.p256dh, "auth": encode(browser.auth)}
    given = {"endpoint": json.dumps(url), "keys": json.dumps(keys)}
    await context.add_init_script(f"(() => {{ {_MANAGER % given} }})()")


async def send_everything(owner: str, data_dir: Path) -> None:
    """The sender's job once, as the engine has it; at its end everything is recorded."""
    settings = load_settings(
        {}, data_dir=str(data_dir), database_url=owner, egress_allow="127.0.0.0/8"
    )
    conninfo = role_conninfo(settings, "apm_engine")
    async with (
        await open_pool(conninfo, name="sender", min_size=1, max_size=3) as pool,
        open_deliver(pool, settings, load_keyring(settings)) as job,
        pool.connection() as cx,
    ):
        await job.run_once(cx, utcnow())


@dataclass(frozen=True, slots=True)
class Device:
    """The browser's side: its worker, and what it shows."""

    session: CDPSession
    worker: Worker
    origin: str
    registration: str

    async def receive(self, message: Mapping[str, Any]) -> None:
        """The push service hands it over."""
        await self.session.send(
            "ServiceWorker.deliverPushMessage",
            {
                "origin": self.origin,
                "registrationId": self.registration,
                "data": json.dumps(message),
            },
        )

    async def shown(self) -> list[dict[str, Any]]:
        """The notifications that stand on it."""
        found: list[dict[str, Any]] = await self.worker.evaluate(
            "async () => (await registration.getNotifications()).map((one) => ({ title: one.title,"
            " body: one.body, tag: one.tag, actions: one.actions.map((a) => a.title) }))"
        )
        return found

    async def tap(self, action: str = "") -> None:
        """Somebody taps the only notification, or a button of it."""
        await self.worker.evaluate(
            "async (action) => { const [notification] = await registration.getNotifications();"
            " dispatchEvent(new NotificationEvent('notificationclick', { notification, action }));"
            " }",
            action,
        )


async def find_device(context: BrowserContext, page: Page, origin: str) -> Device:
    """The worker that stands behind the page, by the browser's own numbers."""
    session = await context.new_cdp_session(page)
    found: dict[str, str] = {}
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.update(
            {one["scopeURL"]: one["registrationId"] for one in event["registrations"]}
        ),
    )
    await session.send("ServiceWorker.enable")
    await until(lambda: f"{origin}/" in found)
    await until(lambda: any(one.url.startswith(origin) for one in context.service_workers))
    worker = next(one for one in context.service_workers if one.url.startswith(origin))
    return Device(session, worker, origin, found[f"{origin}/"])


async def until(is_so: Callable[[], bool]) -> None:
    """Waits until that is true."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)
