"""Does an emergency wait behind a backlog? 100,000 messages of low priority are due, over many
organizations, while the sender works on them; then something is wrong at a wedding. How long until
a provider has that message, each time from the commit that put it in line?
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import psycopg

from benchmarks.providers import Providers
from benchmarks.run import facts, options_of, parsed, save, say, workplace
from benchmarks.soak import Soaked
from benchmarks.workload import vendor_id

PATIENCE_SECONDS: Final = 60.0
LIMIT_SECONDS: Final = 5.0
APART_SECONDS: Final = 1.7
"""No multiple of the sender's rhythm, so that the emergencies come at all of its moments."""

_CONTACT: Final = """
    insert into public.apm_contact_methods (organization_id, name, channel, address, verified_at)
    select id, 'Priya', 'email', 'priya-' || id || '@vendor.example', now() from organizations
    where id = any (%s)
"""
_BACKLOG: Final = """
    insert into public.apm_deliveries
        (organization_id, contact_method_id, channel, kind, reason, idempotency_key, priority,
         recipient, due_at, created_at)
    select c.organization_id, c.id, 'email', 'test', 'test', 'backlog:' || c.id || ':' || n, 50,
        jsonb_build_object('name', c.name, 'address', c.address),
        now() - n * interval '1 millisecond', now()
    from public.apm_contact_methods as c cross join generate_series(1, %s) as n
"""
_EMERGENCY: Final = """
    insert into public.apm_deliveries
        (organization_id, contact_method_id, channel, kind, reason, idempotency_key, priority,
         recipient, due_at, created_at)
    select c.organization_id, c.id, 'email', 'test', 'test', %s, 145,
        jsonb_build_object('name', c.name, 'address', c.address), now(), now()
    from public.apm_contact_methods as c where c.organization_id = %s limit 1
    returning id
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds until each emergency was accepted, and what the backlog was before and after."""

    seconds: list[float]
    due_before: int
    due_after: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it and writes results/backlog.json; 1 when an emergency waited for too long."""
    parser = options_of("backlog", __doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--vendors", type=int, default=1_000)
    parser.add_argument("--emergencies", type=int, default=20)
    options = parsed(parser, arguments)
    if options.quick:
        options.messages, options.vendors, options.emergencies = 5_000, 50, 4
    told = facts(vars(options))
    with workplace() as folder, Providers() as providers:
        found = measure(folder, providers, options.messages, options.vendors, options.emergencies)
    save("backlog", options.out, told | asdict(found))
    ordered = sorted(found.seconds)
    say(
        f"{found.due_before:,} due before, {found.due_after:,} after: an emergency was out after "
        f"{ordered[len(ordered) // 2]:.2f} s (longest {ordered[-1]:.2f})"
    )
    return 1 if ordered[-1] > LIMIT_SECONDS else 0


def measure(
    folder: Path, providers: Providers, messages: int, vendors: int, emergencies: int
) -> Figures:
    """The backlog is there and being worked on when each emergency comes."""
    server = Soaked(folder, vendors)
    server.providers = providers
    with server, psycopg.connect(server.database, autocommit=True) as cx:
        cx.execute(_CONTACT, ([vendor_id(n) for n in range(vendors)],))
        cx.execute(_BACKLOG, (messages // vendors,))
        cx.execute("analyze public.apm_deliveries")
        before = _due(cx)
        seconds = []
        for number in range(emergencies):
            time.sleep(APART_SECONDS)
            seconds.append(_one(cx, vendor_id(number)))
        return Figures(seconds, before, _due(cx))


def _one(cx: psycopg.Connection, vendor: UUID) -> float:
    row = cx.execute(_EMERGENCY, (f"emergency:{uuid4()}", vendor)).fetchone()
    assert row is not None  # noqa: S101 - the vendor has a contact
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_SECONDS:
        sent = cx.execute(
            "select 1 from public.apm_deliveries where id = %s and state in ('sent', 'delivered')",
            row,
        ).fetchone()
        if sent:
            return time.monotonic() - begun
        time.sleep(0.01)
    return PATIENCE_SECONDS


def _due(cx: psycopg.Connection) -> int:
    row = cx.execute(
        "select count(*) from public.apm_deliveries where state in ('pending', 'retry', 'unknown')"
    ).fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    raise SystemExit(main())
