"""Who is watched and the first steps, in the database."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.errors import FieldError, NotFound, NotValid
from wedsync_apm.organizations.monitoring.model import (
    CARD,
    PERSONAL,
    Business,
    Counts,
    FirstSteps,
    Listing,
    Monitoring,
    Outcome,
    Place,
    Step,
    StepName,
    StepState,
    Wanted,
    place_of,
)

Q = load_queries(__package__)

NEAR_DAYS: Final = 14
"""A wedding within so many days is near."""
AT_ONCE: Final = 500
SHORTEST_REASON: Final = 3
LONGEST_REASON: Final = 1000
LONGEST_GROUP: Final = 100


async def read_first_steps(cx: Connection, organization_id: UUID, user_id: UUID) -> FirstSteps:
    """The caller's first steps at a business of his. Raises NotFound."""
    values = {"organization_id": organization_id, "user_id": user_id}
    rows = await (await cx.execute(Q.list_first_steps, values)).fetchall()
    if not rows:
        raise NotFound("There is no such organization.")
    return FirstSteps(
        tuple(
            Step(StepName(row["step"]), StepState(row["state"]), row["code"], row["detail"])
            for row in rows
        ),
        is_watched=rows[0]["is_watched"],
        is_card_put_away=rows[0]["is_card_put_away"],
    )


async def skip_step(
    cx: Connection, organization_id: UUID, step: StepName, user_id: UUID, reason: str = ""
) -> None:
    """Leaves a step out: a personal one for oneself, another for the business (its admins)."""
    await cx.execute(Q.skip_step, _skip(organization_id, step, user_id) | {"reason": reason[:300]})


async def take_up_step(
    cx: Connection, organization_id: UUID, step: StepName, user_id: UUID
) -> None:
    """Wants it after all."""
    await cx.execute(Q.take_up_step, _skip(organization_id, step, user_id))


async def put_card_away(cx: Connection, organization_id: UUID, user_id: UUID) -> None:
    """Takes the card off the caller's Today."""
    values = {"organization_id": organization_id, "step": CARD, "user_id": user_id, "reason": ""}
    await cx.execute(Q.skip_step, values)


async def show_card_again(cx: Connection, organization_id: UUID, user_id: UUID) -> None:
    """Puts it back."""
    values = {"organization_id": organization_id, "step": CARD, "user_id": user_id}
    await cx.execute(Q.take_up_step, values)


def _skip(organization_id: UUID, step: StepName, user_id: UUID) -> dict[str, Any]:
    return {
        "organization_id": organization_id,
        "step": step,
        "user_id": user_id if step in PERSONAL else None,
    }


async def list_set_up(
    cx: Connection, wanted: Wanted, *, limit: int, after: Place | None = None
) -> Listing:
    """A page of all organizations, for operators: worst first."""
    rows = await (
        await cx.execute(
            Q.list_set_up,
            {
                "near_days": NEAR_DAYS,
                "state": wanted.state,
                "is_set_up": wanted.is_set_up,
                "group_name": wanted.group_name,
                "is_near": wanted.is_near,
                "name": wanted.name.strip()[:100],
                "after_rank": after.rank if after else None,
                "after_next_on": after.next_on if after else None,
                "after_id": after.organization_id if after else None,
                "limit": limit + 1,
            },
        )
    ).fetchall()
    counts = Counts()
    found: list[Business] = []
    for row in rows:
        counts = Counts(
            all=row.pop("all_count"),
            set_up=row.pop("set_up_count"),
            off=row.pop("off_count"),
            beta=row.pop("beta_count"),
            near_not_set_up=row.pop("near_count"),
        )
        if row["organization_id"] is not None:
            steps = tuple(StepName(step) for step in row.pop("open_steps"))
            state = Monitoring(row.pop("state"))
            found.append(Business(**row, state=state, open_steps=steps))
    listing = Listing(counts, found[:limit])
    return replace(listing, following=place_of(found[limit - 1])) if len(found) > limit else listing


async def switch_monitoring(
    cx: Connection,
    organization_ids: Sequence[UUID],
    state: Monitoring,
    *,
    reason: str,
    group_name: str | None = None,
    is_near_ok: bool = False,
) -> dict[UUID, Outcome]:
    """Switches organizations, and says what came of it for each. `group_name` puts them into a
    group, or with '' out of theirs. Raises NotValid, and Forbidden for anybody but an operator."""
    _check(reason, group_name)
    came: dict[UUID, Outcome] = {}
    ids = list(dict.fromkeys(organization_ids))
    for start in range(0, len(ids), AT_ONCE):
        rows = await cx.execute(
            Q.switch_monitoring,
            {
                "organization_ids": ids[start : start + AT_ONCE],
                "state": state,
                "group_name": group_name.strip() if group_name is not None else None,
                "reason": reason.strip(),
                "is_near_ok": is_near_ok,
            },
        )
        for row in await rows.fetchall():
            came[row["organization_id"]] = Outcome(row["outcome"])
    return came


async def set_default(cx: Connection, state: Monitoring, *, reason: str) -> int:
    """What organizations to come begin with; how many got what they had written down by it."""
    _check(reason, None)
    values = {"state": state, "reason": reason.strip()}
    row = await (await cx.execute(Q.set_default, values)).fetchone()
    return int(row["kept"]) if row else 0


async def find_default(cx: Connection) -> Monitoring | None:
    """What organizations to come begin with; None for anybody but an operator."""
    row = await (await cx.execute(Q.find_default)).fetchone()
    return Monitoring(row["state"]) if row and row["state"] else None


async def list_groups(cx: Connection) -> list[dict[str, Any]]:
    """The groups by name, with how many are in each state."""
    return await (await cx.execute(Q.list_groups)).fetchall()


async def list_group_members(cx: Connection, group_name: str) -> list[UUID]:
    """Who is in a group."""
    rows = await cx.execute(Q.list_group_members, {"group_name": group_name})
    return [row["organization_id"] for row in await rows.fetchall()]


async def name_actor(cx: Connection, name: str) -> None:
    """What the log calls a command on the server."""
    await cx.execute(Q.name_actor, {"name": name})


def _check(reason: str, group_name: str | None) -> None:
    errors = []
    if not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON:
        errors.append(FieldError("reason", "say why, in 3 to 1,000 characters"))
    if group_name is not None and len(group_name.strip()) > LONGEST_GROUP:
        errors.append(FieldError("group_name", "at most 100 characters"))
    if errors:
        raise NotValid(errors=errors)
