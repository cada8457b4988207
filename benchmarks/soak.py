"""Is a person told, whatever breaks? Two hundred vendors send, twenty of them are in the middle of
a wedding, and something critical happens to each of those at a moment of its own, while any process
is killed at any moment, PostgreSQL is started anew, providers fail in their ways and the network is
cut. What the providers took and what the database says at the end is compared with the promise:

* a message is accepted by a provider within 10 s of the answer to the sample, counted while one of
  the receivers' channels works;
* a receipt of delivery is there within two minutes, counted likewise;
* what nobody acknowledged has been told to two rungs by then;
* nothing is lost; there are no more repeats than processes were killed; no sending begins after an
  acknowledgement was committed; nobody gets another tenant's message.
"""

import json
import os
import random
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psutil
import psycopg
from psycopg.rows import dict_row

from benchmarks.ours import Ours
from benchmarks.providers import FAULTS, KINDS, MAIL, PHONE, REFUSE, Outage, Providers, Taken
from benchmarks.run import facts, options_of, parsed, save, say, workplace
from benchmarks.workload import vendor_id

LIMIT: Final = 100.0
BREACH: Final = 1000.0
ACCEPTED_SECONDS: Final = 10.0
RECEIPT_SECONDS: Final = 120.0
SECOND_RUNG_SECONDS: Final = 120.0
LONGEST_FAULT_SECONDS: Final = 25.0
STEADY_EVERY_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 130.0
"""After the last breach: what is promised within two minutes must have had them."""
ACKNOWLEDGED_SHARE: Final = 0.4
CLOCK_SECONDS: Final = 0.25
"""An acknowledgement is stamped when it is written and counts from its commit."""

_WEDDING: Final = """
    insert into public.apm_weddings (organization_id, couple_initials, wedding_date, time_zone)
    values (%(vendor)s, 'A & R', (now() at time zone 'UTC')::date, 'UTC')
"""
_CEREMONY: Final = """
    insert into public.apm_wedding_windows
        (organization_id, wedding_id, phase, starts_local, ends_local)
    select w.organization_id, w.id, 'ceremony', (now() at time zone 'UTC') - interval '1 hour',
        (now() at time zone 'UTC') + interval '3 hours'
    from public.apm_weddings as w where w.organization_id = %(vendor)s
"""
_CONTACT: Final = """
    insert into public.apm_contact_methods
        (organization_id, name, channel, address, verified_at)
    values (%(vendor)s, %(name)s, %(channel)s::public.notification_channel, %(address)s, now())
    returning id
"""
_STEP: Final = """
    insert into public.apm_escalation_steps (organization_id, policy_id, position, level, delay)
    values (%(vendor)s, %(policy)s, %(position)s, %(level)s::public.escalation_level, %(delay)s)
    returning id
"""
_RECEIPTS: Final = """
    select d.organization_id, min(d.delivered_at) as delivered_at
    from public.apm_deliveries as d
    where d.kind in ('page', 'reopened') and d.organization_id = any (%(vendors)s)
    group by d.organization_id
"""
_AFTER_ACKNOWLEDGEMENT: Final = """
    select count(*)
    from public.apm_delivery_attempts as a
    join public.apm_deliveries as d
        on d.organization_id = a.organization_id and d.id = a.delivery_id
    join public.apm_incidents as i
        on i.organization_id = d.organization_id and i.id = d.incident_id
    where d.kind in ('page', 'reopened') and d.generation < i.generation
        and i.organization_id = any (%(vendors)s)
        and a.started_at > i.acknowledged_at + make_interval(secs => %(clock)s)
"""


@dataclass(slots=True)
class Condition:
    """Something critical at one vendor's wedding."""

    vendor: int
    begins: float
    """Seconds after the start."""
    acknowledge_after: float | None
    """Seconds after the sample was answered; None: nobody does."""
    answered_at: float | None = None
    acknowledged_at: float | None = None


@dataclass(slots=True)
class Verdict:
    """What became of the promise."""

    conditions: int
    answered: int
    lost: int
    accepted_seconds: list[float]
    """For each condition, the time in which no channel worked left out."""
    receipt_seconds: list[float]
    without_receipt: int
    one_rung_only: int
    """Unacknowledged conditions of which one rung at most was told in time."""
    kills: int
    repeats: int
    sent_after_acknowledgement: int
    to_others: int
    faults: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Each broken promise in words."""
        late = sum(one > ACCEPTED_SECONDS for one in self.accepted_seconds)
        slow = sum(one > RECEIPT_SECONDS for one in self.receipt_seconds)
        told = {
            "conditions whose sample was never answered": self.conditions - self.answered,
            "conditions that no provider ever heard of": self.lost,
            f"messages accepted later than {ACCEPTED_SECONDS:g} s": late,
            f"receipts later than {RECEIPT_SECONDS:g} s": slow,
            "conditions without any receipt": self.without_receipt,
            "unacknowledged conditions of which only one rung was told": self.one_rung_only,
            "repeats more than kills": max(0, self.repeats - self.kills),
            "sendings after the acknowledgement": self.sent_after_acknowledgement,
            "messages to another tenant": self.to_others,
        }
        return [f"{count} {words}" for words, count in told.items() if count]


class Soaked(Ours):
    """Ours, with those providers."""

    providers: Providers

    def environment(self) -> dict[str, str]:
        return super().environment() | self.providers.settings(self.base)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak and writes results/soak.json; 1 when a promise was broken."""
    parser = options_of("soak", __doc__)
    parser.add_argument("--vendors", type=int, default=200)
    parser.add_argument("--weddings", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=240, help="in which things happen")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="without any fault")
    options = parsed(parser, arguments)
    if options.quick:
        options.vendors, options.weddings, options.seconds = 30, 6, 45.0
    told = facts(vars(options))
    with workplace() as folder, Providers() as providers:
        verdict = soak(
            folder,
            providers,
            vendors=options.vendors,
            weddings=options.weddings,
            seconds=options.seconds,
            seed=options.seed,
            is_quiet=options.quiet,
        )
    save("soak", options.out, told | asdict(verdict) | {"failures": verdict.failures})
    say(line(verdict))
    return 1 if verdict.failures else 0


def line(verdict: Verdict) -> str:
    """The verdict for whoever waits."""
    accepted = sorted(verdict.accepted_seconds) or [float("nan")]
    receipts = sorted(verdict.receipt_seconds) or [float("nan")]
    words = (
        f"{verdict.conditions} conditions, {verdict.kills} processes killed; accepted after "
        f"{accepted[len(accepted) // 2]:.2f} s (longest {accepted[-1]:.2f}), receipt after "
        f"{receipts[len(receipts) // 2]:.2f} s (longest {receipts[-1]:.2f}); {verdict.repeats} "
        f"repeats, {verdict.lost} lost"
    )
    return "\n".join([words, *(f"BROKEN: {one}" for one in verdict.failures)])


def soak(
    folder: Path,
    providers: Providers,
    *,
    vendors: int,
    weddings: int,
    seconds: float,
    seed: int,
    is_brief: bool = False,
    is_quiet: bool = False,
) -> Verdict:
    """One soak: furnishes, breaks, waits, and compares. A brief one waits until everybody has been
    told once; what is promised within two minutes it cannot say."""
    dice = random.Random(seed)  # noqa: S311 - the same faults again
    server = Soaked(folder, vendors)
    server.providers = providers
    with server:
        for number in range(weddings):
            furnish(server, number)
        conditions = [
            Condition(
                number,
                dice.uniform(3, seconds),
                dice.uniform(1, 60) if dice.random() < ACKNOWLEDGED_SHARE else None,
            )
            for number in range(weddings)
        ]
        say(f"{vendors} vendors, {weddings} weddings; {seconds:g} s of faults")
        begun = time.monotonic()
        stop = threading.Event()
        threads = [
            threading.Thread(target=strike, args=(server, one, begun, stop)) for one in conditions
        ]
        threads.append(threading.Thread(target=keep_sending, args=(server, stop)))
        for thread in threads:
            thread.start()
        kills = 0
        faults: list[str] = []
        try:
            if not is_quiet:
                kills, faults = break_things(server, providers, dice, begun + seconds)
            end = begun + seconds + SETTLE_SECONDS
            while time.monotonic() < end and not (is_brief and _are_told(providers, conditions)):
                time.sleep(0.5)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        return judge(server, providers, conditions, kills, faults)


def furnish(server: Ours, number: int) -> None:
    """A wedding under way, a rule, and a ladder of two people with two channels each."""
    vendor = vendor_id(number)
    with psycopg.connect(server.database) as cx:
        cx.execute(_WEDDING, {"vendor": vendor})
        cx.execute(_CEREMONY, {"vendor": vendor})
        cx.execute(
            "insert into apm_alerts (organization_id, alert_name, metric_pattern, aggregation, "
            "comparison_operator, threshold_value, severity) "
            "values (%s, %s, 'soak.load', 'last', '>', %s, 'critical')",
            (vendor, f"Load of vendor-{number}-", LIMIT),
        )
        row = cx.execute(
            "insert into public.apm_escalation_policies (organization_id, name, is_default) "
            "values (%s, 'Ladder', true) returning id",
            (vendor,),
        ).fetchone()
        policy = row[0] if row else None
        for position, (name, delay, level) in enumerate(
            (("anna", "0 s", "none"), ("ben", "5 min", "manager")), start=1
        ):
            step = cx.execute(
                _STEP,
                {
                    "vendor": vendor,
                    "policy": policy,
                    "position": position,
                    "level": level,
                    "delay": delay,
                },
            ).fetchone()
            for channel, address in addresses(name, number).items():
                contact = cx.execute(
                    _CONTACT,
                    {"vendor": vendor, "name": name, "channel": channel, "address": address},
                ).fetchone()
                cx.execute(
                    "insert into public.apm_escalation_targets values (%s, %s, %s)",
                    (vendor, step[0] if step else None, contact[0] if contact else None),
                )


def addresses(name: str, number: int) -> dict[str, str]:
    """Where somebody of a vendor is reached, by channel."""
    first = {"anna": 10_000, "ben": 20_000}[name]
    return {
        "email": f"{name}-{number}@soak.example",
        "sms": f"+4477009{first + number:05d}",
    }


def strike(server: Ours, condition: Condition, begun: float, stop: threading.Event) -> None:
    """Sends the sample until it is answered, as a client does, and acknowledges if it is to be."""
    _sleep_until(begun + condition.begins, stop)
    vendor = vendor_id(condition.vendor)
    stamp = time.time()
    while not stop.is_set():
        if _send(server, [_sample(vendor, BREACH, stamp)]):
            condition.answered_at = time.time()
            break
        time.sleep(0.2)
    if condition.acknowledge_after is None or condition.answered_at is None:
        return
    _sleep_until(time.monotonic() + condition.acknowledge_after, stop)
    while not stop.is_set():
        if _acknowledge(server, vendor):
            condition.acknowledged_at = time.time()
            return
        time.sleep(0.5)


def keep_sending(server: Ours, stop: threading.Event) -> None:
    """The usual traffic of everybody who has no trouble."""
    while not stop.is_set():
        now = time.time()
        _send(server, [_sample(vendor_id(n), 1.0, now, "other") for n in range(server.vendors)])
        stop.wait(STEADY_EVERY_SECONDS)


def break_things(
    server: Ours, providers: Providers, dice: random.Random, end: float
) -> tuple[int, list[str]]:
    """One fault after the other until `end`; how many processes were killed, and what was done."""
    begun, kills = time.monotonic(), 0
    told: list[str] = []
    while True:
        pause = dice.uniform(1, 8)
        if time.monotonic() + pause >= end:
            break
        time.sleep(pause)
        kind = dice.choice(("work", "serve", "postgres", "all", "backend", "provider", "network"))
        told.append(f"{time.monotonic() - begun:.1f} s: {kind}")
        if kind in ("provider", "network"):
            broken = KINDS if kind == "network" else (dice.choice(KINDS),)
            fault = dice.choice(FAULTS) if kind == "provider" else REFUSE
            lasts = dice.uniform(3, LONGEST_FAULT_SECONDS)
            told[-1] += f" {' '.join(broken)} {fault} for {lasts:.0f} s"
            threading.Thread(target=_fail, args=(providers, broken, fault, lasts)).start()
            if kind == "network":
                time.sleep(lasts)
        else:
            kills += _kill(server, kind, dice)
        say(told[-1])
    return kills, told


def _fail(providers: Providers, kinds: Iterable[str], fault: str, seconds: float) -> None:
    for kind in kinds:
        providers.book.begin(kind, fault)
    time.sleep(seconds)
    for kind in kinds:
        providers.book.end(kind)


def _kill(server: Ours, kind: str, dice: random.Random) -> int:
    """Kills without warning; what has nobody else to start it is started here, as an init would."""
    processes = server.processes()
    if kind == "backend":
        backends = [one for one, part in processes.items() if part.startswith("postgres for")]
        victims = [dice.choice(backends)] if backends else []
    elif kind == "all":
        victims = [one for one, part in processes.items() if not part.startswith("postgres")]
    elif kind == "postgres":
        victims = [one for one, part in processes.items() if part.startswith("postgres")]
    else:
        victims = [one for one, part in processes.items() if part == kind]
    for process in victims:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(victims, 30)
    if kind == "all":
        server.reap()
        server.start()
    return len(victims)


def judge(
    server: Ours,
    providers: Providers,
    conditions: Sequence[Condition],
    kills: int,
    faults: list[str],
) -> Verdict:
    """Compares what providers took and what the database knows with what was promised."""
    vendors = [vendor_id(one.vendor) for one in conditions]
    with psycopg.connect(server.database, row_factory=dict_row) as cx:
        told = {
            row["organization_id"]: row["delivered_at"].timestamp()
            for row in cx.execute(_RECEIPTS, {"vendors": vendors})
            if row["delivered_at"]
        }
        after = cx.execute(
            _AFTER_ACKNOWLEDGEMENT, {"vendors": vendors, "clock": CLOCK_SECONDS}
        ).fetchone()
    taken = providers.book.taken
    verdict = Verdict(
        conditions=len(conditions),
        answered=sum(one.answered_at is not None for one in conditions),
        lost=0,
        accepted_seconds=[],
        receipt_seconds=[],
        without_receipt=0,
        one_rung_only=0,
        kills=kills,
        repeats=_repeats(taken),
        sent_after_acknowledgement=int(after["count"]) if after else 0,
        to_others=sum(not _is_for(one) for one in taken),
        faults=faults,
    )
    for condition in conditions:
        if condition.answered_at is None:
            continue
        mine = [one for one in taken if _number_of(one.address) == condition.vendor]
        pages = sorted(one.at for one in mine)
        answered, in_hand = condition.answered_at, condition.acknowledged_at
        if in_hand is not None and (not pages or pages[0] > in_hand):
            continue  # nobody had to be told any more
        if not pages:
            verdict.lost += 1
            continue
        first, outages = pages[0], providers.book.outages
        verdict.accepted_seconds.append(max(0.0, _working(answered, first, outages)))
        receipt = told.get(vendor_id(condition.vendor))
        if receipt is not None:
            verdict.receipt_seconds.append(max(0.0, _working(answered, receipt, outages)))
        elif condition.acknowledged_at is None:
            verdict.without_receipt += 1
        if condition.acknowledged_at is None:
            in_time = {
                one.address.partition("-")[0] if "@" in one.address else one.address[8]
                for one in mine
                if _working(answered, one.at, outages) <= SECOND_RUNG_SECONDS
            }
            rungs = {"anna" if who in ("anna", "1") else "ben" for who in in_time}
            verdict.one_rung_only += len(rungs) < 2
    return verdict


def _are_told(providers: Providers, conditions: Iterable[Condition]) -> bool:
    told = {_number_of(one.address) for one in providers.book.taken}
    return all(
        one.answered_at is not None and (one.vendor in told or one.acknowledged_at is not None)
        for one in conditions
    )


def _working(start: float, end: float, outages: Sequence[Outage]) -> float:
    """Seconds from `start` to `end` in which mail or telephone worked."""
    if end <= start:
        return end - start
    marks = sorted(
        {start, end}
        | {mark for one in outages for mark in (one.began, one.ended) if start < mark < end}
    )
    return sum(
        right - left
        for left, right in pairwise(marks)
        if not all(
            any(
                one.provider == kind and one.began <= left and one.ended >= right for one in outages
            )
            for kind in (MAIL, PHONE)
        )
    )


def _repeats(taken: Iterable[Taken]) -> int:
    """Messages that were taken more than once; of texts, which have no key, by their words."""
    counts = Counter((one.provider, one.address, one.key or one.text) for one in taken)
    return sum(count - 1 for count in counts.values())


def _number_of(address: str) -> int:
    if "@" in address:
        return int(address.partition("@")[0].partition("-")[2])
    return int(address[-5:]) % 10_000


def _is_for(one: Taken) -> bool:
    """Whether a message names the vendor whose address it went to, where it names any."""
    if "vendor-" not in one.text:
        return True
    return f"vendor-{_number_of(one.address)}-" in one.text


def _sample(vendor: UUID, value: float, at: float, metric: str = "load") -> dict[str, Any]:
    return {
        "service_name": "soak",
        "metric_name": metric,
        "value": value,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        + f".{int(at % 1 * 1e3):03}Z",
        "tags": {"organization_id": str(vendor)},
    }


def _send(server: Ours, samples: list[dict[str, Any]]) -> bool:
    return _post(server, "/api/v1/metrics", {"samples": samples}, server.headers) is not None


def _acknowledge(server: Ours, vendor: UUID) -> bool:
    from wedsync_apm.administration import store  # noqa: PLC0415 - after the server has started
    from wedsync_apm.types import KeyScope  # noqa: PLC0415

    try:
        with store.connect(server.database) as cx:
            made = store.create_key(
                cx, name=f"soak {time.time()}", scope=KeyScope.ADMIN, organization_id=vendor
            )
            found = cx.execute(
                "select id from public.apm_incidents "
                "where organization_id = %s and status = 'open'",
                (vendor,),
            ).fetchone()
    except Exception:  # the database is away; there is another try
        return False
    if found is None:
        return False
    said = _post(
        server,
        f"/api/v1/incidents/{found['id']}/acknowledge",
        {},
        {"Authorization": f"Bearer {made.secret}"},
    )
    return said is not None


def _post(
    server: Ours, path: str, said: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any] | None:
    """The answer to what was taken; None for whatever else came, or nothing."""
    request = urllib.request.Request(  # noqa: S310 - our server
        f"{server.base}{path}",
        json.dumps(said).encode(),
        headers | {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our server
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found
    except (OSError, ValueError):
        return None


def _sleep_until(moment: float, stop: threading.Event | None = None) -> None:
    left = moment - time.monotonic()
    if left > 0:
        (stop or threading.Event()).wait(left)


if __name__ == "__main__":
    raise SystemExit(main())
