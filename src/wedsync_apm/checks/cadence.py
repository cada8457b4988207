"""How often a service is looked at: the nearer a wedding, the oftener. Pure.

A check's own interval is what it asks for on a quiet day; nothing here makes it longer. For what a
wedding hangs on the calendar and the platform's guard mode shorten it to these:

| when | at least every |
|---|---|
| a wedding within 30 days | 5 min |
| within 7 days | 1 min |
| within 24 hours, or the platform's enhanced guard | 30 s |
| the platform's maximum guard | 15 s |
| under way | 10 s |

Anything else is looked at six times less often than that.
"""

from datetime import timedelta
from typing import Final

from wedsync_apm.checks.model import Moment

UNDER_WAY: Final = timedelta(seconds=10)
OTHERS_FACTOR: Final = 6
HORIZON: Final = timedelta(days=30)
_NEAR: Final = (
    (timedelta(hours=24), timedelta(seconds=30)),
    (timedelta(days=7), timedelta(minutes=1)),
    (HORIZON, timedelta(minutes=5)),
)
_GUARDS: Final = {"enhanced": timedelta(seconds=30), "maximum": timedelta(seconds=15)}


def effective_interval(
    interval: timedelta, moment: Moment, guard: str = "normal", *, wedding_critical: bool
) -> timedelta:
    """How often a check is made now; `guard` is the platform's guard mode."""
    asked = [_GUARDS[guard]] if guard in _GUARDS else []
    if moment.is_wedding:
        asked.append(UNDER_WAY)
    elif moment.starts_in is not None:
        asked.extend(every for ahead, every in _NEAR if moment.starts_in <= ahead)
    if not asked:
        return interval
    return min(interval, min(asked) * (1 if wedding_critical else OTHERS_FACTOR))
