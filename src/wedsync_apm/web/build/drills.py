"""Drills in words and bars. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.drills.model import IN_TIME, Every, Person, Result, percentile
from wedsync_apm.drills.store import Drill, answers_of
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.ladders import channel_word
from wedsync_apm.web.views.drill import AnswerView, DrillCard, PersonBar, ScheduleForm
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

_KINDS: Final[dict[Result, Kind]] = {
    Result.IN_TIME: "ok",
    Result.LATE: "warn",
    Result.WAITING: "info",
    Result.MISSED: "crit",
    Result.UNREACHED: "crit",
    Result.QUIET: "none",
}
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def build_card(drill: Drill, now: datetime, zone: str) -> DrillCard:
    """A drill with a bar for each person, all to one scale."""
    row = drill.row
    limit = IN_TIME.total_seconds()
    slowest = max((one.answered_seconds or 0.0 for one in drill.people), default=0.0)
    whole = max(slowest, limit) * 1.05
    return DrillCard(
        id=row["id"],
        status=_status(drill, now, zone),
        when=words(
            "drills.held_on", time=say.when(row["started_at"], now, zone), cause=_cause(row)
        ),
        reason=row["reason"],
        people=tuple(_bar(one, whole) for one in drill.people),
        mark=round(1000 * limit / whole),
    )


def _cause(row: Row) -> str:
    if row["cause"] == "schedule":
        return words("drills.schedule_cause")
    if row["started_by_name"]:
        return words("drills.asked", name=row["started_by_name"])
    return words("drills.asked_nobody")


def _status(drill: Drill, now: datetime, zone: str) -> Status:
    row = drill.row
    if row["ended_at"] is None:
        waiting = sum(one.result is Result.WAITING for one in drill.people)
        if waiting:
            return Status("info", words("drills.waiting", n=waiting))
        return Status("info", words("drills.running", time=say.when(row["ends_at"], now, zone)))
    if not row["called"]:
        return Status("none", words("drills.nobody"))
    slow = row["called"] - row["in_time"]
    if slow:
        return Status("crit", words("drills.late", n=slow, called=row["called"]))
    return Status("ok", words("drills.good"))


def _bar(one: Person, whole: float) -> PersonBar:
    if one.answered_seconds is not None:
        said = words(f"drills.result.{one.result.value}", time=_length(one.answered_seconds))
    elif one.result is Result.UNREACHED:
        said = words("drills.result.unreached", reason=one.reason or words("drills.unknown_reason"))
    else:
        said = words(f"drills.result.{one.result.value}")
    steps = [
        words(f"drills.{name}", time=_length(seconds))
        for name, seconds in (("sent", one.sent_seconds), ("received", one.received_seconds))
        if seconds is not None
    ]
    return PersonBar(
        name=one.name,
        channels=", ".join(channel_word(channel) for channel in one.channels),
        status=Status(_KINDS[one.result], said),
        detail=", ".join(steps),
        width=None
        if one.answered_seconds is None
        else max(round(1000 * one.answered_seconds / whole), 8),
    )


def _length(seconds: float) -> str:
    return say.length(timedelta(seconds=seconds))


def speeds(drills: Sequence[Drill]) -> tuple[tuple[str, str], ...]:
    """The half and 95 of 100 of the last drills' people; nothing before the first has ended."""
    answers = answers_of(drills)
    if not answers:
        return ()
    return tuple(
        (
            str(words(f"drills.{name}")),
            str(words("drills.never")) if found is None else _length(found),
        )
        for name, found in (("p50", percentile(answers, 0.5)), ("p95", percentile(answers, 0.95)))
    )


def rhythm_choices() -> tuple[tuple[str, str], ...]:
    """Each week, each month."""
    return tuple((one.value, str(words(f"drills.every.{one.value}"))) for one in Every)


def form_of(row: Row | None, zone: str) -> ScheduleForm:
    """The form as it stands; before the first time a monthly one is offered."""
    if row is None:
        return ScheduleForm(time_zone=zone)
    return ScheduleForm(row["every"], str(row["weekday"]), row["local_time"], row["time_zone"])


def read_schedule(sent: Any) -> tuple[ScheduleForm, dict[str, Any]]:
    """The form as typed with the words beside each fault, and the values that it means."""
    typed = {
        name: str(sent.get(name) or "").strip()[:100]
        for name in ("every", "weekday", "local_time", "time_zone")
    }
    errors: dict[str, str] = {}
    if typed["every"] not in {one.value for one in Every}:
        errors["every"] = words("drills.choose")
    if typed["weekday"] not in {str(day) for day in range(1, 8)}:
        errors["weekday"] = words("drills.choose")
    if not _CLOCK.fullmatch(typed["local_time"]):
        errors["local_time"] = words("drills.time_wrong")
    if not typed["time_zone"]:
        errors["time_zone"] = words("drills.zone_wrong")
    form = ScheduleForm(**typed, errors=errors)
    return form, {} if errors else {**typed, "weekday": int(typed["weekday"])}


def build_answer(found: Row | None, outcome: str | None) -> AnswerView:
    """What a link shows, after a tap and before it."""
    if found is None or outcome == "unknown":
        return AnswerView("old", words=words("drill.old"))
    organization = found["organization_name"] or ""
    if outcome == "answered":
        took = (found["answered_at"] - found["started_at"]).total_seconds()
        return AnswerView("done", organization, words("drill.done", time=_length(took)))
    if found["answered_at"] is not None:
        return AnswerView("used", organization, words("drill.used"))
    if found["is_over"]:
        return AnswerView("over", organization, words("drill.over"))
    return AnswerView("open", organization)
