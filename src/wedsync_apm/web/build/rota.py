"""A simple rota: a form into rotations and back, and what it would come to. Pure.

Weekends that somebody else covers are rotations before that of the week: of several the first one
that has somebody answers. From Friday until Monday takes three, since the hours of one are the same
on each of its days.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from wedsync_apm.errors import NotValid
from wedsync_apm.escalation.schedules.model import Layer, find_shifts, subtract, zone_of
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.contacts import CLOCK
from wedsync_apm.web.build.edits import Lines, lines_of
from wedsync_apm.web.build.people import People
from wedsync_apm.web.views.on_call import RotaForm, RotaPreview
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.model import is_time_zone

SHOWN: Final = timedelta(days=14)
MOST_LINES: Final = 12
MOST_PEOPLE: Final = 20
SPARE: Final = 2
FEWEST_LINES: Final = 3
_WEEK: Final = 7
_ALL_DAYS: Final = [1, 2, 3, 4, 5, 6, 7]
_FIRST: Final = date(2000, 1, 3)
_LAST: Final = date(2099, 12, 31)
EVERY: Final = {"daily": 1, "weekly": _WEEK}
WEEKENDS: Final = ("same", "days", "long")
_LABELS: Final = {
    "name": ("rota.name", ""),
    "people": ("rota.people", ""),
    "every": ("rota.every", "rota.every."),
    "handover": ("rota.at", ""),
    "starts_on": ("rota.starts", ""),
    "time_zone": ("rota.zone", ""),
    "weekend": ("rota.weekend", "rota.weekend."),
    "weekend_from": ("rota.weekend_from", ""),
    "weekend_until": ("rota.weekend_until", ""),
    "weekend_people": ("rota.weekend_people", ""),
}


def new_form(now: datetime, zone: str, subject: UUID) -> RotaForm:
    """Before anybody has typed: the reader alone, from this week's Monday on."""
    local = now.astimezone(ZoneInfo(zone))
    monday = local.date() - timedelta(days=local.weekday())
    if local.date() == monday and local.time() < time(9):
        monday -= timedelta(days=_WEEK)
    return RotaForm(people=(str(subject),), starts_on=monday.isoformat(), time_zone=zone)


def with_spare(chosen: Sequence[str]) -> tuple[str, ...]:
    """The lines of people, with empty ones at the end."""
    spare = max(SPARE, FEWEST_LINES - len(chosen))
    return (*chosen, *("" for _ in range(min(spare, MOST_PEOPLE - len(chosen)))))


def read_rota(sent: Any, people: People) -> RotaForm:
    """The rota as typed, with the words beside each fault."""
    typed = {
        name: str(sent.get(name) or "").strip()[:limit].replace("\x00", "")
        for name, limit in (
            ("name", 200), ("handover", 5), ("starts_on", 10), ("time_zone", 100),
            ("weekend_from", 5), ("weekend_until", 5),
        )
    }  # fmt: skip
    every, weekend = str(sent.get("every")), str(sent.get("weekend"))
    form = RotaForm(
        name=typed["name"],
        people=_chosen(sent, "people"),
        every=every if every in EVERY else "weekly",
        handover=typed["handover"],
        starts_on=typed["starts_on"],
        time_zone=typed["time_zone"],
        weekend=weekend if weekend in WEEKENDS else "same",
        weekend_from=typed["weekend_from"],
        weekend_until=typed["weekend_until"],
        weekend_people=_chosen(sent, "weekend_people"),
    )
    return replace(form, errors=_faults(form, people))


def _chosen(sent: Any, name: str) -> tuple[str, ...]:
    return tuple(str(one)[:36] for one in sent.getall(name, []) if str(one))[:MOST_PEOPLE]


def _faults(form: RotaForm, people: People) -> dict[str, str]:
    errors: dict[str, str] = {}
    known = {str(one) for one in people.names}
    asked: list[tuple[str, tuple[str, ...]]] = [("people", form.people)]
    clocks = [("handover", form.handover)]
    if form.weekend != "same":
        asked.append(("weekend_people", form.weekend_people))
    if form.weekend == "long":
        clocks += [("weekend_from", form.weekend_from), ("weekend_until", form.weekend_until)]
    for name, chosen in asked:
        if not chosen:
            errors[name] = words("rota.people_none")
        elif not known.issuperset(chosen):
            errors[name] = words("rota.person_gone")
    for name, value in clocks:
        if not CLOCK.fullmatch(value):
            errors[name] = words("rota.clock")
    if not form.name:
        errors["name"] = words("rota.name_empty")
    if _day(form.starts_on) is None:
        errors["starts_on"] = words("rota.day")
    if not is_time_zone(form.time_zone):
        errors["time_zone"] = words("rota.zone_wrong")
    return errors


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if _FIRST <= found <= _LAST else None


def values_of(form: RotaForm) -> dict[str, Any]:
    """A form without faults as the store takes it."""
    starts_on = date.fromisoformat(form.starts_on)
    return {
        "name": form.name,
        "time_zone": form.time_zone,
        "layers": [
            *_weekend_layers(form, starts_on),
            _layer(form.people, starts_on, form.handover, shift_days=EVERY[form.every]),
        ],
    }


def _weekend_layers(form: RotaForm, starts_on: date) -> list[dict[str, Any]]:
    if form.weekend == "same":
        return []
    # Whoever has a weekend has all of it: turns change after it, on a Monday.
    monday = starts_on - timedelta(days=starts_on.weekday())
    if form.weekend == "days":
        return [_layer(form.weekend_people, monday, "00:00", weekdays=[6, 7])]
    people, until = form.weekend_people, form.weekend_until
    layers = [
        _layer(people, monday, until, weekdays=[5], hours=(form.weekend_from, "00:00")),
        _layer(people, monday, until, weekdays=[6, 7]),
    ]
    if until != "00:00":
        layers.append(_layer(people, monday, until, weekdays=[1], hours=("00:00", until)))
    return layers


def _layer(
    people: Sequence[str],
    starts_on: date,
    handover: str,
    *,
    shift_days: int = _WEEK,
    weekdays: Sequence[int] = _ALL_DAYS,
    hours: tuple[str, str] = ("00:00", "00:00"),
) -> dict[str, Any]:
    return {
        "participants": list(people),
        "starts_on": starts_on.isoformat(),
        "handover_time": handover,
        "shift_days": shift_days,
        "weekdays": list(weekdays),
        "from_time": hours[0],
        "until_time": hours[1],
    }


def rota_lines(form: RotaForm, people: People) -> Lines:
    """What a form says, field by field, for two that are laid side by side."""
    named = replace(
        form,
        people=tuple(people.name(UUID(one)) for one in form.people),
        weekend_people=tuple(people.name(UUID(one)) for one in form.weekend_people),
    )
    if form.weekend != "long":
        named = replace(named, weekend_from="", weekend_until="")
    if form.weekend == "same":
        named = replace(named, weekend_people=())
    return lines_of(named, _LABELS)


def form_of(row: Row) -> RotaForm | None:
    """The form as a rota stands; None for one that the form could not have made."""
    layers = row["layers"]
    if not layers:
        return None
    *weekend, last = layers
    every = next((name for name, days in EVERY.items() if days == last["shift_days"]), None)
    if every is None:
        return None
    form = RotaForm(
        name=row["name"],
        people=tuple(last["participants"]),
        every=every,
        handover=last["handover_time"],
        starts_on=last["starts_on"],
        time_zone=row["time_zone"],
    )
    if weekend:
        form = replace(
            form,
            weekend="days" if len(weekend) == 1 else "long",
            weekend_people=tuple(weekend[0]["participants"]),
        )
        if form.weekend == "long":
            form = replace(
                form,
                weekend_from=weekend[0]["from_time"],
                weekend_until=weekend[0]["handover_time"],
            )
    return form if _same(values_of(form)["layers"], layers) else None


def _same(made: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]) -> bool:
    def plain(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "weekdays": sorted(one["weekdays"])} for one in layers]

    return plain(made) == plain(kept)


def mark_of(values: Mapping[str, Any]) -> str:
    """Tells one rota from another: what is saved is what was seen."""
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()[:32]


def build_preview(
    values: Mapping[str, Any], people: People, subject: UUID, now: datetime
) -> RotaPreview:
    """The next two weeks of a rota that is not kept yet, its gaps among them."""
    layers = [
        Layer(
            participants=[UUID(one) for one in layer["participants"]],
            starts_on=date.fromisoformat(layer["starts_on"]),
            handover_time=time.fromisoformat(layer["handover_time"]),
            shift_days=layer["shift_days"],
            weekdays=set(layer["weekdays"]),
            from_time=time.fromisoformat(layer["from_time"]),
            until_time=time.fromisoformat(layer["until_time"]),
        )
        for layer in values["layers"]
    ]
    zone, ends = zone_of(values["time_zone"]), now + SHOWN
    shifts = find_shifts(layers, zone, now, ends)
    spans: list[tuple[datetime, datetime, UUID | None]] = []
    for shift in shifts:
        if spans and spans[-1][1:] == (shift.starts_at, shift.user_id):
            spans[-1] = (spans[-1][0], shift.ends_at, shift.user_id)
        else:
            spans.append((shift.starts_at, shift.ends_at, shift.user_id))
    taken = [(starts, finishes) for starts, finishes, _ in spans]
    spans += [(*gap, None) for gap in subtract((now, ends), taken)]
    spans.sort(key=lambda one: one[0])

    def clock(at: datetime) -> str:
        local = at.astimezone(zone)
        return f"{local:%a} {local.day} {local:%b %H:%M}"

    def name(user_id: UUID) -> str:
        return words("oncall.you") if user_id == subject else people.name(user_id)

    lines = [
        (words("oncall.gap", start=clock(starts), end=clock(finishes)), "", True)
        if user_id is None
        else (
            name(user_id),
            words("oncall.span", start=clock(starts), end=clock(finishes)),
            False,
        )
        for starts, finishes, user_id in spans
    ]
    rest = len(lines) - MOST_LINES
    return RotaPreview(
        tuple(lines[:MOST_LINES]),
        words("rota.preview_more", n=rest) if rest > 0 else "",
        mark_of(values),
    )


def refused(form: RotaForm, exc: NotValid) -> RotaForm:
    """The form with what the database says beside the field."""
    errors = dict(form.errors)
    for one in exc.errors:
        name = {"participants": "people"}.get(one.field, one.field)
        known = name in RotaForm.__dataclass_fields__
        errors[name if known else "name"] = (
            words("rota.person_gone")
            if name == "people"
            else words("rota.wrong", reason=one.reason)
        )
    return replace(form, errors=errors or {"name": exc.detail})
