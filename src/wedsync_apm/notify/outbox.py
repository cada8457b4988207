"""Sends what lies in the outbox: at least once, never unnoticed, never past the stages.

One message goes through these steps:

1. Claimed: a lease, together with others, in one statement.
2. Asked, in a transaction of its own: is it still needed, and does its receiver take one more?
   Then the words are written and stored, and `sending` is committed with an open attempt.
3. Sent, outside any transaction.
4. Recorded, only if the lease is still ours.

A process that dies after 2 leaves `sending` behind, which becomes `unknown` when the lease runs
out, and the next sender sends it again under the same id.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.clock import RunningClock
from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.drills import store as drills
from wedsync_apm.errors import DatabaseAway, NotValid
from wedsync_apm.notify import board_mail, status_mail, store
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.channels.push.receipt import receipt_token
from wedsync_apm.notify.channels.store import (
    claim_provider_message,
    end_contact,
    list_earlier_ids,
    list_taken_ids,
)
from wedsync_apm.notify.limits import store as limits
from wedsync_apm.notify.message import Message, Rendered, Tools
from wedsync_apm.notify.model import (
    Drop,
    Kind,
    Outcome,
    Result,
    State,
    retry_delay_seconds,
)
from wedsync_apm.notify.stages import Dropped, is_throttled, sift, unsaid
from wedsync_apm.notify.store import Lease, Leased
from wedsync_apm.notify.telling import extras, timeline_words
from wedsync_apm.organizations.secrets import Keyring, SecretUnreadable
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

LEASE_SECONDS: Final = 60.0  # three times the longest attempt
SLOTS: Final = 32  # messages under way in one process
RESERVED: Final = 8  # of them for urgent messages alone: the others' receivers may all be slow
PER_ORGANIZATION: Final = 10  # of one organization, over all processes; of urgent ones twice that
PER_CHANNEL: Final = 16  # over all processes, but for urgent ones
LOOK_AGAIN_SECONDS: Final = 0.25
RUN_SECONDS: Final = 5.0
TEND_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 25.0
LINK_LIFETIME: Final = timedelta(hours=24)

_attempts = Counter(
    "wedsync_apm_delivery_attempts_total",
    "Attempts to send a message, by channel and how they ended.",
    ("channel", "outcome"),
)
_throttled = Counter(
    "wedsync_apm_delivery_throttled_total",
    "Messages put back because their contact had had enough of them.",
    ("channel",),
)
_chance = secrets.SystemRandom()


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
        reserved: int = RESERVED,
        per_organization: int = PER_ORGANIZATION,
        per_channel: int = PER_CHANNEL,
    ) -> None:
        self._pool = pool
        self._tools = tools
        self._keyring = keyring
        self._base_url = base_url
        self._owner = lease_owner
        self._lease_seconds = lease_seconds
        self._slots = slots
        self._reserved = min(reserved, slots - 1)
        self._per_organization = per_organization
        self._per_channel = per_channel
        self._under_way: set[asyncio.Task[None]] = set()

    async def run_once(self, cx: Connection, at: datetime) -> int:
        """Frees lost leases, ticks groups, goes on to other channels, claims what is due and starts
        sending it; returns how many it claimed.

        While more is due than may be under way, it goes on as messages come to their end, for a few
        seconds. It does not wait for the last ones: a slow receiver must not hold up everybody's
        next call. `cx` is outside a transaction.
        """
        count, clock, tend_at = 0, RunningClock(at), 0.0
        while (left := RUN_SECONDS - clock.seconds()) > 0:
            # Again and again: what waits for a slow receiver must not hold up what others wait for.
            if clock.seconds() >= tend_at:
                tend_at = clock.seconds() + TEND_SECONDS
                await self._tend(cx, clock.now())
            claimed, is_more = await self._claim(cx, clock)
            count += claimed
            if not is_more:
                break
            if self._under_way:  # Not for long: what is urgent does not wait for others' slots.
                await asyncio.wait(
                    self._under_way,
                    timeout=min(left, LOOK_AGAIN_SECONDS),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                # A moment more, so that a claim fetches a handful and not one.
                await asyncio.sleep(0.02)
            elif not claimed:
                break
        return count

    async def _tend(self, cx: Connection, at: datetime) -> None:
        async with cx.transaction():
            await store.release_lost_leases(cx, at)
        async with cx.transaction():
            await store.tick_groups(cx, at)
        sendable = [str(one) for one, sender in SENDERS.items() if not sender.unready(self._tools)]
        async with cx.transaction():
            await store.fail_over_deliveries(cx, at, sendable)

    async def _claim(self, cx: Connection, clock: RunningClock) -> tuple[int, bool]:
        free = self._slots - len(self._under_way)
        if free <= 0:
            return 0, True
        async with cx.transaction():
            found = await store.claim_due_deliveries(
                cx,
                clock.now(),
                lease_owner=self._owner,
                lease_seconds=self._lease_seconds,
                batch_size=free,
                ordinary_size=max(free - self._reserved, 0),
                per_organization=self._per_organization,
                per_channel=self._per_channel,
            )
        for lease in found.leases:
            task = asyncio.create_task(self._deliver(lease, clock), name=f"deliver {lease.id}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(found.leases), found.is_more

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

    async def _deliver(self, lease: Lease, clock: RunningClock) -> None:
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

    async def _begin(self, lease: Lease, clock: RunningClock) -> tuple[Leased, Message, Any] | None:
        async with self._pool.connection() as cx, cx.transaction():
            at = clock.now()
            leased = await store.read_leased_delivery(cx, lease, at)
            if leased is None:
                return None
            try:
                target = self._target(leased, at)
                if await self._throttle(cx, leased, at):
                    return None
                rendered = await self._words(cx, leased, at)
                _stop_repeat(leased, rendered)
            except _StoppedError as stopped:
                await self._settle(cx, leased, at, stopped.dropped)
                return None
            if not await store.begin_attempt(
                cx,
                lease,
                at,
                subject=rendered.subject,
                body=self._kept(leased, rendered),
                lease_seconds=self._lease_seconds,
            ):
                return None
            sender = SENDERS[leased.delivery.channel]
            earlier_ids = await list_earlier_ids(cx, leased) if sender.is_edited else ()
            taken_ids = await list_taken_ids(cx, leased) if sender.is_looked_up else frozenset()
            attachment = await board_mail.read_attachment(cx, leased)
        message = Message(
            delivery_id=leased.delivery.id,
            incident_id=leased.delivery.incident_id,
            kind=leased.delivery.kind,
            subject=rendered.subject,
            body=rendered.body,
            created_at=leased.delivery.created_at,
            base_url=self._base_url,
            may_have_arrived=leased.delivery.may_have_arrived,
            tries=leased.attempt,
            generation=leased.delivery.generation,
            earlier_ids=earlier_ids,
            taken_ids=taken_ids,
            unknown_since=leased.row["unknown_since"],
            unknown_until=leased.row["unknown_until"],
            leave_url=status_mail.leave_url(leased, self._keyring, self._base_url)
            or board_mail.leave_url(leased, self._keyring, self._base_url),
            attachment=attachment,
            receipt_token=receipt_token(self._keyring, leased.delivery.id),
        )
        return leased, message, target

    async def _throttle(self, cx: Connection, leased: Leased, at: datetime) -> bool:
        """Whether its contact has had enough for now; it waits then, and is told with others."""
        if not is_throttled(leased.delivery, leased.attempt):
            return False
        free_at = await limits.take_token(cx, leased, at)
        if free_at is None:
            return False
        reason = f"{leased.receiver} has had many messages: it goes out with others"
        await limits.throttle_delivery(cx, leased.lease, at, free_at, reason)
        _throttled.inc(1, channel=str(leased.delivery.channel))
        log.info(
            "a message waits: %s", reason, extra=extras(leased, "throttle_delivery", State.PENDING)
        )
        return True

    def _target(self, leased: Leased, at: datetime) -> Any:
        """Where it goes, its secret opened. Raises _StoppedError where it does not."""
        sifted = sift([leased.delivery], at)
        if sifted.dropped:
            raise _StoppedError(sifted.dropped[0])
        sender = SENDERS[leased.delivery.channel]
        drop, secret = None, None
        try:
            if leased.sealed_secret is not None and leased.wrapped_key is not None:
                place, sealed = leased.sealed_secret
                key = self._keyring.open(leased.delivery.organization_id, leased.wrapped_key)
                secret = key.unseal(place, sealed)
            target = sender.configure(leased.address, secret)
        except SecretUnreadable as exc:
            # The operator's trouble: with the right master key it goes out.
            drop = Drop(State.PENDING, exc.detail, hold_seconds=60.0)
        except NotValid:
            drop = Drop(State.FAILED, "the contact's address cannot be used")
        if drop is not None:
            raise _StoppedError(Dropped(leased.delivery, "addressed", drop))
        if (why := sender.unready(self._tools)) is not None:
            raise _StoppedError(Dropped(leased.delivery, "sendable", Drop(State.INBOX, why)))
        return target

    async def _words(self, cx: Connection, leased: Leased, at: datetime) -> Rendered:
        """What to say now; what may have arrived already is said again in the same words."""
        delivery, row = leased.delivery, leased.row
        if row["status_subscriber_id"] is not None:
            return await status_mail.write(cx, leased, at, self._keyring, self._base_url)
        if delivery.kind is Kind.VERIFY:
            # Not kept, and made again instead: the same one each time.
            code = self._keyring.code("contact code", delivery.id)
            return SENDERS[delivery.channel].render(leased.facts(at, self._base_url, None, code))
        if (leave := board_mail.leave_url(leased, self._keyring, self._base_url)) is not None:
            # What it says stands in the payload; what is kept of it lacks the link.
            return SENDERS[delivery.channel].render(leased.facts(at, self._base_url, leave))
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
        if delivery.kind is Kind.DRILL:
            token = self._keyring.token("drill link", delivery.id)
            await drills.store_link(cx, delivery.organization_id, delivery.id, token)
            url = f"{self._base_url}/drill/{token}"
        more: Sequence[Mapping[str, Any]] = ()
        if leased.row["throttled_at"] is not None and delivery.contact_method_id is not None:
            more = await limits.bundle_deliveries(cx, leased)
        return SENDERS[delivery.channel].render(leased.facts(at, self._base_url, url, more=more))

    def _kept(self, leased: Leased, rendered: Rendered) -> str:
        """The words as they are stored: a code is for its receiver alone."""
        if leased.row["status_subscriber_id"] is not None:
            return status_mail.mask_links(rendered.body)
        if leased.delivery.kind is not Kind.VERIFY:
            return board_mail.mask_links(rendered.body)
        code = self._keyring.code("contact code", leased.delivery.id)
        return rendered.body.replace(code, "(a code)")

    async def _settle(self, cx: Connection, leased: Leased, at: datetime, dropped: Dropped) -> None:
        drop = dropped.drop
        is_first_hold = drop.held_until is not None and leased.delivery.held_until is None
        is_news = drop.state in (State.FAILED, State.INBOX) or is_first_hold
        rendered = await self._words(cx, leased, at) if drop.state is State.INBOX else None
        await store.settle_delivery(
            cx,
            leased.lease,
            at,
            drop,
            stage=dropped.stage,
            message=timeline_words(leased, drop.state) if is_news else None,
            subject=rendered.subject if rendered else None,
            body=self._kept(leased, rendered) if rendered else None,
        )
        log.info(
            "a message was not sent: %s",
            drop.reason,
            extra=extras(leased, "settle_delivery", drop.state),
        )

    async def _record(self, leased: Leased, outcome: Outcome, at: datetime) -> None:
        async with self._pool.connection() as cx, cx.transaction():
            if SENDERS[leased.delivery.channel].is_looked_up:
                outcome = await claim_provider_message(cx, leased, at, outcome)
            is_news = outcome.result is not Result.RETRY or leased.attempt == 0
            is_ours = await store.record_outcome(
                cx,
                leased.lease,
                at,
                outcome,
                due_at=_next_try(leased, outcome, at),
                message=timeline_words(leased, outcome.state) if is_news else None,
            )
            if outcome.retry_after_seconds is not None:
                await limits.hold_provider(
                    cx, leased.lease, at, outcome.retry_after_seconds, outcome.reason
                )
            if is_ours and outcome.ends_contact:
                await end_contact(cx, leased, at, outcome.reason)
        _attempts.inc(1, channel=str(leased.delivery.channel), outcome=str(outcome.result))
        log.info(
            "an attempt ended: %s%s",
            outcome.reason,
            "" if is_ours else " (the lease was lost meanwhile)",
            extra=extras(leased, "record_outcome", outcome.state),
        )


def _next_try(leased: Leased, outcome: Outcome, at: datetime) -> datetime | None:
    if outcome.result is not Result.RETRY:
        return None
    seconds = retry_delay_seconds(
        leased.delivery.kind,
        leased.attempt + 1,
        outcome.retry_after_seconds,
        _chance.random(),
        is_urgent=leased.delivery.is_urgent,
    )
    return at + timedelta(seconds=seconds)


class _StoppedError(Exception):
    """A stage has dropped the message, or held it back."""

    def __init__(self, dropped: Dropped) -> None:
        super().__init__(dropped.drop.reason)
        self.dropped = dropped


def _stop_repeat(leased: Leased, rendered: Rendered) -> None:
    drop = unsaid(leased.delivery, leased.row["said_before"], rendered.body)
    if drop is not None:
        raise _StoppedError(Dropped(leased.delivery, "unsaid", drop))
