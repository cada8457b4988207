"""The samples behind the points of a panel, as they came."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from wedsync_apm.dashboards.model import Document, Panel, figures_in
from wedsync_apm.dashboards.variables import choose, filled
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import NotValid
from wedsync_apm.metrics.ranges import name_splits
from wedsync_apm.metrics.reading.store import read_samples
from wedsync_apm.metrics.store import find_many_series


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample; `metric` is written `service.metric`."""

    at: datetime
    value: float
    unit: str | None
    metric: str
    tags: Mapping[str, str]


async def read_behind(
    cx: Connection,
    organization_id: UUID,
    document: Document,
    panel: Panel,
    *,
    asked: Mapping[str, str],
    look: tuple[datetime, datetime],
    most: int,
) -> list[Sample]:
    """The samples of [from, to) that a panel's figures are made of, the oldest first."""
    chosen = choose(document.variables, asked)
    wanted = []
    for figure in (filled(one, chosen) for one in figures_in(panel)):
        try:
            wanted.append((name_splits(figure.metric), figure.tags))
        except NotValid:
            continue
    if not wanted:
        return []
    found = await find_many_series(cx, organization_id, wanted)
    series = {one.id: one for several in found for one in several}
    begin, end = (round(one.timestamp() * 1000) for one in look)
    line = await read_samples(cx, organization_id, begin, end, list(series))
    rows = zip(line.at_ms.tolist(), line.series.tolist(), line.values.tolist(), strict=True)
    return [
        Sample(
            datetime.fromtimestamp(at / 1000, UTC),
            value,
            series[one].shown_unit,
            series[one].metric,
            {key: str(tag) for key, tag in series[one].tags.items()},
        )
        for at, one, value in sorted(rows)[:most]
    ]
