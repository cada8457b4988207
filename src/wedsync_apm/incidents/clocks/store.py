"""The clocks of live incidents in the database, as the engine runs them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

AT_ONCE: Final = 200
"""Incidents of one statement; the rest follows in the next run."""
NO_WORD: Final = "no word came in time"


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a hold lasts without a word, and by when there is to be an update; None: for ever,
    or not promised."""

    wedding_hold: timedelta | None
    ordinary_hold: timedelta | None
    wedding_promise: timedelta | None
    ordinary_promise: timedelta | None


async def write_terms(cx: Connection, terms: Terms) -> None:
    """Makes the settings known to the database."""
    await cx.execute(
        Q.write_terms,
        {
            "wedding_hold": terms.wedding_hold,
            "ordinary_hold": terms.ordinary_hold,
            "wedding_promise": terms.wedding_promise,
            "ordinary_promise": terms.ordinary_promise,
        },
    )


async def expire_acknowledgements(cx: Connection, at: datetime) -> int:
    """Opens what nobody said a word about in time; its ladder starts anew. Returns how many."""
    await cx.execute(Q.set_acting, {"at": at, "note": NO_WORD})
    expired = (await cx.execute(Q.expire_acknowledgements, {"at": at, "limit": AT_ONCE})).rowcount
    await cx.execute(Q.set_acting, {"at": at, "note": ""})
    return expired


async def warn_holders(cx: Connection, at: datetime) -> int:
    """Tells holders that their time is nearly over; returns how many incidents."""
    await cx.execute(Q.set_acting, {"at": at, "note": ""})
    return (await cx.execute(Q.warn_holders, {"at": at, "limit": AT_ONCE})).rowcount


async def miss_promises(cx: Connection, at: datetime) -> int:
    """Tells of promised updates that did not come; returns how many incidents."""
    await cx.execute(Q.set_acting, {"at": at, "note": ""})
    return (await cx.execute(Q.miss_promises, {"at": at, "limit": AT_ONCE})).rowcount


async def keep_current(cx: Connection, at: datetime) -> int:
    """Which weddings live incidents hit at `at`; returns how many have changed."""
    return (await cx.execute(Q.keep_current, {"at": at})).rowcount


async def join_weddings(cx: Connection, at: datetime, *, vendors: int, within: timedelta) -> int:
    """Makes one incident of the platform of what befalls `vendors` or more of one wedding within
    so long; returns how many parts were added."""
    rows = await cx.execute(Q.join_weddings, {"at": at, "vendors": vendors, "within": within})
    row = await rows.fetchone()
    return int(row["joined"]) if row else 0
