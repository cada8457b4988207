"""Climbs the ladders that are due, and calls the platform's people where nobody answers."""

from datetime import datetime

from wedsync_apm.db.pool import Connection
from wedsync_apm.engine import store
from wedsync_apm.escalation import store as escalation
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

CLIMBED = Counter("wedsync_apm_escalation_steps_total", "Rungs climbed, over all ladders.")
TOLD = Counter("wedsync_apm_escalation_told_total", "Messages put in the outbox by ladders.")
UNHEARD = Counter(
    "wedsync_apm_escalation_unheard_total", "Incidents that nobody answered or could be told of."
)

MOST_PASSED = 50
"""As many steps as a ladder has at most."""


async def run_once(cx: Connection, at: datetime) -> str:
    """One run."""
    climbs = []
    if await store.has_due_steps(cx, at):
        climbs = await escalation.climb_due_steps(cx, at)
        # What does not count now makes way for the next rung at once, not in the next round.
        latest = climbs
        for _ in range(MOST_PASSED):
            if not any(climb.is_passed and climb.next_at == at for climb in latest):
                break
            latest = await escalation.climb_due_steps(cx, at)
            climbs += latest
    for climb in climbs:
        if climb.is_unheard:
            log.error(
                "Nobody answers an incident, or nobody could be told of it",
                extra={
                    "action": "escalate",
                    "organization_id": str(climb.organization_id),
                    "incident_id": str(climb.incident_id),
                    "state": climb.state,
                },
            )
    answered = await escalation.resolve_answered_ladders(cx, at)
    told = sum(climb.told for climb in climbs)
    TOLD.inc(told)
    UNHEARD.inc(sum(climb.is_unheard for climb in climbs))
    CLIMBED.inc(len(climbs))
    return f"{len(climbs)} climbed, {told} told, {answered} answered"
