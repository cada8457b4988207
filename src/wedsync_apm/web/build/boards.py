"""Dashboards as pages: the frame around the panels, and the data of their drawings. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from wedsync_apm.dashboards.answers import Answer, Lines
from wedsync_apm.dashboards.data import Data
from wedsync_apm.dashboards.model import Compare, Document, Span, Variable
from wedsync_apm.dashboards.tables import table_of
from wedsync_apm.dashboards.window import Shown
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.web import say
from wedsync_apm.web.build.board_panels import Reader, build_panel, limit_words
from wedsync_apm.web.build.charts import function_words
from wedsync_apm.web.build.weddings import phase_name
from wedsync_apm.web.views.board import (
    BoardLine,
    BoardTable,
    BoardView,
    Choice,
    Offer,
)
from wedsync_apm.web.views.chart import Option
from wedsync_apm.web.words import say as words

Row = Mapping[str, Any]
MOST_FAULTS: Final = 12


def window_words(shown: Shown, now: datetime, zone: str) -> str:
    """The time that is shown, in words."""
    if shown.span is not None:
        return words(f"board.window.{shown.span.value}")
    gaps = {"from": say.when(shown.begin, now, zone), "to": say.when(shown.end, now, zone)}
    return words("board.window.fixed", **gaps)


def build_board(
    row: Row,
    document: Document,
    reader: Reader,
    *,
    names: Sequence[Row],
    values: Mapping[str, tuple[str, ...]],
    may_edit: bool,
) -> BoardView:
    """The page. `values` are those of the tags that variables stand for."""
    data = reader.data
    shown = data.shown
    panels = tuple(build_panel(panel, reader) for panel in document.panels)
    query = dict(reader.query)
    return BoardView(
        id=row["id"],
        title=document.name,
        sub=document.description,
        ranges=tuple(
            Option(
                words(f"board.span.{one.value}"), _with(reader, span=one.value), shown.span is one
            )
            for one in Span
        ),
        compares=tuple(
            Option(
                words(f"board.compare.{one.value}"),
                _with(reader, compare=one.value),
                shown.compare is one,
            )
            for one in Compare
        ),
        compared=compared_words(data, reader),
        choices=tuple(
            _choice(one, data.material.chosen[one.name], values.get(one.tag, ()))
            for one in document.variables
        ),
        kept=tuple((key, value) for key, value in query.items() if not key.startswith("var.")),
        panels=panels,
        others=tuple(
            Option(one["name"], f"/dashboards/{one['id']}", one["id"] == row["id"]) for one in names
        ),
        may_edit=may_edit,
        is_kiosk=query.get("kiosk") == "1",
        share=reader.url("/share"),
        pdf=reader.url("/image.pdf"),
        png=reader.url("/image.png"),
        mails=reader.url("/mails"),
        kiosk=_with(reader, kiosk="" if query.get("kiosk") == "1" else "1"),
    )


def _with(reader: Reader, **more: str) -> str:
    query = {key: value for key, value in {**reader.query, **more}.items() if value}
    return reader.home + (f"?{urlencode(query)}" if query else "")


def compared_words(data: Data, reader: Reader) -> str:
    """With which earlier time the present one is compared."""
    material = data.material
    if material.back is None:
        wanted = data.shown.compare is Compare.LAST_WEDDING
        return words("board.no_wedding") if wanted else ""
    then = say.when(reader.now - material.back, reader.now, reader.zone)
    return words("board.compared", when=then)


def _choice(variable: Variable, chosen: str, found: Sequence[str]) -> Choice:
    offered = [(one, one) for one in variable.values or found]
    if variable.tag:
        offered = [("", str(words("board.all"))), *offered]
        if chosen and chosen not in found:
            offered.append((chosen, chosen))
    label = variable.label or say.sentence(say.noun(variable.name))
    options = tuple((value, shown, value == chosen) for value, shown in offered)
    return Choice(variable.name, label, options)


def build_feed(document: Document, reader: Reader) -> dict[str, Any]:
    """What the drawings of all panels need; `frame` holds what they have in common."""
    data, shown = reader.data, reader.data.shown
    bands = [
        {"begins": one.begins, "ends": one.ends, "name": phase_name(one.name)}
        for one in data.bands
        if one.name != "set_up"
    ]
    ticks = [{"at": one.at, "name": one.name, "kind": one.kind} for one in data.ticks]
    panels = {}
    for panel in document.panels:
        answer = data.panels[panel.key]
        if isinstance(answer, Lines):
            panels[panel.key] = _drawing(answer, reader, bands, ticks)
    return {
        "frame": {
            "zone": reader.zone,
            "begins": shown.begin.timestamp(),
            "ends": shown.end.timestamp(),
            "now": reader.now.timestamp(),
            "step": shown.step.total_seconds(),
            "x": data.instants,
            "is_plain": reader.is_plain,
        },
        "panels": panels,
    }


def _drawing(
    answer: Lines, reader: Reader, bands: list[dict[str, Any]], ticks: list[dict[str, Any]]
) -> dict[str, Any]:
    lines = []
    for line in answer.lines:
        name = line.name or str(function_words(Aggregation(line.agg)))
        said = f"{name}, {words('board.before')}" if line.is_before else name
        lines.append({"name": said, "values": line.values, "is_before": line.is_before})
    agg = answer.lines[0].agg if answer.lines else ""
    known = [v for line in answer.lines for v in line.values if v is not None]
    drawing = {
        "unit": answer.unit,
        "style": answer.style,
        "lines": lines,
        "more": answer.more,
        "limits": [
            {"value": one.value, "words": limit_words(one, agg, answer.unit, reader)}
            for one in answer.limits
        ],
        "bands": bands if answer.has_phases else [],
        "ticks": ticks if answer.has_events else [],
        "is_share": answer.unit in ("%", "percent", "ratio") and bool(known) and min(known) > 90,
    }
    if answer.x is not None:
        drawing |= {"x": answer.x, "step": answer.step}
    return drawing


def build_list(rows: Sequence[Row], now: datetime, zone: str) -> tuple[BoardLine, ...]:
    """The dashboards of a business."""
    return tuple(
        BoardLine(
            f"/dashboards/{row['id']}",
            row["name"],
            row["description"],
            ", ".join(
                [
                    *([str(words("boards.default"))] if row["is_default"] else []),
                    words("boards.panels", n=row["panels"]),
                    words(
                        "boards.changed",
                        name=row["changed_by"],
                        time=say.when(row["updated_at"], now, zone),
                    ),
                ]
            ),
        )
        for row in rows
    )


def build_offers(
    keys: Sequence[str], known: Mapping[str, Document], rows: Sequence[Row]
) -> tuple[Offer, ...]:
    """The templates that are not there yet, by name or by what they were made from."""
    there = {row["template_key"] for row in rows} | {row["name"] for row in rows}
    return tuple(
        Offer(key, known[key].name, known[key].description)
        for key in keys
        if key not in there and known[key].name not in there
    )


def build_table(title: str, answer: Answer, reader: Reader, key: str) -> BoardTable:
    """The figures behind a panel, the newest first; each time leads to its samples."""
    data = reader.data
    columns, *cells = table_of(answer, data.instants)
    rows: list[tuple[str, ...]] = [tuple(one) for one in cells]
    links: tuple[str, ...] = ()
    if isinstance(answer, Lines):
        instants = answer.x if answer.x is not None else data.instants
        known = [
            (at, (reader.clock(at), *(_told(one, answer.unit, reader) for one in row[1:])))
            for at, row in zip(instants, cells, strict=True)
            if any(row[1:])
        ]
        rows = [row for _, row in reversed(known)]
        step = f"{answer.step or data.shown.step.total_seconds():.0f}"
        links = tuple(
            reader.url(f"/panels/{key}/samples", at=f"{at:.0f}", step=step)
            for at, _ in reversed(known)
        )
    return BoardTable(
        title=title,
        caption=say.sentence(reader.window),
        columns=tuple(columns),
        rows=tuple(rows),
        links=links,
        csv=reader.url(f"/panels/{key}", **{"as": "csv"}),
        back=reader.url(),
        ranges=tuple(
            Option(
                words(f"board.span.{one.value}"),
                reader.url(f"/panels/{key}", span=one.value),
                data.shown.span is one,
            )
            for one in Span
        ),
        empty=words("charts.none"),
    )


def _told(cell: str, unit: str, reader: Reader) -> str:
    return reader.figure(float(cell), unit) if cell else ""


def fault_lines(faults: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Faults as people read them: the place, and why."""
    return tuple(f"{path}: {reason}" if path else reason for path, reason in faults[:MOST_FAULTS])
