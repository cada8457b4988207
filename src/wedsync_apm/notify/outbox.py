"""Sends what lies in the outbox: at least once, never unnoticed, never past the stages.

One message goes through these steps:

1. Claimed: a lease, together with others, in one statement.
2. Asked, in a transaction of its own: is it still needed? Then the words are written and stored,
   and `sending` is committed with an open attempt.
3. Sent, outside any transaction.
4. Recorded, only if the lease is still ours.

A process that dies after 2 leaves `sending` behind, which becomes `unknown` when the lease runs
out, and the next sender sends it again under the same id.
"""

import asyncio
import hashlib
import secrets
import time
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.errors import DatabaseAway, NotValid
from wedsync_apm.notify import store
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.message import Message, Rendered, Tools
from wedsync_apm.notify.model import (
    Drop,
    Kind,
    Outcome,
    Result,
    State,
    retry_delay_seconds,
)
from wedsync_apm.notify.stages import sift
from wedsync_apm.notify.store import Lease, Leased
from wedsync_apm.organizations.secrets import Keyring, SecretUnreadable
from wedsync_apm.telemetry import Counter, get_logger
from wedsync_apm.types import Channel

log = get_logger(__name__)

LEASE_SECONDS: Final = 60.0  # three times the longest attempt
SLOTS: Final = 32  # messages under way in one process
PER_ORGANIZATION: Final = 10  # of one organization, over all processes
RUN_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 25.0
LINK_LIFETIME: Final = timedelta(hours=24)

_attempts = Counter(
    "wedsync_apm_delivery_attempts_total",
    "Attempts to send a message, by channel and how they ended.",
    ("channel", "outcome"),
)
_chance = secrets.SystemRandom()
_CHANNEL_WORDS: Final = {
    Channel.EMAIL: "E-mail",
    Channel.SLACK: "Slack message",
    Channel.WEBHOOK: "Webhook",
}


class Outbox:
    """Sends from one process. Several may run at once; leases keep them apart."""

    def __init__(
        self,
        pool: Pool,
        tools: Tools,
        keyring: Keyring,
        *,
        base_url: str,
        lease_owner: str,
        lease_seconds: float = LEASE_SECONDS,
        slots: int = SLOTS,
        per_organization: int = PER_ORGANIZATION,
    ) -> None:
        self._pool = pool
        self._tools = tools
        self._keyring = keyring
        self._base_url = base_url
        self._owner = lease_owner
        self._lease_seconds = lease_seconds
        self._slots = slots
        self._per_organization = per_organization
        self._under_way: set[asyncio.Task[None]] = set()

    async def run_once(self, cx: Connection, at: datetime) -> int:
        """Frees lost leases, claims what is due and starts sending it; returns how many it claimed.

        While all slots are taken and more is due, it goes on as slots come free, for a few seconds.
        It does not wait for the last ones: a slow receiver must not hold up everybody's next call.
        `cx` is outside a transaction.
        """
        clock = _Clock(at)
        async with cx.transaction():
            await store.release_lost_leases(cx, at)
        count = 0
        while (left := RUN_SECONDS - clock.seconds()) > 0:
            free = self._slots - len(self._under_way)
            if free == 0:
                await asyncio.wait(
                    self._under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                # A moment more, so that a claim fetches a handful and not one.
                await asyncio.sleep(0.02)
                continue
            claimed = await self._claim(cx, clock, free)
            count += claimed
            if claimed < free:
                break
        return count

    async def _claim(self, cx: Connection, clock: "_Clock", free: int) -> int:
        async with cx.transaction():
            leases = await store.claim_due_deliveries(
                cx,
                clock.now(),
                lease_owner=self._owner,
                lease_seconds=self._lease_seconds,
                batch_size=free,
                per_organization=self._per_organization,
            )
        for lease in leases:
            task = asyncio.create_task(self._deliver(lease, clock), name=f"deliver {lease.id}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(leases)

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Waits until everything that was started is recorded, longer than any attempt takes.

        What is still out after that is left to its lease, as if the process had been killed.
        """
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(self, lease: Lease, clock: "_Clock") -> None:
        try:
            with wrap_database_errors():
                begun = await self._begin(lease, clock)
                if begun is None:
                    return
                leased, message, target = begun
                outcome = await SENDERS[leased.delivery.channel].send(
                    message, target, self._tools, clock.now()
                )
                await self._record(leased, outcome, clock.now())
        except DatabaseAway as exc:
            # The lease runs out and says what is true then: unsent, or unknown.
            log.warning(
                "a message is left to its lease: %s",
                exc.detail,
                extra={"action": "deliver", "delivery_id": str(lease.id)},
            )
        except Exception:
            # One message's trouble is not its neighbours'; the lease brings it back.
            log.exception(
                "sending a message broke off",
                extra={"action": "deliver", "delivery_id": str(lease.id)},
            )

    async def _begin(self, lease: Lease, clock: "_Clock") -> tuple[Leased, Message, Any] | None:
        async with self._pool.connection() as cx, cx.transaction():
            at = clock.now()
            leased = await store.read_leased_delivery(cx, lease)
            if leased is None:
                return None
            sifted = sift([leased.delivery], at)
            if not sifted.kept:
                await self._settle(cx, leased, at, sifted.dropped[0].drop)
                return None
            target = self._target(leased)
            if isinstance(target, Drop):
                await self._settle(cx, leased, at, target)
                return None
            rendered = await self._words(cx, leased, at)
            sender = SENDERS[leased.delivery.channel]
            if (why := sender.unready(self._tools)) is not None:
                await self._settle(cx, leased, at, Drop(State.INBOX, why), rendered)
                return None
            if not await store.begin_attempt(
                cx,
                lease,
                at,
                subject=rendered.subject,
                body=rendered.body,
                lease_seconds=self._lease_seconds,
            ):
                return None
        message = Message(
            delivery_id=leased.delivery.id,
            incident_id=leased.delivery.incident_id,
            kind=leased.delivery.kind,
            subject=rendered.subject,
            body=rendered.body,
            created_at=leased.delivery.created_at,
            base_url=self._base_url,
        )
        return leased, message, target

    def _target(self, leased: Leased) -> Any | Drop:
        """Where it goes, its secret opened; a Drop where that cannot be."""
        secret: str | None = None
        try:
            if leased.sealed_secret is not None and leased.wrapped_key is not None:
                place, sealed = leased.sealed_secret
                key = self._keyring.open(leased.delivery.organization_id, leased.wrapped_key)
                secret = key.unseal(place, sealed)
            return SENDERS[leased.delivery.channel].configure(leased.address, secret)
        except SecretUnreadable as exc:
            # The operator's trouble: with the right master key it goes out.
            return Drop(State.PENDING, exc.detail, hold_seconds=60.0)
        except NotValid:
            return Drop(State.FAILED, "the contact's address cannot be used")

    async def _words(self, cx: Connection, leased: Leased, at: datetime) -> Rendered:
        """What to say now; what may have arrived already is said again in the same words."""
        delivery, row = leased.delivery, leased.row
        if delivery.may_have_arrived and row["subject"] is not None and row["body"] is not None:
            return Rendered(row["subject"], row["body"])
        url: str | None = None
        if delivery.incident_id is not None and delivery.kind in (Kind.PAGE, Kind.REOPENED):
            token = self._keyring.token("acknowledge link", delivery.id)
            await store.store_acknowledge_link(
                cx,
                leased,
                token_hash=hashlib.sha256(token.encode()).digest(),
                expires_at=at + LINK_LIFETIME,
            )
            url = f"{self._base_url}/ack/{token}"
        return SENDERS[delivery.channel].render(leased.facts(at, self._base_url, url))

    async def _settle(
        self,
        cx: Connection,
        leased: Leased,
        at: datetime,
        drop: Drop,
        rendered: Rendered | None = None,
    ) -> None:
        is_news = drop.state in (State.FAILED, State.INBOX)
        if drop.state is State.INBOX and rendered is None:
            rendered = await self._words(cx, leased, at)
        await store.settle_delivery(
            cx,
            leased.lease,
            at,
            drop,
            message=_timeline_words(leased, drop.state) if is_news else None,
            subject=rendered.subject if rendered else None,
            body=rendered.body if rendered else None,
        )
        log.info(
            "a message was not sent: %s",
            drop.reason,
            extra=_extras(leased, "settle_delivery", drop.state),
        )

    async def _record(self, leased: Leased, outcome: Outcome, at: datetime) -> None:
        due_at: datetime | None = None
        if outcome.result is Result.RETRY:
            delay = retry_delay_seconds(
                leased.delivery.kind,
                leased.attempt + 1,
                outcome.retry_after_seconds,
                _chance.random(),
            )
            due_at = at + timedelta(seconds=delay)
        is_news = outcome.result is not Result.RETRY or leased.attempt == 0
        async with self._pool.connection() as cx, cx.transaction():
            is_ours = await store.record_outcome(
                cx,
                leased.lease,
                at,
                outcome,
                due_at=due_at,
                message=_timeline_words(leased, outcome.state) if is_news else None,
            )
        _attempts.inc(1, channel=str(leased.delivery.channel), outcome=str(outcome.result))
        log.info(
            "an attempt ended: %s%s",
            outcome.reason,
            "" if is_ours else " (the lease was lost meanwhile)",
            extra=_extras(leased, "record_outcome", outcome.state),
        )


class _Clock:
    """The database's `at` of the cycle, going on."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._begun = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def now(self) -> datetime:
        return self._at + timedelta(seconds=self.seconds())


_STATE_WORDS: Final = {
    State.SENT: "sent",
    State.RETRY: "did not go through, is tried again",
    State.FAILED: "could not be sent",
    State.INBOX: "kept in the inbox",
}


def _timeline_words(leased: Leased, state: State) -> str:
    channel = _CHANNEL_WORDS.get(leased.delivery.channel, str(leased.delivery.channel))
    return f"{channel} to {leased.receiver}: {_STATE_WORDS[state]}"


def _extras(leased: Leased, action: str, state: State) -> dict[str, str]:
    return {
        "action": action,
        "delivery_id": str(leased.delivery.id),
        "organization_id": str(leased.delivery.organization_id),
        "channel": str(leased.delivery.channel),
        "state": str(state),
    }
