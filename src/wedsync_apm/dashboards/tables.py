"""What a panel shows as a table of plain cells: for CSV, and for readers of tables. Pure."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from wedsync_apm.dashboards.answers import (
    Answer,
    Countdown,
    Heat,
    Lines,
    Number,
    Refused,
    Services,
    Table,
    Troubles,
)
from wedsync_apm.metrics.drawing import Point

Rows = list[Sequence[str]]


def table_of(answer: Answer, x: Sequence[float]) -> Rows:
    """A panel's cells, the names of its columns first; `x` are the instants of the dashboard."""
    match answer:
        case Lines():
            return _lines(answer, x)
        case Number():
            return [
                ["time", "value", "usual", "before", "unit"],
                [
                    _time(answer.at),
                    *map(_cell, (answer.value, answer.usual, answer.before)),
                    answer.unit,
                ],
            ]
        case Table():
            names = ["metric", "name", "function", "unit", "now", "usual", "lowest", "highest"]
            return [
                [*names, "before"],
                *(
                    [
                        *(one.metric, one.name, one.agg, one.unit),
                        *map(_cell, (one.now, one.usual, one.lowest, one.highest, one.before)),
                    ]
                    for one in answer.rows
                ),
            ]
        case Heat():
            heads = [
                f"{int(one):02}:00" if answer.is_by_hour else _time(one) for one in answer.columns
            ]
            return [["", *heads], *([one.name, *map(_cell, one.values)] for one in answer.rows)]
        case _:
            return _others(answer)


def _lines(answer: Lines, x: Sequence[float]) -> Rows:
    unit = f" ({answer.unit})" if answer.unit else ""
    heads = [
        f"{one.name or one.agg}{', before' if one.is_before else ''}{unit}" for one in answer.lines
    ]
    instants = answer.x if answer.x is not None else x
    return [
        ["time", *heads],
        *(
            [_time(at), *(_cell(one.values[n]) for one in answer.lines)]
            for n, at in enumerate(instants)
        ),
    ]


def _others(answer: Answer) -> Rows:
    match answer:
        case Services():
            return [
                ["service", "status", "checked_at", "response_time_ms"],
                *(
                    [one.name, one.status, one.checked_at or "", _cell(one.response_time_ms)]
                    for one in answer.services
                ),
            ]
        case Troubles():
            return [
                ["incident", "status", "severity", "detected_at", "resolved_at"],
                *(
                    [one.title, one.status, one.severity, one.detected_at, one.resolved_at or ""]
                    for one in answer.incidents
                ),
            ]
        case Countdown():
            return [["phase", "at", "time_zone"], [answer.phase, answer.at or "", answer.time_zone]]
        case Refused():
            return [["reason"], [answer.reason]]
    return [[]]


def write_csv(rows: Rows) -> str:
    """The cells as CSV; none of them is a formula to a spreadsheet."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([safe_cell(one) for one in row] for row in rows)
    return out.getvalue()


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula. A number stays one."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        try:
            float(text)
        except ValueError:
            return f"'{text}"
    return text


def _time(at: float | None) -> str:
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _cell(value: Point) -> str:
    return "" if value is None else repr(value)
