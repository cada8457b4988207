"""Charts."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "charts.title": "Charts",
    "charts.sub": "{zone} time. Limits are those of your rules.",
    "charts.range": "How far back",
    "charts.table": "Show as a table",
    "charts.csv": "Save as CSV",
    "charts.back": "Back to the charts",
    "charts.caption": "{function}, {window}, {zone} time",
    "charts.now": "{figure} now, usually {usual}.",
    "charts.now_limit": "{figure} now, usually {usual}, limit {limit}.",
    "charts.old": "No sample since {time}.",
    "charts.none": "No sample in this range.",
    "charts.empty": "No figures yet.",
    "charts.empty_body": "As soon as samples arrive, each of your metrics has a chart here.",
    "charts.noscript": "The curve needs scripts; the table has every value.",
    "charts.limit": "limit {figure}",
    "charts.limit_today": "today's limit {figure}",
    "charts.filter": "Show",
    "charts.usual": "usually {figure}",
    "charts.every": "All",
    "function.avg": "average",
    "function.min": "lowest",
    "function.max": "highest",
    "function.sum": "sum",
    "function.count": "number of samples",
    "function.last": "last value",
    "function.rate": "per second",
    "function.p50": "middle value",
    "function.p95": "slowest 1 in 20",
    "function.p99": "slowest 1 in 100",
    "charts.time": "Time",
}
