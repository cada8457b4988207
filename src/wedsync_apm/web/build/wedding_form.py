"""The form of a wedding: what stands in it, and what somebody typed as the calendar's draft."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time
from functools import cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import available_timezones

from wedsync_apm.errors import FieldError
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import PHASES
from wedsync_apm.web.build.calendar import read_day
from wedsync_apm.web.build.edits import Lines, text_of
from wedsync_apm.web.build.weddings import phase_name
from wedsync_apm.web.views.wedding_page import ContactField, PhaseField, WeddingForm
from wedsync_apm.web.words import say as words
from wedsync_apm.weddings.model import (
    Audience,
    Phase,
    WeddingDraft,
    WeddingStatus,
    Window,
    find_faults,
    read_times,
)

CONTACTS: Final = 6
"""Rows in the form, at least; one with more contacts has as many and one to spare."""
MOST_CONTACTS: Final = 50
_LONGEST: Final = {"couple": 400, "venue": 300, "time_zone": 100}
_LONGEST_OF_CONTACT: Final = {"name": 200, "role": 200, "phone": 50}


@cache
def common_zones() -> tuple[str, ...]:
    """The names that people use; offered while somebody types."""
    return tuple(sorted(z for z in available_timezones() if "/" in z and not z.startswith("Etc/")))


def empty_form(here: str, on: date | None = None) -> WeddingForm:
    """A wedding that nobody has entered yet."""
    return WeddingForm(
        id=None,
        client_id="",
        on=on.isoformat() if on else "",
        couple="",
        venue="",
        time_zone="",
        here=here,
        status=WeddingStatus.BOOKED.value,
        visible_to=Audience.MEMBER.value,
        ceremony="",
        reception="",
        ends="",
        phases=(),
        contacts=_padded(()),
        zones=common_zones(),
    )


def form_of(row: Row, draft: WeddingDraft, here: str) -> WeddingForm:
    """A wedding as it stands."""
    starts = {w.phase.value: w for w in draft.windows}
    return replace(
        empty_form(here, draft.wedding_date),
        id=row["id"],
        couple=draft.couple_names or "",
        venue=draft.venue_name or "",
        time_zone=draft.time_zone or "",
        status=draft.status.value,
        visible_to=draft.visible_to.value,
        phases=tuple(
            PhaseField(
                key,
                phase_name(key),
                f"{starts[key].starts_at:%Y-%m-%dT%H:%M}" if key in starts else "",
                f"{starts[key].ends_at:%Y-%m-%dT%H:%M}" if key in starts else "",
            )
            for key in PHASES
        ),
        contacts=_padded(
            tuple(
                ContactField(
                    str(c.get("name") or ""), str(c.get("role") or ""), str(c.get("phone") or "")
                )
                for c in draft.contacts
            )
        ),
    )


def lines_of_wedding(form: WeddingForm) -> Lines:
    """What the form of a wedding that is there says, field by field."""
    people = (one for one in form.contacts if one.name or one.role or one.phone)
    return (
        (str(words("wedding_form.couple")), form.couple),
        (str(words("wedding_form.venue")), form.venue),
        (str(words("wedding_form.zone")), form.time_zone),
        *(
            (
                str(words("wedding_form.phase_from", phase=one.name)),
                f"{one.starts} – {one.ends}".replace("T", " ").strip("– "),
            )
            for one in form.phases
        ),
        (
            str(words("wedding_form.people")),
            ", ".join(" ".join(filter(None, (p.name, p.role, p.phone))) for p in people),
        ),
        (
            str(words("wedding_form.visible")),
            text_of(form.visible_to, "wedding_form.visible."),
        ),
        (str(words("wedding_form.status")), text_of(form.status, "wedding_form.")),
    )


def form_of_client(row: Row, here: str) -> WeddingForm:
    """One of the host's clients, to be entered here."""
    return replace(
        empty_form(here, row["wedding_date"]),
        client_id=str(row["client_id"]),
        couple=row["couple_names"] or "",
        venue=row["venue_name"] or "",
    )


def _padded(contacts: tuple[ContactField, ...]) -> tuple[ContactField, ...]:
    spare = max(1, CONTACTS - len(contacts)) if len(contacts) < MOST_CONTACTS else 0
    return contacts + (ContactField("", "", ""),) * min(spare, 3)


def read_form(
    form: WeddingForm, present: WeddingDraft | None, sent: Mapping[str, Any]
) -> tuple[WeddingDraft | None, WeddingForm]:
    """The draft, or None with the words beside each fault; the form keeps all that was typed."""
    errors: dict[str, str] = {}

    def text(name: str) -> str:
        found = str(sent.get(name) or "").strip()
        most = _LONGEST.get(name)
        if most and len(found) > most:
            errors[name] = words("wedding_form.long")
        return found[:1000]

    typed = replace(
        form,
        on=text("on") if present is None else form.on,
        couple=text("couple"),
        venue=text("venue"),
        time_zone=text("time_zone"),
        status=text("status") or form.status,
        visible_to=text("visible_to") or form.visible_to,
        ceremony=text("ceremony"),
        reception=text("reception"),
        ends=text("ends"),
        phases=tuple(
            replace(p, starts=text(f"starts_{p.key}"), ends=text(f"ends_{p.key}"))
            for p in form.phases
        ),
        contacts=_read_contacts(sent, errors),
    )
    on = present.wedding_date if present else read_day(typed.on)
    if on is None:
        errors["on"] = words("wedding_form.bad_date")
    has_people = any((c.name, c.role, c.phone) != ("", "", "") for c in typed.contacts)
    if has_people and not typed.couple:
        errors["couple"] = words("wedding_form.needs_couple")
    windows: tuple[Window, ...] = ()
    if on is not None:
        windows = _read_phases(typed, errors) if present else _read_times(on, typed, errors)
    typed = replace(typed, errors=errors)
    if errors or on is None:
        return None, typed
    draft = WeddingDraft(
        wedding_date=on,
        couple_names=typed.couple or (present.couple_names if present else None),
        venue_name=typed.venue or None,
        time_zone=typed.time_zone or None,
        status=WeddingStatus.COMPLETED if typed.status == "completed" else WeddingStatus.BOOKED,
        client_id=present.client_id if present else read_id(typed.client_id),
        contacts=[
            {"name": c.name, "role": c.role, "phone": c.phone} for c in typed.contacts if c.name
        ],
        windows=windows,
        visible_to=Audience.ADMIN if typed.visible_to == "ADMIN" else Audience.MEMBER,
    )
    faults = find_faults(draft)
    return (None, with_faults(typed, faults, draft)) if faults else (draft, typed)


def read_id(text: str) -> UUID | None:
    """The id that a hidden field holds."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _read_contacts(sent: Mapping[str, Any], errors: dict[str, str]) -> tuple[ContactField, ...]:
    found = []
    for index in range(MOST_CONTACTS):
        if f"name_{index}" not in sent:
            break
        typed = {
            part: str(sent.get(f"{part}_{index}") or "").strip() for part in _LONGEST_OF_CONTACT
        }
        for part, most in _LONGEST_OF_CONTACT.items():
            if len(typed[part]) > most:
                errors[f"{part}_{index}"] = words("wedding_form.long")
        if not typed["name"] and (typed["role"] or typed["phone"]):
            errors[f"name_{index}"] = words("wedding_form.contact_name")
        found.append(ContactField(**{part: text[:1000] for part, text in typed.items()}))
    return tuple(found)


def _read_times(on: date, typed: WeddingForm, errors: dict[str, str]) -> tuple[Window, ...]:
    """The phases around three times of the day, or what is wrong beside each."""
    read: dict[str, time | None] = {}
    for name in ("ceremony", "reception", "ends"):
        raw = getattr(typed, name)
        read[name] = None
        if raw:
            try:
                read[name] = time.fromisoformat(raw).replace(tzinfo=None)
            except ValueError:
                errors[name] = words("wedding_form.bad_time")
    if errors.keys() & read.keys():
        return ()
    windows, faults = read_times(on, read["ceremony"], read["reception"], read["ends"])
    if faults and read["ceremony"] is None:
        errors["ceremony"] = words("wedding_form.needs_ceremony")
    else:
        errors.update({fault.field: fault.reason for fault in faults})
    return windows


def _read_phases(typed: WeddingForm, errors: dict[str, str]) -> tuple[Window, ...]:
    windows = []
    for one in typed.phases:
        if not one.starts and not one.ends:
            continue
        try:
            begins, finishes = (
                datetime.fromisoformat(text).replace(tzinfo=None) for text in (one.starts, one.ends)
            )
        except ValueError:
            errors[f"ends_{one.key}"] = words("wedding_form.bad_moment")
            continue
        windows.append(Window(Phase(one.key), begins, finishes))
    return tuple(windows)


def with_faults(
    form: WeddingForm, faults: list[FieldError], draft: WeddingDraft | None = None
) -> WeddingForm:
    """The calendar's own objections beside the fields that they are about."""
    errors = dict(form.errors)
    for fault in faults:
        name = fault.field
        if name.startswith("windows[") and draft is not None:
            phase = draft.windows[int(name[8 : name.index("]")])].phase
            name = f"ends_{phase.value}" if form.id else "ends"
        elif name == "wedding_date":
            name = "on"
        elif name not in ("time_zone", "couple", "venue"):
            name = "form"
        errors[name] = fault.reason
    return replace(form, errors=errors)


def with_fault_of_form(form: WeddingForm, fault: str) -> WeddingForm:
    """An objection to the whole."""
    return replace(form, errors={**form.errors, "form": fault})
