"""Which labels, values and series there are: `labels`, `label/…/values`, `series`, `metadata`.

A series is listed as long as any of its samples is kept. `start` leaves out those that have had no
sample since; when a series was last seen is known to some hours.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from wedsync_apm.api.prometheus.answers import CUT, success
from wedsync_apm.api.prometheus.asked import Asked
from wedsync_apm.api.prometheus.expressions import organization_of
from wedsync_apm.api.prometheus.parameters import BadParameter, Parameters
from wedsync_apm.api.requests import choose
from wedsync_apm.clock import to_datetime
from wedsync_apm.db.tenant import tenant_tx
from wedsync_apm.errors import Forbidden
from wedsync_apm.metrics.expression import store
from wedsync_apm.metrics.expression.parsing import parse_selector
from wedsync_apm.metrics.expression.platform import list_for_platform
from wedsync_apm.metrics.expression.selection import select
from wedsync_apm.metrics.expression.syntax import Leaf, NotAnswered
from wedsync_apm.metrics.expression.vectors import Labels
from wedsync_apm.organizations.identity import actor_of
from wedsync_apm.organizations.model import Identity
from wedsync_apm.organizations.store import find_standing

SEEN_WITHIN: Final = timedelta(hours=5)
"""How much later than is noted a series may have been seen."""
_FEW: Final = 1_000
"""Series that are put in order in the event loop."""
_FIRST_MS: Final = 0
_LAST_MS: Final = 2**43
_PROMETHEUS_TYPES: Final = frozenset(("counter", "gauge", "histogram", "summary"))


async def labels(asked: Asked) -> bytes:
    """The names of labels."""
    selectors = _selectors(asked.parameters)
    if selectors:
        found = await _matching(asked, selectors)
        return _listed(asked.parameters, {name for one in found for name in one})
    return await _told(asked, None)


async def values(name: str, asked: Asked) -> bytes:
    """The values of a label."""
    selectors = _selectors(asked.parameters)
    if selectors:
        found = await _matching(asked, selectors)
        return _listed(asked.parameters, {one[name] for one in found if name in one})
    return await _told(asked, name)


async def series(asked: Asked) -> bytes:
    """The labels of series."""
    selectors = _selectors(asked.parameters)
    if not selectors:
        raise BadParameter("no match[] parameter provided")
    found = await _matching(asked, selectors)

    def write() -> bytes:
        return _cut(asked.parameters, sorted(found, key=lambda one: sorted(one.items())))

    return write() if len(found) < _FEW else await asyncio.to_thread(write)


async def metadata(asked: Asked) -> bytes:
    """The type and the unit of each metric; nobody keeps its help text."""
    parameters = asked.parameters
    wanted, limit = parameters.get("metric"), parameters.limit
    _refuse_platform(asked.identity)
    async with tenant_tx(asked.services.pool, actor_of(asked.identity)) as cx:
        owner = choose(await find_standing(cx), asked.parameters.organization_id)
        kinds = await store.list_metric_kinds(cx, owner, wanted)
    most = parameters.whole("limit_per_metric") or None
    found: dict[str, list[dict[str, str]]] = {}
    for kind in kinds:
        if limit is not None and kind.metric_name not in found and len(found) == limit:
            break
        those = found.setdefault(kind.metric_name, [])
        if most is None or len(those) < most:
            known = kind.metric_type if kind.metric_type in _PROMETHEUS_TYPES else "unknown"
            those.append({"type": known, "help": "", "unit": kind.unit})
    return success(found)


async def _told(asked: Asked, label: str | None) -> bytes:
    """All names of labels of an organization, or all values of one: the database finds them."""
    _refuse_platform(asked.identity)
    since = _since(asked.parameters)
    async with tenant_tx(asked.services.pool, actor_of(asked.identity)) as cx:
        owner = choose(await find_standing(cx), asked.parameters.organization_id)
        if label is None:
            found = await store.list_label_names(cx, owner, since)
        else:
            found = await store.list_label_values(cx, owner, label, since)
    return _listed(asked.parameters, set(found))


async def _matching(
    asked: Asked,
    selectors: Sequence[Leaf],
) -> list[Labels]:
    """The labels of the series that any of the selectors means."""
    matchers = [one.matchers for one in selectors]
    since = _since(asked.parameters)
    async with tenant_tx(asked.services.pool, actor_of(asked.identity)) as cx:
        if asked.identity.is_platform:
            if not await store.note_platform_read(cx, " ".join(asked.parameters.all("match"))):
                raise Forbidden("This key may not read samples.")
            return await list_for_platform(cx, matchers)
        owner = choose(await find_standing(cx), organization_of(asked.parameters, *selectors))
        listed = await store.list_series(cx, owner, matchers, since)
    chosen = {one.id: one.labels for selector in matchers for one in select(listed, selector)}
    return list(chosen.values())


def _selectors(parameters: Parameters) -> list[Leaf]:
    return [Leaf(parse_selector(text)) for text in parameters.all("match")]


def _since(parameters: Parameters) -> datetime | None:
    """Since when a series must have been seen; the end, too, must be a time."""
    first, _ = (
        None if parameters.get(name) is None else parameters.time_ms(name)
        for name in ("start", "end")
    )
    if first is None:
        return None
    return to_datetime(min(max(first, _FIRST_MS), _LAST_MS)) - SEEN_WITHIN


def _refuse_platform(identity: Identity) -> None:
    if identity.is_platform:
        raise NotAnswered("over all organizations, say which series are meant: match[]=…")


def _listed(parameters: Parameters, found: set[str]) -> bytes:
    return _cut(parameters, sorted(found))


def _cut(parameters: Parameters, found: Sequence[Any]) -> bytes:
    limit = parameters.limit
    if limit is None or len(found) <= limit:
        return success(found)
    return success(found[:limit], warnings=[CUT])
