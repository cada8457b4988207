"""Ladders in words: who would be called and how, what each says, what it leaves open. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from wedsync_apm.types import Channel, Severity
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.contacts import day_choices
from wedsync_apm.web.build.people import People
from wedsync_apm.web.views.ladder import CallLine, Calls, CallStep, Fault, LadderCard
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

SEVERITIES: Final = (Severity.WARNING, Severity.CRITICAL, Severity.EMERGENCY)
FIRST_AT_WEDDING: Final = timedelta(seconds=30)
SECOND_AT_WEDDING: Final = timedelta(seconds=60)
"""The most that a step waits while a wedding is under way; the database holds it to that."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names for what ladders name by ids."""

    people: People
    contacts: Mapping[str, str]
    rotas: Mapping[str, str]


def known_of(people: People, contacts: Iterable[Row], rotas: Iterable[Row]) -> Known:
    """Names of the contacts and rotas as the store gives them."""
    return Known(
        people,
        {str(row["id"]): f"{row['name']} ({channel_word(row['channel'])})" for row in contacts},
        {str(row["id"]): row["name"] for row in rotas},
    )


def channel_word(channel: object) -> str:
    """What people call a channel."""
    key = f"channel.{channel}"
    return str(words(key)) if has(key) else str(channel)


def build_calls(
    rows: Sequence[Row], now: datetime, zone: str, *, is_now: bool, was_called: bool = False
) -> Calls:
    """Who would be called, of the rows that the store gives for a climb; `was_called` where it
    goes on from there."""
    steps: list[CallStep] = []
    end = ""
    first: list[str] = []
    is_proven = True
    for number, group in groupby(rows, key=lambda row: row["step"]):
        found = list(group)
        if number is None:
            end = words("calls.end", time=say.when(found[0]["due"], now, zone))
            continue
        step = _call_step(found, now, zone)
        if not first and step.lines:
            first = list(dict.fromkeys(line.who for line in step.lines))
            is_proven = any(row["is_verified"] for row in found)
        steps.append(step)
    if not first:
        return Calls(
            Status("crit", words("ladders.nobody")), words("ladders.nobody"), tuple(steps), end
        )
    key = "calls.next" if was_called else "ladders.now" if is_now else "ladders.then"
    headline = words(key, names=" and ".join(first[:3]))
    kind: Kind = "warn" if not is_proven else "info" if was_called else "ok"
    icon = "phone" if kind == "info" else ""
    return Calls(Status(kind, headline, icon), headline, tuple(steps), end)


def _call_step(rows: Sequence[Row], now: datetime, zone: str) -> CallStep:
    first = rows[0]
    via = {row["via"] for row in rows}
    key = "calls.step" if first["level"] == "none" else "calls.step_level"
    level = words(f"ladder.level.{first['level']}")
    note = ""
    for one in ("everybody", "owner"):
        if one in via and not first["passed"]:
            note = words(f"calls.via_{one}")
    return CallStep(
        time=say.when(first["due"], now, zone),
        title=words(key, n=first["step"] + 1, level=level),
        passed=words("calls.passed", reason=first["passed"]) if first["passed"] else "",
        note=note,
        lines=tuple(
            CallLine(
                row["name"] or words("calls.somebody"),
                channel_word(row["channel"]),
                _warning(row),
            )
            for row in rows
            if row["channel"] is not None
        ),
    )


def _warning(row: Row) -> str:
    """What makes a call less sure than it looks; empty for nothing."""
    if not row["is_verified"] and row["via"] != "owner":
        return words("calls.unproven")
    return words("calls.unreceipted") if row["channel"] == Channel.APPRISE else ""


def build_card(row: Row, known: Known) -> LadderCard:
    """A ladder as sentences."""
    repeats = row["repeat_count"]
    return LadderCard(
        id=row["id"],
        name=row["name"],
        is_default=row["is_default"],
        steps=tuple(
            (step_words(step, n, known), condition_words(step))
            for n, step in enumerate(row["steps"])
        ),
        repeats=words("ladder.repeats", n=repeats) if repeats else words("ladder.no_repeats"),
        used=words("ladders.default" if row["is_default"] else "ladders.other"),
    )


def step_words(step: Mapping[str, Any], n: int, known: Known) -> str:
    """After how long it calls whom; what it comes to while a wedding is under way beside it."""
    delay = timedelta(seconds=step["delay_seconds"])
    given = step["wedding_delay_seconds"]
    quick = delay / 4 if given is None else timedelta(seconds=given)
    quick = min(quick, (FIRST_AT_WEDDING, SECOND_AT_WEDDING)[n]) if n < 2 else quick
    text = str(
        words("ladder.after", length=say.length(delay)) if delay else words("ladder.at_once")
    )
    if quick != delay:
        told = (
            words("ladder.on_weddings", length=say.length(quick))
            if quick
            else words("ladder.on_weddings_once")
        )
        text = f"{text}, {told}"
    return str(words("ladder.step_line", delay=text, names=target_words(step, known)))


def target_words(step: Mapping[str, Any], known: Known) -> str:
    """Whom a step calls; without anybody of its own it calls everybody."""
    names = [known.people.name(UUID(str(one))) for one in step["user_ids"]]
    names += [known.rotas.get(str(one), words("calls.somebody")) for one in step["schedule_ids"]]
    names += [
        known.contacts.get(str(one), words("calls.somebody")) for one in step["contact_method_ids"]
    ]
    return ", ".join(dict.fromkeys(names)) or words("ladder.everybody")


def condition_words(step: Mapping[str, Any]) -> str:
    """When a step counts; empty for always."""
    parts: list[str] = []
    if step["weddings"] != "any":
        parts.append(words(f"ladder.{step['weddings']}_weddings"))
    if step["severity_min"]:
        parts.append(
            words("ladder.from_severity", bad=words(f"ladder.severity.{step['severity_min']}"))
        )
    hours = step["hours"]
    if hours:
        days = dict(day_choices())
        listed = ", ".join(days[day] for day in sorted(hours["weekdays"]))
        key = "ladder.in_hours_person" if hours["zone"] == "person" else "ladder.in_hours"
        parts.append(
            words(
                key,
                days=words("ladder.every_day") if len(hours["weekdays"]) == len(days) else listed,
                start=hours["from_time"],
                end=hours["until_time"],
            )
        )
    return say.sentence(", ".join(parts)) if parts else ""


def build_faults(
    rows: Iterable[Row], couples: Mapping[UUID, str], now: datetime
) -> tuple[Fault, ...]:
    """What the ladders leave open in the weddings to come, the next one first."""
    found: list[Fault] = []
    for wedding_id, group in groupby(rows, key=lambda row: row["wedding_id"]):
        rows_of = list(group)
        zone = rows_of[0]["wedding_zone"]
        found.append(
            Fault(
                couples.get(wedding_id, words("wedding.unnamed")),
                say.when(rows_of[0]["starts_at"], now, zone),
                tuple(line for row in rows_of for line in _fault_lines(row, now, zone)),
            )
        )
    return tuple(found)


def _fault_lines(row: Row, now: datetime, zone: str) -> list[str]:
    gaps = {"step": row["step"], "ladder": row["policy_name"]}
    lines: list[str] = []
    if row["is_empty"]:
        lines.append(words("ladders.fault_empty", **gaps))
    elif row["gaps"]:
        spans = ", ".join(
            words(
                "oncall.span",
                start=say.when(datetime.fromisoformat(gap["starts_at"]), now, zone),
                end=say.when(datetime.fromisoformat(gap["ends_at"]), now, zone),
            )
            for gap in row["gaps"]
        )
        lines.append(words("ladders.fault_gaps", spans=spans, **gaps))
    if row["unreachable"]:
        lines.append(words("ladders.fault_unproven", n=row["unreachable"], **gaps))
    return lines
