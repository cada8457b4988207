"""Silences and planned work: what fits together, and what has been seen. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from wedsync_apm.errors import FieldError, NotValid

MOST_WEEKS: Final = 4
"""Planned work comes at least every so many weeks."""
_ONCE: Final = ("starts_at", "ends_at")
_AGAIN: Final = ("weekdays", "starts_time", "ends_time", "time_zone")


def check_span(starts_at: datetime | None, ends_at: datetime) -> None:
    """Raises NotValid for a time without its offset, and for an end that is not after the start."""
    for name, value in (("starts_at", starts_at), ("ends_at", ends_at)):
        if value is not None and value.tzinfo is None:
            raise NotValid(errors=[FieldError(name, "needs its offset, like 2026-06-20T14:00:00Z")])
    if starts_at is not None and ends_at <= starts_at:
        raise NotValid(errors=[FieldError("ends_at", "needs to lie after starts_at")])


def check_plan(values: Mapping[str, Any]) -> None:
    """Raises NotValid for planned work that is neither once nor recurring, or is both."""
    once = [values.get(name) is not None for name in _ONCE]
    again = [values.get(name) is not None for name in _AGAIN]
    bounds = [values.get(name) is not None for name in ("first_day", "last_day")]
    is_once = all(once) and not any(again) and not any(bounds)
    is_recurring = all(again) and not any(once)
    if not is_once and not is_recurring:
        reason = (
            "needs starts_at and ends_at, or weekdays, starts_time, ends_time and time_zone, "
            "and not of both"
        )
        raise NotValid(errors=[FieldError("body", reason)])
    if is_once:
        check_span(values["starts_at"], values["ends_at"])
    if all(bounds) and values["last_day"] < values["first_day"]:
        raise NotValid(errors=[FieldError("last_day", "lies before first_day")])
    if values.get("every_weeks", 1) != 1 and not bounds[0]:
        raise NotValid(
            errors=[FieldError("first_day", "is needed, for the weeks are counted from it")]
        )


def seen_mark(matchers: Iterable[Mapping[str, str]], weddings: Iterable[UUID | str]) -> str:
    """What somebody has seen before he says yes: what it is about, and the weddings in the way.

    Another mark says that he has to look again; it is no secret and protects nothing.
    """
    seen = [[dict(one) for one in matchers], sorted(str(one) for one in weddings)]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]
