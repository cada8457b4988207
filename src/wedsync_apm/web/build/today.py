"""Today: the services and the verdict."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal

from wedsync_apm.incidents.model import Incident
from wedsync_apm.incidents.works import Watched
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.incidents import Scene, build_problem, lasted
from wedsync_apm.web.build.weddings import is_on_day, nearest_first, when_words
from wedsync_apm.web.views.chart import Figure, Point
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.views.today import Contact, Service, TodayView
from wedsync_apm.web.views.wedding import WeddingCard
from wedsync_apm.web.words import say as words

STALE_INTERVALS: Final = 5
AGED_INTERVALS: Final = 2
SLACK: Final = timedelta(seconds=10)
"""What a check may take beyond its interval before its answer counts as old."""
ENGINE_SILENCE: Final = timedelta(seconds=15)
"""After that nothing on a page may say that it works."""

State = Literal["ok", "problem", "warn", "unknown", "empty"]

_KINDS: Final[Mapping[str, Kind]] = {
    "healthy": "ok", "warning": "warn", "critical": "crit", "maintenance": "info",
}  # fmt: skip


def build_service(
    row: Row, now: datetime, *, is_engine_alive: bool, spark: Sequence[Point] = ()
) -> Service:
    """One service. It is "Not known" without a fresh look, whatever the last one said."""
    checked: datetime | None = row["last_check_at"]
    interval: timedelta = row["check_interval"]
    status = str(row["status"])
    age = now - checked if checked else None
    is_stale = age is None or age > interval * STALE_INTERVALS + SLACK
    figure = row["response_time_ms"]
    detail = say.plain_figure(figure, "ms") if figure is not None else ""
    if not is_engine_alive or is_stale or status not in _KINDS:
        return Service(row["display_name"], Status("none", words("status.unknown")), "", checked)
    word = status
    limit = row["response_time_threshold_ms"]
    if status == "critical" and figure is not None and limit is not None and figure > limit:
        word = "warning"
    is_aged = age is not None and age > interval * AGED_INTERVALS + SLACK
    return Service(
        row["display_name"],
        Status(_KINDS[status], words(f"status.{word}")),
        detail,
        checked if is_aged else None,
        tuple(spark),
    )


def build_contacts(
    help_line: str | None, people: Iterable[tuple[str, str, str]]
) -> tuple[Contact, ...]:
    """The help line first, then the wedding's own people: name, role, telephone number."""
    own = Contact(words("today.help_line"), words("today.help_line_note"), help_line or "")
    return (
        *((own,) if help_line else ()),
        *(Contact(name, role, phone) for name, role, phone in people if phone),
    )


def week_words(over: Iterable[Incident], now: datetime) -> str:
    """The last seven days in one line."""
    week = [i for i in over if i.detected_at > now - timedelta(days=7)]
    if not week:
        return words("today.week_none")
    spent = sum((lasted(i, now) for i in week), timedelta())
    return words("today.week", n=len(week), length=say.length(spent))


def build_today(
    *,
    live: Sequence[Incident],
    services: Sequence[Service],
    weddings: Sequence[WeddingCard],
    scene: Scene,
    next_at: Mapping[str, datetime],
    units: Mapping[str, str | None],
    watched: tuple[Watched, ...] = (),
    patterns: Mapping[str, str] = MappingProxyType({}),
    contacts: tuple[Contact, ...],
    week: str,
    figure: Figure | None,
    phone: str,
) -> TodayView:
    """The page: problems first, else what the services say, else that nothing is watched."""
    now = scene.now
    today = nearest_first([w for w in weddings if is_on_day(w, now)], now)
    coming = sorted(
        (w for w in weddings if w not in today and w.phases and w.phases[0].begins > now),
        key=lambda w: w.phases[0].begins,
    )
    problems = tuple(
        build_problem(
            incident,
            Scene(
                now,
                scene.zone,
                units.get(str(incident.id)),
                next_at.get(str(incident.id)),
                scene.viewer_name,
                watched,
                patterns.get(str(incident.id)),
            ),
        )
        for incident in live
    )
    couple = today[0].couple if today else ""
    state, title, headline, body = _verdict(services, scene, couple)
    if problems:
        state = "problem"
        title = (
            words("today.title_problem", noun=problems[0].noun)
            if len(problems) == 1
            else words("today.title_problems", n=len(problems))
        )
    following = ""
    if not today:
        first = coming[0] if coming else None
        following = (
            words("today.next_wedding", couple=first.couple, when=when_words(first, now))
            if first
            else words("today.no_wedding")
        )
    return TodayView(
        state=state,
        title=title,
        headline=headline,
        body=body,
        problems=problems,
        weddings=tuple(today[:2]),
        more_weddings=max(0, len(today) - 2),
        next_wedding=following,
        services=tuple(services),
        contacts=contacts,
        week=week,
        figure=figure,
        phone=phone,
        offers_sunlight=bool(today),
    )


def _verdict(services: Sequence[Service], scene: Scene, couple: str) -> tuple[State, str, str, str]:
    unknown = [s for s in services if s.status.kind == "none"]
    bad = [s for s in services if s.status.kind in ("crit", "warn")]
    if not services:
        return "empty", words("today.empty"), words("today.empty"), words("today.empty_body")
    if len(unknown) == len(services):
        seen = [s.checked_at for s in unknown if s.checked_at]
        headline = (
            words("today.unknown", time=scene.clock(max(seen)))
            if seen
            else words("today.unknown_never")
        )
        return "unknown", words("today.title_unknown"), headline, words("today.unknown_body")
    if bad:
        name = bad[0].name
        key = "today.slow" if bad[0].status.word == words("status.warning") else "today.down"
        return "warn", words(key, noun=name), words(key, noun=name), words("today.slow_body")
    if unknown:
        names = ", ".join(s.name for s in unknown)
        body = words("today.some_unknown_body", names=names)
        return "unknown", words("today.some_unknown"), words("today.some_unknown"), body
    headline = words("today.ok_wedding", couple=couple) if couple else words("today.ok")
    body = words("today.ok_detail", n=len(services), time=scene.clock(scene.now))
    return "ok", words("today.title_ok"), headline, body
