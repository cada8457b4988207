"""Incidents as a vendor reads them, and as an engineer does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from markupsafe import Markup

from wedsync_apm.incidents.model import Event, Incident, NextStep, blast_radius
from wedsync_apm.incidents.works import Watched, unmeasured, works_beside
from wedsync_apm.types import IncidentStatus, Severity
from wedsync_apm.web import say
from wedsync_apm.web.render import moment
from wedsync_apm.web.views.incident import (
    Entry,
    Fact,
    IncidentGroup,
    IncidentRow,
    IncidentsView,
    Problem,
    Step,
)
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

UNNAMED: Final = frozenset(
    {
        "rule",
        "ladder",
        "calendar",
        "heartbeat",
        "clock",
        "wedding",
        "check",
        "messages",
        "apm_engine",
        "engine",
        "apm_writer",
        "postgres",
    }
)
"""Actors that are no persons: a vendor reads "we"."""

STATUS_KINDS: Final[dict[IncidentStatus, Kind]] = {
    IncidentStatus.OPEN: "crit",
    IncidentStatus.ACKNOWLEDGED: "warn",
    IncidentStatus.INVESTIGATING: "warn",
    IncidentStatus.RESOLVED: "ok",
    IncidentStatus.CLOSED: "none",
}
SEVERITY_KINDS: Final[dict[Severity, Kind | Literal["emergency"]]] = {
    Severity.INFO: "info",
    Severity.WARNING: "warn",
    Severity.CRITICAL: "crit",
    Severity.EMERGENCY: "emergency",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known around an incident when its page is made. `unit` is that of its figures."""

    now: datetime
    zone: str
    unit: str | None = None
    next_at: datetime | None = None
    viewer_name: str = ""
    services: tuple[Watched, ...] = ()
    pattern: str | None = None
    """The checked services as they are now, and what the incident's rule watches."""

    def clock(self, at: datetime) -> str:
        """The time as it is shown."""
        return say.when(at, self.now, self.zone)


def first_name(name: str | None) -> str:
    """What a vendor reads of a person: the first name; an address or a label stays as it is."""
    shown = (name or "").strip()
    return shown.split(" ")[0] if shown and "@" not in shown else shown.partition("@")[0]


def body_words(incident: Incident, scene: Scene) -> str:
    """What the vendor feels of it: what still works, and the figures in seconds or shares."""
    parts: list[str] = []
    if works := works_beside(scene.services, scene.pattern):
        parts.append(words("problem.works_body", names=", ".join(works)))
    still = unmeasured(incident.vendor_text.still_works, scene.services)
    if still:
        parts.append(still if still.endswith(".") else f"{still}.")
    if incident.metric_value is not None and incident.threshold_value is not None:
        parts.append(
            words(
                "problem.figures_today" if incident.was_wedding_day else "problem.figures",
                figure=say.plain_figure(incident.metric_value, scene.unit),
                limit=say.plain_figure(incident.threshold_value, scene.unit),
            )
        )
    return Markup(" ").join(parts) if parts else words("problem.no_figures")


def owner_words(incident: Incident, scene: Scene) -> str:
    """Who has it, or who is called next and when."""
    if incident.status is IncidentStatus.OPEN:
        if scene.next_at and scene.next_at > scene.now:
            return words("problem.nobody_next", time=scene.clock(scene.next_at))
        return words("problem.nobody")
    if not incident.acknowledged_at:
        return ""
    if not incident.is_live:
        key = "problem.had"
    elif incident.acknowledged_by_name == scene.viewer_name:
        key = "problem.you_have"
    elif incident.status is IncidentStatus.INVESTIGATING:
        key = "problem.works_on"
    else:
        key = "problem.has"
    name = first_name(incident.acknowledged_by_name)
    return words(key, name=name, time=scene.clock(incident.acknowledged_at))


def promise_words(incident: Incident, scene: Scene) -> str:
    """When the next word comes; a promise that was missed says so."""
    at = incident.next_update_at
    if at is None:
        return ""
    if at < scene.now:
        is_called = incident.update_missed_at and incident.status is IncidentStatus.OPEN
        key = "problem.late_called" if is_called else "problem.late"
        return words(key, length=say.length(scene.now - at))
    return words("problem.next_update", time=moment(at, scene.clock(at)))


def lasted(incident: Incident, now: datetime) -> timedelta:
    """How long the present trouble has lasted, or did."""
    return (incident.resolved_at or incident.closed_at or now) - incident.began_at


def build_problem(incident: Incident, scene: Scene) -> Problem:
    """The card: what, what still works, who, when."""
    if not incident.is_live:
        over = incident.resolved_at or incident.closed_at or incident.updated_at
        return Problem(
            id=incident.id,
            title=incident.headline,
            body=words("problem.resolved_body", length=say.length(lasted(incident, scene.now))),
            status=Status("ok", words("problem.resolved", time=scene.clock(over))),
            since=incident.began_at,
            is_over=True,
            owner=owner_words(incident, scene),
            promise="",
        )
    again = incident.reopened_at is not None
    return Problem(
        id=incident.id,
        title=incident.headline,
        body=body_words(incident, scene),
        status=Status(
            "crit" if incident.severity.rank >= Severity.CRITICAL.rank else "warn",
            words(
                "problem.again" if again else "problem.since", time=scene.clock(incident.began_at)
            ),
        ),
        since=incident.began_at,
        is_over=False,
        owner=owner_words(incident, scene),
        promise=promise_words(incident, scene),
        promise_at=incident.next_update_at,
        noun=short_words(incident),
    )


def short_words(incident: Incident) -> str:
    """For a title: the problem without "Your"."""
    return incident.headline.removeprefix("Your ").rstrip(".")


def path_of(incident: Incident, events: Iterable[Event], scene: Scene) -> tuple[Step, ...]:
    """Four stations: noticed, people told, in hand, fixed."""
    began = incident.began_at
    told = next(
        (e.at for e in events if e.kind in ("escalated", "delivery") and e.at >= began), None
    )

    def station(key: str, at: datetime | None) -> Step:
        return Step(words(key), scene.clock(at) if at else "", at is not None)

    return (
        station("problem.path_noticed", began),
        station("problem.path_told", told or incident.acknowledged_at),
        station("problem.path_hand", incident.acknowledged_at),
        station("problem.path_fixed", incident.resolved_at),
    )


_ENTRY_KINDS: Final[dict[str, Literal["person", "crit", "ok"]]] = {
    "opened": "crit",
    "reopened": "crit",
    "exhausted": "crit",
    "resolved": "ok",
    "closed": "ok",
    "acknowledged": "person",
    "investigating": "person",
    "seen": "person",
    "note": "person",
    "update": "person",
}
_HIDDEN_FROM_VENDORS: Final = frozenset({"delivery", "repeated", "merged"})


def build_timeline(
    events: Iterable[Event], scene: Scene, *, is_engineer: bool
) -> tuple[Entry, ...]:
    """What has happened, the latest first; the engine's inner steps are for engineers only."""
    shown = [e for e in events if is_engineer or e.kind not in _HIDDEN_FROM_VENDORS]
    return tuple(_entry(event, scene, is_engineer=is_engineer) for event in reversed(shown))


def _entry(event: Event, scene: Scene, *, is_engineer: bool) -> Entry:
    is_person = event.actor_id is not None or event.actor not in UNNAMED
    name = first_name(event.actor) if is_person else ""
    kind: Literal["person", "system", "crit", "ok"] = _ENTRY_KINDS.get(event.kind, "system")
    if kind == "person" and not is_person:
        kind = "system"
    key = f"event.{event.kind}"
    if event.kind == "postmortem":
        return Entry(event.at, words(key, title=event.message.strip()), kind)
    if is_person and has(f"{key}_by"):
        text: str = words(f"{key}_by", name=name)
    else:
        text = words(key)
    message = event.message.strip()
    if event.kind in ("note", "update") and message:
        return Entry(event.at, message, kind, name)
    if event.kind == "escalated" and not is_engineer:
        return Entry(event.at, _told_words(event), kind)
    if event.kind in ("escalated", "delivery", "held") and message:
        return Entry(event.at, say.sentence(message), kind)
    if event.kind == "opened" and event.detail.get("threshold_value") is not None:
        text = words(
            "event.opened_limit",
            limit=(say.figure if is_engineer else say.plain_figure)(
                event.detail["threshold_value"], scene.unit
            ),
        )
    return Entry(event.at, text, kind, message if is_engineer or is_person else "")


def _told_words(event: Event) -> str:
    """Who was called, by first name; the engine writes "Told A B, C D"."""
    message = event.message.strip()
    names = [first_name(one) for one in message.removeprefix("Told ").split(",") if one.strip()]
    if message.startswith("Told ") and names:
        return words("event.escalated_told", names=", ".join(names))
    if message:
        return say.sentence(message)
    return words("event.escalated_first" if event.detail.get("step") == 1 else "event.escalated")


def wedding_words(incident: Incident, scene: Scene) -> str:
    """How many weddings it touches, and when the next part begins."""
    blast = blast_radius(incident, scene.now)
    if not blast.weddings:
        return ""
    text: str = words("engineer.blast", n=blast.weddings)
    if blast.next_milestone_at:
        zone = incident.affected_weddings[0].time_zone
        key, moment_at = "engineer.milestone", blast.next_milestone_at
        if blast.ceremony_at:
            key, moment_at = "engineer.ceremony", blast.ceremony_at
        text += ", " + words(key, ahead=say.ahead(moment_at, scene.now, zone))
    return text


def build_row(incident: Incident, scene: Scene, *, organization: str = "") -> IncidentRow:
    """A line of the list."""
    parts: list[str] = []
    if organization:
        parts.append(organization)
    if incident.is_live:
        blast = blast_radius(incident, scene.now)
        if blast.next_milestone_at and blast.phase:
            zone = incident.affected_weddings[0].time_zone
            parts.append(
                words(
                    "incidents.wedding", ahead=say.ahead(blast.next_milestone_at, scene.now, zone)
                )
            )
        if incident.acknowledged_by_name:
            parts.append(words("incidents.has", name=first_name(incident.acknowledged_by_name)))
        end = ""
    else:
        over = incident.resolved_at or incident.closed_at or incident.updated_at
        end = words(
            "incidents.fixed",
            time=scene.clock(over),
            length=say.length(lasted(incident, scene.now)),
        )
    return IncidentRow(
        id=incident.id,
        title=incident.headline,
        status=Status(STATUS_KINDS[incident.status], words(f"incident.{incident.status.value}")),
        since=incident.began_at,
        detail=say.sentence(", ".join(parts)),
        end=end,
    )


def build_list(
    live: Sequence[Incident],
    over: Sequence[Incident],
    scene: Scene,
    names: dict[str, str] | None = None,
) -> IncidentsView:
    """Nobody has it, in hand, fixed lately."""

    def rows(incidents: Iterable[Incident]) -> tuple[IncidentRow, ...]:
        return tuple(
            build_row(i, scene, organization=(names or {}).get(str(i.organization_id), ""))
            for i in incidents
        )

    groups = (
        ("incidents.nobody", [i for i in live if i.status is IncidentStatus.OPEN]),
        ("incidents.hand", [i for i in live if i.status is not IncidentStatus.OPEN]),
        ("incidents.resolved", over),
    )
    empty = ""
    if not live:
        last = over[0] if over else None
        empty = (
            words(
                "incidents.none_last",
                time=scene.clock(last.began_at),
                length=say.length(lasted(last, scene.now)),
            )
            if last
            else words("incidents.none")
        )
    return IncidentsView(
        tuple(IncidentGroup(words(key), rows(found)) for key, found in groups if found), empty
    )


def next_step_words(incident: Incident, step: NextStep | None, names: str, scene: Scene) -> str:
    """Who is called next, and when."""
    if not incident.is_live:
        return words("engineer.next_over")
    if incident.status is not IncidentStatus.OPEN:
        return words("engineer.next_stopped")
    if step is None:
        return words("engineer.next_none")
    return words(
        "engineer.next_step",
        step=step.position,
        names=names or words("engineer.next_unnamed"),
        time=moment(step.at, scene.clock(step.at), "in"),
    )


def build_facts(
    incident: Incident, scene: Scene, *, rule_name: str, normal: float | None, metric: str
) -> tuple[Fact, ...]:
    """Why it fired, for engineers."""
    source = incident.threshold_source or ""
    shown: list[tuple[str, str, bool]] = [
        (
            "engineer.value",
            f"{say.figure(incident.metric_value, scene.unit)}, "
            f"{words('charts.limit', figure=say.figure(incident.threshold_value, scene.unit))}"
            if incident.metric_value is not None
            else "",
            False,
        ),
        ("engineer.metric", metric, True),
        ("engineer.number", f"{incident.number}", True),
        ("engineer.dedup", incident.dedup_key, True),
        ("engineer.id", str(incident.id), True),
    ]
    if rule_name and source.startswith("wedding"):
        limit = words(
            "engineer.wedding_value", rule=rule_name, normal=say.figure(normal, scene.unit)
        )
    elif rule_name:
        limit = words("engineer.normal_value", rule=rule_name)
    else:
        # Another business's rule is not read: its incident was not opened by hand all the same.
        limit = words("engineer.by_rule" if incident.alert_id else "engineer.by_hand")
    shown.insert(1, ("engineer.limit", limit, False))
    if incident.repeat_count:
        shown.append(("engineer.repeats", f"{incident.repeat_count}", False))
    return tuple(Fact(words(key), value, mono) for key, value, mono in shown if value)
