"""Events on their way in: for whom, how many, and kept before the sender is answered."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from wedsync_apm.annotations import store
from wedsync_apm.annotations.model import ALERT_TYPES, PRIORITIES, Annotation
from wedsync_apm.db.pool import Pool, wrap_database_errors
from wedsync_apm.errors import RateLimited
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused, SampleColumns, read_tenant
from wedsync_apm.ingest.foreign_json import is_text
from wedsync_apm.ingest.limits import Budget, SampleBudget
from wedsync_apm.ingest.model import Arrival

EVENTS_PER_SECOND: Final = 0.2
"""Of an organization."""
EVENTS_AT_ONCE: Final = 1_000.0

_AS_ANNOTATION: Final = {"user_update": "info", "recommendation": "info", "snapshot": "info"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a protocol says of an event; empty where it says nothing."""

    title: str
    text: str
    at_ms: int
    tags: Mapping[str, str]
    alert_type: str = ""
    priority: str = ""
    host: str = ""
    aggregation_key: str = ""


def annotation_of(event: Event, arrival: Arrival, columns: SampleColumns) -> Annotation:
    """The event as it is kept, for the organization that sends or names itself in the tags.

    Raises Refused. An alert type or a priority that nobody knows is `info`, or `normal`.
    """
    tags = dict(event.tags)
    organization_id = arrival.grant.organization_id
    if organization_id is None:
        label = model.ORGANIZATION_LABEL
        organization_id = read_tenant(f"tags.{label}", tags.pop(label, None))
    columns.check_time(event.at_ms)
    kind = _AS_ANNOTATION.get(event.alert_type, event.alert_type)
    annotation = Annotation(
        organization_id=organization_id,
        occurred_at=datetime.fromtimestamp(event.at_ms / 1000, UTC),
        title=event.title,
        text=event.text,
        alert_type=kind if kind in ALERT_TYPES else "info",
        priority=event.priority if event.priority in PRIORITIES else "normal",
        host=event.host,
        aggregation_key=event.aggregation_key,
        tags=tags,
    )
    if not is_text(event.title, event.text, event.host, event.aggregation_key, *tags):
        raise Refused(model.INVALID, "title", "or another text is not UTF-8")
    if not is_text(*tags.values()):
        raise Refused(model.INVALID, "tags", "are not UTF-8")
    problem = annotation.problem()
    if problem is not None:
        raise Refused(model.INVALID, *problem)
    about_tags = arrival.limits.problem_with_series("event", "event", tags.items())
    if about_tags is not None:
        raise Refused(model.INVALID, about_tags.field, about_tags.reason)
    return annotation


@dataclass(frozen=True, slots=True)
class NotKept:
    """Why the events of one organization were not kept."""

    refused: Refused
    retry_after: float | None = None
    """Seconds; None if another try would change nothing."""


Annotate = Callable[[str, Sequence[Annotation]], Awaitable[Mapping[UUID, NotKept]]]
"""Keeps events of a source; gives the organizations of which none was kept. Raises
DatabaseAway."""


class Annotator:
    """One per process."""

    def __init__(self, pool: Pool, budget: Budget | None = None) -> None:
        self._pool = pool
        self._budget = budget or SampleBudget(EVENTS_PER_SECOND, EVENTS_AT_ONCE)

    async def __call__(
        self, source: str, annotations: Sequence[Annotation]
    ) -> Mapping[UUID, NotKept]:
        """As `Annotate` says."""
        not_kept: dict[UUID, NotKept] = {}
        for organization_id, count in Counter(one.organization_id for one in annotations).items():
            if wait := self._budget.take(organization_id, count):
                not_kept[organization_id] = NotKept(_TOO_MANY, wait)
        within = [one for one in annotations if one.organization_id not in not_kept]
        if within:
            with wrap_database_errors():
                async with self._pool.connection() as cx:
                    known = await store.note_annotations(cx, source, within)
            unknown = {one.organization_id for one in within} - known
            not_kept |= dict.fromkeys(unknown, NotKept(_UNKNOWN))
        return not_kept


async def keep(
    annotate: Annotate,
    source: str,
    found: Sequence[tuple[int | None, Annotation]],
    columns: SampleColumns,
    *,
    may_wait: bool,
) -> None:
    """Keeps events with their places in the request, and counts those that are not kept.

    Raises RateLimited, where the sender can be told to wait, and DatabaseAway.
    """
    not_kept = await annotate(source, [one for _, one in found]) if found else {}
    for position, one in found:
        why = not_kept.get(one.organization_id)
        if why is None:
            continue
        if may_wait and why.retry_after is not None:
            raise RateLimited(f"{why.refused}; none of these was kept.", why.retry_after)
        columns.refuse(why.refused, position=position, organization_id=one.organization_id)


_TOO_MANY: Final = Refused(
    model.RATE_LIMIT, "event", f"is one of more than {EVENTS_PER_SECOND:g} a second"
)
_UNKNOWN: Final = Refused(
    model.UNKNOWN_ORGANIZATION, model.ORGANIZATION_LABEL, "names no organization that exists"
)
