"""A status page in words, and its settings. Pure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

from wedsync_apm.errors import NotValid
from wedsync_apm.status.model import (
    MOST_CHECKS,
    Day,
    Mark,
    Problem,
    Service,
    State,
    Status,
    check_slug,
    clock_words,
    length_words,
    marked_days,
    suggest_slug,
    zone_of,
)
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.edits import Lines, lines_of
from wedsync_apm.web.views import shell
from wedsync_apm.web.views.shell import Kind
from wedsync_apm.web.views.status import (
    CheckChoice,
    NoteForm,
    Run,
    Said,
    ServiceLine,
    SettingsForm,
    StatusView,
)
from wedsync_apm.web.words import say as words

KINDS: Final[Mapping[State, Kind]] = {
    State.WORKING: "ok",
    State.SLOW: "warn",
    State.DOWN: "crit",
    State.PLANNED: "info",
    State.UNKNOWN: "none",
}
PROMISES: Final = ("15", "30", "60", "120")
"""Minutes until the next word."""
LONGEST_TITLE: Final = 100
LONGEST_INTRO: Final = 500
LONGEST_NOTE: Final = 1000
LABELS: Final = {
    "is_public": ("status_set.public", ""),
    "title": ("status_set.page_title", ""),
    "slug": ("status_set.slug", ""),
    "intro": ("status_set.intro", ""),
    "is_indexed": ("status_set.indexed", ""),
}


def build_status(status: Status, *, is_away: bool = False) -> StatusView:
    """The page. `is_away`: what it shows is old, because nothing newer can be had."""
    services = [(one, _trouble_of(one, status)) for one in status.services]
    troubled = [(one, trouble) for one, trouble in services if trouble is not None]
    state = State.UNKNOWN if is_away else _state(status, [t for _, t in troubled])
    known_at = status.known_at
    zone = zone_of(status.zone).key.replace("_", " ")

    def clock(at: Any) -> str:
        return clock_words(at, status.at, status.zone)

    lines: list[str] = []
    if state in (State.SLOW, State.DOWN):
        if len(troubled) == 1:
            service, trouble = troubled[0]
            headline = words(
                f"status_page.{trouble.state}", service=service.name, time=clock(trouble.began_at)
            )
            lines = _lines(trouble, status)
        else:
            headline = words("status_page.several", n=len(troubled))
            for service, trouble in troubled:
                first = words(
                    f"status_page.{trouble.state}",
                    service=service.name,
                    time=clock(trouble.began_at),
                )
                lines.append(" ".join([f"{first}.", *_lines(trouble, status)]))
    elif state is State.UNKNOWN:
        headline = (
            words("status_page.unknown", time=clock(known_at))
            if known_at
            else words("status_page.never")
        )
        lines = [words("status_page.unknown_body")] if known_at else []
    elif state is State.PLANNED:
        names = [one.name for one in status.services if one.state is State.PLANNED]
        headline = words("status_page.planned", services=", ".join(names))
    else:
        headline = words("status_page.working")
    return StatusView(
        slug=status.slug,
        title=status.title,
        intro=status.intro,
        kind=KINDS[state],
        headline=headline,
        lines=tuple(lines),
        services=tuple(
            _service(one, trouble, status, is_away=is_away) for one, trouble in services
        ),
        notes=tuple(
            Said(
                clock(note.posted_at),
                note.body,
                words("status_page.next", time=clock(note.next_update_at))
                if note.next_update_at and note.next_update_at > status.at
                else "",
            )
            for note in status.notes
        ),
        past=tuple(
            Said(
                words("status_page.past_from", begun=clock(p.began_at), ended=clock(p.ended_at)),
                words(
                    "status_page.past_one",
                    service=p.service,
                    length=length_words(p.ended_at - p.began_at),
                ),
                f"{p.headline}." if p.headline else "",
            )
            for p in status.problems
            if p.ended_at is not None and p.ended_at - p.began_at >= timedelta(minutes=1)
        ),
        planned=tuple(
            words(
                "status_page.work_one",
                services=", ".join(one.services),
                begins=clock(one.starts_at),
                ends=clock(one.ends_at),
            )
            for one in status.planned
        ),
        as_of=words("status_page.as_of", time=clock(known_at), zone=zone)
        if known_at
        else words("status_page.as_of_never", zone=zone),
        away=words("status_page.away", time=clock(status.at)) if is_away else "",
        is_indexed=status.is_indexed,
    )


def _trouble_of(service: Service, status: Status) -> Problem | None:
    """What is wrong with a service; of one that is not known, nothing is said to be."""
    found = next((p for p in status.open_problems if p.check_id == service.id), None)
    if service.state in (State.SLOW, State.DOWN):
        # What is written down comes some seconds after what was seen.
        return Problem(
            service=service.name,
            state=str(service.state),
            began_at=found.began_at if found else service.since,
            ended_at=None,
            headline=found.headline if found else "",
            still_works=found.still_works if found else "",
            is_in_hand=bool(found and found.is_in_hand),
            next_update_at=found.next_update_at if found else None,
        )
    return found if service.state is State.WORKING else None


def _state(status: Status, troubles: Sequence[Problem]) -> State:
    if troubles:
        is_down = any(one.state == State.DOWN for one in troubles)
        return State.DOWN if is_down else State.SLOW
    states = {one.state for one in status.services}
    if State.UNKNOWN in states or not states:
        return State.UNKNOWN
    return State.PLANNED if State.PLANNED in states else State.WORKING


def _lines(trouble: Problem, status: Status) -> list[str]:
    found = []
    if trouble.headline:
        found.append(f"{trouble.headline}.")
    if trouble.still_works:
        found.append(f"{trouble.still_works}.")
    found.append(words("status_page.on_it" if trouble.is_in_hand else "status_page.noticed"))
    if until := trouble.next_update_at:
        key = "status_page.next" if until > status.at else "status_page.late"
        found.append(words(key, time=clock_words(until, status.at, status.zone)))
    return found


def _service(
    service: Service, trouble: Problem | None, status: Status, *, is_away: bool
) -> ServiceLine:
    state = State(trouble.state) if trouble else service.state
    since = ""
    if is_away:
        state = State.UNKNOWN
    elif state is not State.WORKING and (service.checked_at or state is not State.UNKNOWN):
        begun = trouble.began_at if trouble else service.since
        since = words("status_page.since", time=clock_words(begun, status.at, status.zone))
    bad = marked_days(service)
    unknown = sum(1 for day in service.days if day.mark is Mark.NONE)
    said = [
        words("status_page.days_bad", n=len(bad)) if bad else words("status_page.days_good"),
        *([words("status_page.days_none", n=unknown)] if unknown else []),
    ]
    head = words("status_page.days", n=len(service.days))
    return ServiceLine(
        name=service.name,
        status=shell.Status(KINDS[state], words(f"status_page.state.{state}")),
        since=since,
        runs=_runs(service.days),
        days=f"{head}: {', '.join(said)}",
        trouble=tuple(_day(day) for day in bad),
    )


def _runs(days: Sequence[Day]) -> tuple[Run, ...]:
    runs, place = [], 0
    for mark, group in groupby(days, key=lambda day: day.mark):
        count = sum(1 for _ in group)
        runs.append(Run(str(mark), place, count))
        place += count
    return tuple(runs)


def _day(day: Day) -> str:
    name = f"{day.day:%a} {day.day.day} {day.day:%B}"
    slow, down = (length_words(timedelta(seconds=one)) for one in (day.slow, day.down))
    if day.mark is Mark.DOWN and day.slow >= 60:
        return words("status_page.day_both", day=name, down=down, slow=slow)
    if day.mark is Mark.DOWN:
        return words("status_page.day_down", day=name, length=down)
    return words("status_page.day_slow", day=name, length=slow)


def form_of(page: Row | None, name: str, choices: Sequence[Row]) -> SettingsForm:
    """The form as the page stands; for one that is not set up yet, what couples use."""
    if page is None:
        couples = tuple(one["id"] for one in choices if one["couple_facing"] and one["is_active"])
        return SettingsForm(suggest_slug(name), name[:LONGEST_TITLE], check_ids=couples)
    return SettingsForm(
        page["slug"],
        page["title"],
        page["intro"],
        page["is_public"],
        page["is_indexed"],
        tuple(page["check_ids"]),
    )


def lines_of_settings(form: SettingsForm, choices: Sequence[Row]) -> Lines:
    """What a form says, for two that are laid side by side."""
    shown = [row["display_name"] for row in choices if row["id"] in form.check_ids]
    return (*lines_of(form, LABELS), (str(words("status_set.shows")), ", ".join(shown)))


def choices_of(rows: Sequence[Row], form: SettingsForm) -> tuple[CheckChoice, ...]:
    """What the page may show, and what it does."""
    found = []
    for row in rows:
        notes = [
            *([words("status_set.couples")] if row["couple_facing"] else []),
            *([] if row["is_active"] else [words("status_set.paused")]),
        ]
        chosen = row["id"] in form.check_ids
        found.append(CheckChoice(row["id"], row["display_name"], ", ".join(notes), chosen))
    return tuple(found)


def read_settings(sent: Any, rows: Sequence[Row]) -> SettingsForm:
    """The form as typed, with the words beside each fault."""
    errors: dict[str, str] = {}
    slug = _text(sent, "slug").lower()
    title, intro = _text(sent, "title"), _text(sent, "intro")
    if not 1 <= len(title) <= LONGEST_TITLE:
        errors["title"] = words("status_set.title_wrong")
    if len(intro) > LONGEST_INTRO:
        errors["intro"] = words("status_set.intro_wrong")
    try:
        check_slug(slug)
    except NotValid:
        errors["slug"] = words("status_set.slug_wrong")
    chosen = set(sent.getall("show", []))
    # In the order of the list, so that the page keeps one.
    check_ids = tuple(row["id"] for row in rows if str(row["id"]) in chosen)
    is_public = "is_public" in sent
    if len(check_ids) != len(chosen) or len(check_ids) > MOST_CHECKS:
        errors["show"] = words("status_set.shows_wrong")
    elif is_public and not check_ids:
        errors["show"] = words("status_set.nothing")
    return SettingsForm(
        slug[:200], title[:1000], intro[:4000], is_public, "is_indexed" in sent, check_ids, errors
    )


def read_note(sent: Any) -> NoteForm:
    """What is to be said, as typed."""
    body = "\n".join(line.rstrip() for line in _text(sent, "body").splitlines())
    next_in = _text(sent, "next_in")
    error = "" if 1 <= len(body) <= LONGEST_NOTE else words("status_set.note_wrong")
    return NoteForm(body[:4000], next_in if next_in in PROMISES else "", error)


def promises() -> tuple[tuple[str, str], ...]:
    """When the next word may be promised."""
    return (
        ("", str(words("status_set.note_never"))),
        *((one, str(words("status_set.note_minutes", n=one))) for one in PROMISES),
    )


def people_of(rows: Sequence[Row], status_at: Any, zone: str) -> tuple[tuple[str, str], ...]:
    """Who gets mail: the address, and since when."""
    found = []
    for row in rows:
        at = row["confirmed_at"] or row["asked_at"]
        key = "status_set.confirmed" if row["confirmed_at"] else "status_set.unconfirmed"
        found.append((row["address"], str(words(key, time=clock_words(at, status_at, zone)))))
    return tuple(found)


def _text(sent: Any, name: str) -> str:
    value = sent.get(name)
    return value.strip() if isinstance(value, str) else ""
