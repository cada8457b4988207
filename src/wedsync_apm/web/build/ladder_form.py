"""The form of a ladder: typed words into steps and back. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from wedsync_apm.errors import NotValid
from wedsync_apm.escalation.model import Clock, Weddings
from wedsync_apm.types import EscalationLevel, Severity
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.contacts import CLOCK
from wedsync_apm.web.build.edits import Lines
from wedsync_apm.web.build.ladders import Known, condition_words, step_words
from wedsync_apm.web.views.ladder import LadderForm, StepForm
from wedsync_apm.web.words import say as words

UNITS: Final = {"seconds": 1, "minutes": 60, "hours": 3600}
LONGEST: Final = 86_400
MOST_STEPS: Final = 50
MOST_REPEATS: Final = 20
NEW_STEP: Final = StepForm()


def new_form(has_default: bool) -> LadderForm:
    """Before anybody has typed: two steps, which is what a wedding needs."""
    first = StepForm(level="team_lead", delay="0")
    second = StepForm(level="manager", delay="5")
    return LadderForm(is_default=not has_default, steps=(first, second))


def form_of(row: Row) -> LadderForm:
    """The form as a ladder stands."""
    return LadderForm(
        name=row["name"],
        is_default=row["is_default"],
        repeats=str(row["repeat_count"]),
        steps=tuple(_step_of(step) for step in row["steps"]),
    )


def _step_of(step: Mapping[str, Any]) -> StepForm:
    delay, unit = in_units(step["delay_seconds"])
    wedding, wedding_unit = "", unit
    if step["wedding_delay_seconds"] is not None:
        wedding, wedding_unit = in_units(step["wedding_delay_seconds"])
    hours = step["hours"]
    form = StepForm(
        level=step["level"],
        delay=delay,
        unit=unit,
        wedding_delay=wedding,
        wedding_unit=wedding_unit,
        people=tuple(str(one) for one in step["user_ids"]),
        rotas=tuple(str(one) for one in step["schedule_ids"]),
        contacts=tuple(str(one) for one in step["contact_method_ids"]),
        weddings=step["weddings"],
        severity=step["severity_min"] or "",
    )
    if hours:
        form = replace(
            form,
            hours=hours["zone"],
            from_time=hours["from_time"],
            until_time=hours["until_time"],
            days=tuple(str(day) for day in sorted(hours["weekdays"])),
        )
    return form


def in_units(seconds: float) -> tuple[str, str]:
    """A time in the largest unit that it is a whole number of."""
    unit = "minutes"
    if seconds:
        unit = next((name for name in reversed(UNITS) if seconds % UNITS[name] == 0), "seconds")
    return f"{seconds / UNITS[unit]:.10g}", unit


def read_ladder(sent: Any, known: Known) -> LadderForm:
    """The ladder as typed, with the words beside each fault; steps that say nothing are left
    out, and so are those that are to go."""
    try:
        count = min(int(str(sent.get("count") or "0")), MOST_STEPS + 1)
    except ValueError:
        count = 0
    steps = [_read_step(sent, n) for n in range(1, count + 1) if not sent.get(f"s{n}_gone")]
    kept = [step for step in steps if step.targets or step.delay]
    form = LadderForm(
        name=_text(sent, "name", 200),
        is_default=bool(sent.get("is_default")),
        repeats=_text(sent, "repeats", 4) or "0",
        steps=tuple(_moved(kept, str(sent.get("up") or ""))),
    )
    return replace(form, errors=_faults(form, known))


def _moved(steps: list[StepForm], up: str) -> list[StepForm]:
    if up.isdecimal() and 2 <= int(up) <= len(steps):
        n = int(up) - 1
        steps[n - 1], steps[n] = steps[n], steps[n - 1]
    return steps


def _text(sent: Any, name: str, limit: int) -> str:
    return str(sent.get(name) or "").strip()[:limit].replace("\x00", "")


def _read_step(sent: Any, n: int) -> StepForm:
    def one(name: str, known: Sequence[str], otherwise: str) -> str:
        found = _text(sent, f"s{n}_{name}", 20)
        return found if found in known else otherwise

    def many(name: str) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(str(value)[:36] for value in sent.getall(f"s{n}_{name}", []) if value)
        )

    return StepForm(
        level=one("level", [*EscalationLevel], "none"),
        delay=_text(sent, f"s{n}_delay", 12),
        unit=one("unit", [*UNITS], "minutes"),
        wedding_delay=_text(sent, f"s{n}_wedding_delay", 12),
        wedding_unit=one("wedding_unit", [*UNITS], "minutes"),
        people=many("people"),
        rotas=many("rotas"),
        contacts=many("contacts"),
        weddings=one("weddings", [*Weddings], "any"),
        severity=one("severity", [*Severity], ""),
        hours=one("hours", [*Clock], ""),
        from_time=_text(sent, f"s{n}_from_time", 5),
        until_time=_text(sent, f"s{n}_until_time", 5),
        days=tuple(day for day in many("days") if day in "1234567"),
    )


def _faults(form: LadderForm, known: Known) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not form.name:
        errors["name"] = words("ladder.name_empty")
    if not form.repeats.isdecimal() or int(form.repeats) > MOST_REPEATS:
        errors["repeats"] = words("ladder.again_wrong")
    if not form.steps:
        errors["steps"] = words("ladder.no_steps")
    people = {str(one) for one in known.people.names}
    for n, step in enumerate(form.steps, start=1):
        if read_delay(step.delay, step.unit) is None:
            errors[f"s{n}_delay"] = words("ladder.delay_wrong")
        if step.wedding_delay and read_delay(step.wedding_delay, step.wedding_unit) is None:
            errors[f"s{n}_wedding_delay"] = words("ladder.delay_wrong")
        if not step.targets:
            errors[f"s{n}_whom"] = words("ladder.whom_none")
        elif not (
            people.issuperset(step.people)
            and set(known.rotas).issuperset(step.rotas)
            and set(known.contacts).issuperset(step.contacts)
        ):
            errors[f"s{n}_whom"] = words("ladder.whom_wrong")
        if step.hours:
            for name in ("from_time", "until_time"):
                if not CLOCK.fullmatch(getattr(step, name)):
                    errors[f"s{n}_{name}"] = words("ladder.clock")
            if not step.days:
                errors[f"s{n}_days"] = words("ladder.days_none")
    return errors


def read_delay(text: str, unit: str) -> float | None:
    """Seconds; None for what is no time of a day at most."""
    try:
        seconds = float(text.replace(",", ".") or "0") * UNITS[unit]
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST else None


def values_of(form: LadderForm) -> dict[str, Any]:
    """A form without faults as the store takes it."""
    return {
        "name": form.name,
        "is_default": form.is_default,
        "repeat_count": int(form.repeats),
        "steps": [_values(step) for step in form.steps],
    }


def _values(step: StepForm) -> dict[str, Any]:
    return {
        "level": step.level,
        "delay_seconds": read_delay(step.delay, step.unit),
        "wedding_delay_seconds": read_delay(step.wedding_delay, step.wedding_unit)
        if step.wedding_delay
        else None,
        "contact_method_ids": list(step.contacts),
        "schedule_ids": list(step.rotas),
        "user_ids": list(step.people),
        "weddings": step.weddings,
        "severity_min": step.severity or None,
        "hours": {
            "from_time": step.from_time,
            "until_time": step.until_time,
            "weekdays": [int(day) for day in step.days],
            "zone": step.hours,
        }
        if step.hours
        else None,
    }


def ladder_lines(form: LadderForm, known: Known, steps: int) -> Lines:
    """What a form says, step by step, for two that are laid side by side."""
    lines = [
        (str(words("ladder.name")), form.name),
        (
            str(words("ladder.is_default")),
            str(words("clash.yes" if form.is_default else "clash.no")),
        ),
        (str(words("ladder.again")), form.repeats),
    ]
    for n in range(steps):
        text = ""
        if n < len(form.steps):
            values = _values(form.steps[n])
            level = str(words(f"ladder.level.{values['level']}"))
            parts = (step_words(values, n, known), condition_words(values), level)
            text = ". ".join(part for part in parts if part)
        lines.append((str(words("ladder.step", n=n + 1)), text))
    return tuple(lines)


def refused(form: LadderForm, exc: NotValid) -> LadderForm:
    """The form with what the database says."""
    reason = "; ".join(one.reason for one in exc.errors or ()) or exc.detail
    return replace(form, errors={**form.errors, "steps": words("ladder.wrong", reason=reason)})
