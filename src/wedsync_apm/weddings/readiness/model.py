"""A readiness report: seven lines, each passed, failed or not known, with the reason in words.

What the product cannot know is "unknown" and never "pass". Reasons count people and never name
them: a viewer reads them, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

DRILL_DAYS: Final = 35
"""A drill tells of the present for so long: one each month is enough."""
PROVEN_DAYS: Final = 7
"""So does a backup that was restored."""
AGAIN: Final = timedelta(minutes=30)
"""After a report that failed, until the next one."""


class Outcome(StrEnum):
    """How a line, or a whole report, ended."""

    PASS = "pass"  # noqa: S105 no password
    FAIL = "fail"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """Why a report was made."""

    EVENING = "evening"
    AGAIN = "again"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the instant of the report. Contacts are those that are switched on."""

    contacts: int
    unverified: int
    stale: int
    """Verified, but more than 30 days ago."""
    rungs: int
    """Of the default ladder."""
    empty_rungs: int
    tested: int
    """Contacts that a message reached within 30 days, and none failed since."""
    failing: int
    checks: int
    """Those marked as critical for weddings; all, where none is."""
    red: Sequence[str]
    troubled: Sequence[str]
    """Healthy now, critical within 24 hours."""
    unseen: Sequence[str]
    silences: int
    """That work during the wedding, from now on."""
    works: int
    """Planned work that a second person approved for the wedding, and that is open in it."""
    inhibitions: int
    """The organization's own rules that hold back even what is critical."""
    rotas: int
    """On-call schedules that a ladder in use names."""
    open_rotas: int
    """Those of them that leave a part of the wedding without anybody."""
    open_minutes: int
    """How much of it, where it is most."""
    unreachable: int
    """People on call during the wedding without a verified contact."""
    thin: int
    """People on call during the wedding with one only."""
    drill_days: int | None
    """Days since the last drill that has ended; None for none."""
    drill_called: int
    """People whom it called; of them those who answered, and those who did so in time."""
    drill_answered: int
    drill_in_time: int
    has_drills: bool
    """Whether drills are held by themselves."""
    backup_days: int | None = None
    """Days since a backup was last proven by restoring it; None for never."""
    is_backup_bad: bool = False
    """Whether the last one that was tried could not be restored whole."""
    has_backups: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One question and its answer."""

    key: str
    title: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to all of them."""

    lines: tuple[Line, ...]

    @property
    def outcome(self) -> Outcome:
        """Failed where a line failed, unknown where one is not known, else passed."""
        found = {line.outcome for line in self.lines}
        for worst in (Outcome.FAIL, Outcome.UNKNOWN):
            if worst in found:
                return worst
        return Outcome.PASS

    @property
    def failed(self) -> tuple[str, ...]:
        """The keys of the lines that failed."""
        return tuple(line.key for line in self.lines if line.outcome is Outcome.FAIL)


def make_report(facts: Facts) -> Report:
    """The report that these facts give."""
    answers = (
        ("contacts", "Contacts are verified", _contacts(facts)),
        ("on_call", "Somebody is on call in every minute of the wedding", _on_call(facts)),
        ("channels", "The ways to reach them are tested", _channels(facts)),
        ("drilled", "The people who are called have answered a drill", _drilled(facts)),
        ("checks", "The services that matter are healthy", _checks(facts)),
        ("silences", "Nothing keeps people from being told", _silences(facts)),
        (
            "backups",
            "A backup was proven by restoring it",
            _backups(facts),
        ),
    )
    return Report(tuple(Line(key, title, *answer) for key, title, answer in answers))


Answer = tuple[Outcome, str]


def _contacts(facts: Facts) -> Answer:
    if not facts.contacts:
        return Outcome.FAIL, "No contact is set up: nobody would be told of anything."
    faults = []
    if facts.unverified:
        faults.append(f"{facts.unverified} of {facts.contacts} contacts were never verified")
    if facts.stale:
        faults.append(
            f"{facts.stale} of {facts.contacts} contacts were verified more than 30 days ago"
        )
    if faults:
        return Outcome.FAIL, f"{'; '.join(faults)}."
    return Outcome.PASS, f"All {facts.contacts} were verified within 30 days."


def _on_call(facts: Facts) -> Answer:
    if not facts.contacts:
        return Outcome.FAIL, "Nobody can be called: no contact is set up."
    if not facts.rungs:
        return Outcome.FAIL, "There is no default ladder, so nobody in particular is called first."
    if facts.empty_rungs:
        return (
            Outcome.FAIL,
            f"{facts.empty_rungs} of the ladder's {facts.rungs} steps reach nobody of their own.",
        )
    if not facts.rotas:
        return (
            Outcome.UNKNOWN,
            f"All {facts.rungs} steps of the ladder reach somebody at any hour, but they name no "
            "rota that says who answers when.",
        )
    faults = []
    if facts.open_rotas:
        where = f" in {facts.open_rotas} of {facts.rotas} rotas" if facts.rotas > 1 else ""
        faults.append(f"Nobody is on call for {_length(facts.open_minutes)} of the wedding{where}")
    if facts.unreachable:
        many = "people" if facts.unreachable > 1 else "person"
        faults.append(
            f"{facts.unreachable} {many} on call during it cannot be reached: no contact "
            "of theirs is verified"
        )
    if faults:
        return Outcome.FAIL, f"{'; '.join(faults)}."
    warning = ""
    if facts.thin:
        many = "people" if facts.thin > 1 else "person"
        warning = f" {facts.thin} {many} can be reached in one way only: add another one."
    return Outcome.PASS, f"Somebody is on call in every minute of the wedding.{warning}"


def _length(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    words = [
        f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in ((hours, "hour"), (rest, "minute")) if n
    ]
    return " and ".join(words)


def _channels(facts: Facts) -> Answer:
    if not facts.contacts:
        return Outcome.FAIL, "No contact is set up that could be tested."
    if facts.failing:
        return (
            Outcome.FAIL,
            f"The last message to {facts.failing} of {facts.contacts} contacts failed.",
        )
    untested = facts.contacts - facts.tested
    if untested:
        return (
            Outcome.UNKNOWN,
            f"No message went to {untested} of {facts.contacts} contacts within 30 days, so "
            "nobody knows whether one would arrive.",
        )
    return Outcome.PASS, f"Messages went to all {facts.contacts} contacts within 30 days."


def _drilled(facts: Facts) -> Answer:
    if facts.drill_days is None or facts.drill_days >= DRILL_DAYS:
        how = "start one" if facts.has_drills else "start one, or have one held each month"
        was = "There was no drill" if facts.drill_days is None else "The last drill was"
        when = "yet" if facts.drill_days is None else f"{facts.drill_days} days ago"
        return (
            Outcome.UNKNOWN,
            f"{was} {when}, so nobody knows how fast people answer: {how}.",
        )
    silent, late = (
        facts.drill_called - facts.drill_answered,
        facts.drill_answered - facts.drill_in_time,
    )
    faults = []
    if silent:
        faults.append(f"{silent} of {facts.drill_called} people did not answer the last drill")
    if late:
        faults.append(
            f"{late} of {facts.drill_called} people answered it later than two minutes"
            if silent
            else f"{late} of {facts.drill_called} people answered the last drill later than two "
            "minutes"
        )
    if faults:
        return Outcome.FAIL, f"{'; '.join(faults)}."
    if facts.drill_called == 1:
        return Outcome.PASS, "The one person called answered the last drill within two minutes."
    return (
        Outcome.PASS,
        f"All {facts.drill_called} people answered the last drill within two minutes.",
    )


def _backups(facts: Facts) -> Answer:
    if facts.is_backup_bad:
        return Outcome.FAIL, "The last backup that was tried could not be restored whole."
    if not facts.has_backups:
        return Outcome.UNKNOWN, "No backups are made here that the platform knows of."
    if facts.backup_days is None:
        return (
            Outcome.UNKNOWN,
            "Backups are made, but none was restored yet to see whether it can be.",
        )
    if facts.backup_days >= PROVEN_DAYS:
        return (
            Outcome.UNKNOWN,
            f"A backup was last restored {facts.backup_days} days ago, so nobody knows of today's.",
        )
    return Outcome.PASS, "A backup was restored within a week, and everything was there."


def _checks(facts: Facts) -> Answer:
    if facts.red:
        return Outcome.FAIL, f"Not healthy now: {_names(facts.red)}."
    if facts.troubled:
        return Outcome.FAIL, f"Down within the last 24 hours: {_names(facts.troubled)}."
    if not facts.checks:
        return Outcome.UNKNOWN, "No service is checked, so nobody knows how they are."
    if facts.unseen:
        return Outcome.UNKNOWN, f"Not looked at of late, or in maintenance: {_names(facts.unseen)}."
    return Outcome.PASS, f"All {facts.checks} are healthy, and were for 24 hours."


def _silences(facts: Facts) -> Answer:
    faults = []
    if facts.silences:
        number = f"{facts.silences} silence{' lies' if facts.silences == 1 else 's lie'}"
        faults.append(f"{number} over the wedding: what they match would be told to nobody")
    if facts.works:
        number = f"{facts.works} maintenance window{' is' if facts.works == 1 else 's are'}"
        faults.append(f"{number} open during it: of what is worked on nobody would be told")
    if facts.inhibitions:
        number = f"{facts.inhibitions} inhibition rule{'' if facts.inhibitions == 1 else 's'}"
        faults.append(f"{number} may hold back even what is critical while the cause lasts")
    if faults:
        return Outcome.FAIL, f"{'; '.join(faults)}."
    return Outcome.PASS, "No silence, planned work or rule keeps anything critical back during it."


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


FAULTS: Final[Mapping[str, str]] = {
    "contacts": "contacts are missing or not verified",
    "on_call": "somebody to call is missing",
    "channels": "a message to a contact failed",
    "drilled": "somebody was slow to answer a drill, or did not",
    "checks": "a service that matters is not healthy",
    "silences": "something would keep people from being told",
}
"""What a line says where it failed, in the middle of a sentence."""


def words_of(report: Report, wedding_date: date) -> dict[str, Any]:
    """The vendor's words for the incident of a report that failed."""
    failed = [line for line in report.lines if line.outcome is Outcome.FAIL]
    return {
        "subject": f"The wedding on {wedding_date.day} {wedding_date:%B}",
        "problem": "is not prepared: " + ", ".join(FAULTS[line.key] for line in failed),
        "still_works": "This looks ahead: it says what may let you down on the day.",
        "what_to_do": [line.reason for line in failed],
    }


def next_at(report: Report, at: datetime, due_at: datetime, ends_at: datetime) -> datetime | None:
    """When to look again: at its time; soon while something fails and the wedding is not over."""
    if at < due_at:
        return due_at
    again = at + AGAIN
    return again if report.failed and again < ends_at else None
