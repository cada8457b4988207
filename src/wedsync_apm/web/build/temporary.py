"""A rota put aside for a while: the form into shifts. Pure."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from wedsync_apm.web.build.holding import read_wall
from wedsync_apm.web.build.people import People
from wedsync_apm.web.views.ladder import TemporaryForm, TemporaryLine
from wedsync_apm.web.words import say as words

LINES: Final = 4
MOST_LINES: Final = 50


def with_spare(form: TemporaryForm) -> TemporaryForm:
    """The form with empty lines at its end."""
    spare = max(2, LINES - len(form.lines))
    return replace(form, lines=(*form.lines, *(TemporaryLine() for _ in range(spare))))


def read_temporary(
    sent: Any, people: People, zone: str, now: datetime
) -> tuple[TemporaryForm, dict[str, Any]]:
    """The form as typed with the words beside each fault, and the values that it means."""
    typed = {
        name: str(sent.get(name) or "").strip()[:limit].replace("\x00", "")
        for name, limit in (("starts_at", 40), ("ends_at", 40), ("reason", 1000))
    }
    columns = [
        [str(one).strip()[:40] for one in sent.getall(name, [])][:MOST_LINES]
        for name in ("user_id", "from", "until")
    ]
    lines = tuple(TemporaryLine(*line) for line in zip(*columns, strict=False) if line[0])
    errors: dict[str, str] = {}
    starts, ends = read_wall(typed["starts_at"], zone), read_wall(typed["ends_at"], zone)
    for name, found in (("starts_at", starts), ("ends_at", ends)):
        if found is None:
            errors[name] = words("cover.time")
    if starts and ends and ends <= starts:
        errors["ends_at"] = words("cover.order")
    elif ends and ends <= now:
        errors["ends_at"] = words("cover.over")
    known = {str(one) for one in people.names}
    if not lines:
        errors["lines"] = words("temporary.none")
    elif not known.issuperset(line.user_id for line in lines):
        errors["lines"] = words("cover.person")
    shifts: list[dict[str, str]] = []
    if starts and ends and not errors:
        for line in lines:
            begins = read_wall(line.starts_at, zone) if line.starts_at else starts
            finishes = read_wall(line.ends_at, zone) if line.ends_at else ends
            if begins is None or finishes is None or not starts <= begins < finishes <= ends:
                errors["lines"] = words("temporary.outside")
                continue
            shifts.append(
                {
                    "user_id": line.user_id,
                    "starts_at": begins.isoformat(),
                    "ends_at": finishes.isoformat(),
                }
            )
    values: dict[str, Any] = {
        "starts_at": starts.isoformat() if starts else "",
        "ends_at": ends.isoformat() if ends else "",
        "reason": typed["reason"],
        "shifts": shifts,
        "shift_user_ids": [one["user_id"] for one in shifts],
        "shift_starts": [one["starts_at"] for one in shifts],
        "shift_ends": [one["ends_at"] for one in shifts],
    }
    return TemporaryForm(**typed, lines=lines, errors=errors), values
