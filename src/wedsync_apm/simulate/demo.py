"""Furnishes the demo: organizations, people, rules, services, ladders, weddings and keys."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from wedsync_apm.administration import furnish, store
from wedsync_apm.bootstrap import named_id, new_password
from wedsync_apm.config import load_or_create_secret
from wedsync_apm.organizations.demo import DEMO_FILE, DemoLogin, DemoPerson, save_demo_people
from wedsync_apm.organizations.keys import make_key
from wedsync_apm.organizations.passwords import hash_password
from wedsync_apm.simulate.planner import Plan, next_saturdays, plan_on, plan_today
from wedsync_apm.simulate.vendors import CLAIRE, OPERATORS, STAR, VENDORS, Person, Vendor
from wedsync_apm.types import Channel, EscalationLevel, KeyScope, Role

ACTOR: Final = "demo"
WEDDINGS_AHEAD: Final = 4


class Hashes:
    """Password hashes of the demo's people, computed beside other work: each takes a while."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._found = {
            person.email: self._pool.submit(self._hash, person)
            for person in (*(p for vendor in VENDORS for p in vendor.people), *OPERATORS)
        }
        self._pool.shutdown(wait=False)

    def of(self, person: Person) -> str:
        """The hash of the person's password, as soon as it is there."""
        return self._found[person.email].result()

    def cancel(self) -> None:
        """No more are needed."""
        for future in self._found.values():
            future.cancel()

    def _hash(self, person: Person) -> str:
        return hash_password(password_of(self._data_dir, person))


def start_hashing(data_dir: Path) -> Hashes | None:
    """Begins at a first start; later the people are there already."""
    return None if (data_dir / DEMO_FILE).exists() else Hashes(data_dir)


def prepare(conninfo: str, data_dir: Path, hashes: Hashes | None = None) -> tuple[DemoLogin, ...]:
    """Brings the demo up to date and gives back its logins; what people changed stays changed."""
    logins = []
    with store.connect(conninfo, actor=ACTOR) as cx:
        for vendor in VENDORS:
            with cx.transaction():
                _put_vendor(cx, vendor, data_dir)
                logins += [
                    _put_person(cx, person, data_dir, vendor, hashes) for person in vendor.people
                ]
                _put_ladder(cx, vendor)
        with cx.transaction():
            logins += [_put_person(cx, person, data_dir, None, hashes) for person in OPERATORS]
            store.add_member(cx, user_id=CLAIRE.id, organization_id=STAR.id, role=Role.MEMBER)
        plan_weddings(cx)
    if hashes is not None:
        hashes.cancel()
    save_demo_people(data_dir, tuple(_buttons()))
    return tuple(logins)


def ingest_key(data_dir: Path, vendor: Vendor) -> str:
    """The key with which the vendor's website sends; made at the first call."""
    return load_or_create_secret(
        data_dir, f"demo_key:{vendor.key}", lambda: make_key(KeyScope.INGEST).secret
    )


def password_of(data_dir: Path, person: Person) -> str:
    """The password of a demo login; made at the first call."""
    return load_or_create_secret(data_dir, f"demo_password:{person.email}", new_password)


def plan_weddings(cx: store.AdminConnection) -> Plan:
    """Puts weddings on the coming Saturdays of everybody and, at the florist's, one on today."""
    now = furnish.read_clock(cx)
    for vendor in VENDORS:
        for n, day in enumerate(next_saturdays(now, vendor.time_zone, WEDDINGS_AHEAD)):
            _put_plan(cx, vendor, plan_on(day, vendor.venues[0]), couple=n + 1)
    today = plan_today(now, STAR.venues)
    _put_plan(cx, STAR, today, couple=0)
    return today


def phase_now(plan: Plan, at: datetime) -> str:
    """The phase of today's wedding, for people."""
    return (plan.phase_at(at) or "over").replace("_", " ")


def _put_vendor(cx: store.AdminConnection, vendor: Vendor, data_dir: Path) -> None:
    if vendor.id not in {o.id for o in store.list_organizations(cx)}:
        store.create_organization(
            cx,
            name=vendor.name,
            time_zone=vendor.time_zone,
            vendor_type=vendor.vendor_type,
            organization_id=vendor.id,
            help_line=vendor.help_line,
        )
    furnish.put_key(
        cx,
        ingest_key(data_dir, vendor),
        name="website (simulated)",
        scope=KeyScope.INGEST,
        organization_id=vendor.id,
    )
    furnish.put_rules(cx, vendor.id, vendor.rules)
    furnish.put_checks(cx, vendor.id, vendor.checks)
    furnish.put_dashboards(cx, vendor.id, vendor.vendor_type)


def _put_person(
    cx: store.AdminConnection,
    person: Person,
    data_dir: Path,
    vendor: Vendor | None,
    hashes: Hashes | None,
) -> DemoLogin:
    password = password_of(data_dir, person)
    if store.find_user(cx, person.email) is None:
        store.create_user(
            cx,
            email=person.email,
            display_name=person.name,
            password_hash=hashes.of(person) if hashes else hash_password(password),
            user_id=person.id,
        )
        if vendor is not None:
            store.add_member(
                cx,
                user_id=person.id,
                organization_id=vendor.id,
                role=person.role,
                display_name=person.name,
                time_zone=vendor.time_zone,
            )
    if person.operator is not None:
        store.create_operator(cx, user_id=person.id, email=person.email, role=person.operator)
    return DemoLogin(person.email, person.note, password)


def _put_ladder(cx: store.AdminConnection, vendor: Vendor) -> None:
    people = [_contact(vendor, person) for person in vendor.people if person.role != Role.VIEWER]
    oncall = _contact(vendor, OPERATORS[0])
    rungs = (
        (EscalationLevel.NONE, timedelta(), timedelta(), people[:1]),
        (EscalationLevel.TEAM_LEAD, timedelta(minutes=5), timedelta(minutes=1), people[-1:]),
        (EscalationLevel.MANAGER, timedelta(minutes=10), timedelta(minutes=2), [oncall]),
    )
    furnish.put_ladder(
        cx,
        vendor.id,
        name="Everybody, one after the other",
        steps=tuple(
            furnish.Step(level, delay, wedding_delay, tuple(contacts))
            for level, delay, wedding_delay, contacts in rungs
        ),
    )


def _contact(vendor: Vendor, person: Person) -> furnish.Contact:
    return furnish.Contact(
        named_id("contact", vendor.key, person.email),
        person.name,
        Channel.EMAIL,
        person.email,
        person.id,
    )


def _put_plan(cx: store.AdminConnection, vendor: Vendor, plan: Plan, *, couple: int) -> None:
    names, initials = vendor.couples[couple % len(vendor.couples)]
    furnish.put_wedding(
        cx,
        vendor.id,
        furnish.Wedding(
            id=named_id("wedding", vendor.key, plan.venue.name, plan.wedding_date.isoformat()),
            couple_names=names,
            couple_initials=initials,
            venue_name=plan.venue.name,
            wedding_date=plan.wedding_date,
            time_zone=plan.venue.time_zone,
            phases=plan.phases,
        ),
    )


def _buttons() -> Iterable[DemoPerson]:
    everybody = [person for vendor in VENDORS for person in vendor.people]
    for person in (*everybody, *OPERATORS):
        if person.button is not None:
            yield DemoPerson(person.key, person.button, person.name, person.id, person.email)
