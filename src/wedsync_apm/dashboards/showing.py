"""Panels out of what was read for them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.checks.model import STALE_INTERVALS
from wedsync_apm.dashboards.answers import (
    Answer,
    Band,
    Countdown,
    Service,
    Services,
    Text,
    Tick,
    Trouble,
    Troubles,
)
from wedsync_apm.dashboards.calendar import next_part
from wedsync_apm.dashboards.figures import show_heat, show_number, show_series, show_table
from wedsync_apm.dashboards.material import Material
from wedsync_apm.dashboards.model import (
    CountdownPanel,
    GaugePanel,
    HeatPanel,
    IncidentsPanel,
    Panel,
    SeriesPanel,
    ServicesPanel,
    StatPanel,
    TablePanel,
    TextPanel,
    Which,
)
from wedsync_apm.incidents.model import Incident

SLACK: Final = timedelta(seconds=10)
"""What a check may take beyond its interval before its answer counts as old."""


def answer_panel(panel: Panel, material: Material) -> Answer:
    """What one panel shows."""
    return _SHOWS[type(panel)](panel, material)


def bands_of(material: Material) -> tuple[Band, ...]:
    """The phases of the weddings in the time that is shown."""
    begin, end = material.shown.begin, material.shown.end
    return tuple(
        Band(part.begins.timestamp(), part.ends.timestamp(), part.phase)
        for wedding in material.weddings
        for part in wedding.parts
        if part.begins < end and part.ends > begin
    )


def ticks_of(material: Material) -> tuple[Tick, ...]:
    """The incidents and events in the time that is shown, by when they were."""
    begin = material.shown.begin
    troubles = [
        Tick(one.began_at.timestamp(), one.title, "incident")
        for one in material.incidents
        if one.began_at >= begin
    ]
    events = [
        Tick(one["occurred_at"].timestamp(), one["title"][:120], "event") for one in material.events
    ]
    return tuple(sorted([*troubles, *events], key=lambda one: one.at))


def _services(panel: ServicesPanel, material: Material) -> Answer:
    return Services(
        tuple(
            Service(
                name=row["display_name"],
                service_name=row["service_name"],
                status="unknown" if _is_old(row, material.setting.at) else row["status"],
                checked_at=row["last_check_at"] and row["last_check_at"].isoformat(),
                response_time_ms=row["response_time_ms"],
                availability_percentage=row["availability_percentage"],
            )
            for row in checks_of(panel, material)
        )
    )


def _is_old(row: Mapping[str, Any], at: datetime) -> bool:
    checked: datetime | None = row["last_check_at"]
    interval: timedelta = row["check_interval"]
    return checked is None or at - checked > interval * STALE_INTERVALS + SLACK


def checks_of(panel: ServicesPanel, material: Material) -> list[Mapping[str, Any]]:
    """The rows of the checks that a panel shows."""
    return [
        row
        for row in material.checks
        if (not panel.services or row["service_name"] in panel.services)
        and (row["couple_facing"] or not panel.couple_facing_only)
    ]


def troubles_of(panel: IncidentsPanel, material: Material) -> Sequence[Incident]:
    """The incidents that a panel shows, the newest first."""
    if panel.which is Which.OPEN:
        return sorted(material.live, key=lambda one: one.detected_at, reverse=True)[: panel.most]
    begin = material.shown.begin
    return [
        one
        for one in material.incidents
        if one.is_live or one.detected_at >= begin or (one.resolved_at or begin) > begin
    ][: panel.most]


def _troubles(panel: IncidentsPanel, material: Material) -> Answer:
    return Troubles(
        tuple(
            Trouble(
                id=str(one.id),
                title=one.title,
                status=one.status.value,
                severity=one.severity.value,
                detected_at=one.detected_at.isoformat(),
                resolved_at=one.resolved_at.isoformat() if one.resolved_at else None,
            )
            for one in troubles_of(panel, material)
        )
    )


def _countdown(material: Material) -> Answer:
    found = next_part(material.weddings, material.setting.at)
    if found is None:
        return Countdown()
    wedding, part = found
    return Countdown(
        wedding_id=str(wedding.id),
        initials=wedding.initials,
        phase=part.phase,
        at=part.begins.isoformat(),
        seconds=(part.begins - material.setting.at).total_seconds(),
        time_zone=wedding.zone,
    )


_SHOWS: Final[Mapping[type[Any], Callable[[Any, Material], Answer]]] = {
    SeriesPanel: show_series,
    StatPanel: show_number,
    GaugePanel: show_number,
    TablePanel: show_table,
    HeatPanel: show_heat,
    ServicesPanel: _services,
    IncidentsPanel: _troubles,
    CountdownPanel: lambda _, material: _countdown(material),
    TextPanel: lambda panel, _: Text(panel.text),
}
