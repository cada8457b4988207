"""A dashboard as it is drawn for PDF and PNG: the words of the page, put where the drawing needs
them. Pure."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

from wedsync_apm.dashboards.answers import Lines as LinesAnswer
from wedsync_apm.dashboards.data import Data
from wedsync_apm.dashboards.model import Document, Panel
from wedsync_apm.dashboards.pictures import model as picture
from wedsync_apm.web import say
from wedsync_apm.web.build.board_panels import Reader, build_panel
from wedsync_apm.web.build.boards import build_feed, compared_words, window_words
from wedsync_apm.web.build.weddings import build_card
from wedsync_apm.web.views.board import Cells, Content, Countdown, Gauge, Heat, Stat
from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.incident import IncidentRow
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.views.today import Service
from wedsync_apm.web.words import say as words

_HOUR: Final = 3600
_DAY: Final = 86400
_TIME_STEPS: Final = (
    *(60, 300, 600, 900, 1800),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 5, 7, 14, 30, 90)),
)
MOST_HOURS: Final = 7
MOST_NOTCHES: Final = 5
Row = dict[str, Any]


def build_sheet(row: Row, document: Document, data: Data, is_engine_alive: bool) -> picture.Sheet:
    """The whole of it, in the words that are said to everybody."""
    setting = data.material.setting
    reader = Reader(
        board_id=row["id"],
        data=data,
        window=window_words(data.shown, setting.at, setting.zone),
        query={},
        is_plain=True,
        is_engine_alive=is_engine_alive,
        weddings=tuple(
            build_card(
                wedding_id=one.id,
                couple=one.initials,
                venue=None,
                zone=one.zone,
                windows=[(part.phase, part.begins, part.ends) for part in one.parts],
                now=setting.at,
            )
            for one in data.material.weddings
        ),
    )
    drawings = build_feed(document, reader)
    return picture.Sheet(
        title=document.name,
        sub=document.description,
        facts=tuple(_facts(document, reader)),
        foot=_plain(words("picture.foot", time=_moment(setting.at, setting.zone))),
        page=_plain(words("picture.page", n="{n}", of="{of}")),
        tiles=tuple(_tile(panel, reader, drawings) for panel in document.panels),
    )


def _facts(document: Document, reader: Reader) -> list[str]:
    shown, zone = reader.data.shown, reader.zone
    span = {"from": _moment(shown.begin, zone), "to": _moment(min(shown.end, reader.now), zone)}
    facts: list[str] = [
        words("picture.range", window=say.sentence(reader.window), zone=zone, **span)
    ]
    chosen = [
        f"{one.label or say.sentence(say.noun(one.name))}: "
        f"{reader.data.material.chosen[one.name] or words('board.all')}"
        for one in document.variables
    ]
    facts.append(words("picture.measured", time=_moment(reader.now, zone), zone=zone))
    if compared := compared_words(reader.data, reader):
        facts.append(compared)
    return [_plain(one) for one in [*facts, *([", ".join(chosen)] if chosen else [])]]


def _moment(at: datetime, zone: str) -> str:
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%B} {local.year} {local:%H:%M}"


def _plain(text: str) -> str:
    """The catalogue's words without escapes: nothing that is drawn is HTML."""
    return text.unescape() if isinstance(text, Markup) else text


def _tile(panel: Panel, reader: Reader, drawings: Row) -> picture.Tile:
    view = build_panel(panel, reader)
    drawing = drawings["panels"].get(panel.key)
    if view.content is None:
        body: picture.AnyBody = picture.Nothing(_plain(view.empty))
    elif isinstance(view.content, Figure) and drawing is not None:
        answer = reader.data.panels[panel.key]
        assert isinstance(answer, LinesAnswer)  # noqa: S101 a figure is drawn of lines
        body = _chart(view.content, answer, drawing, drawings["frame"], reader)
    else:
        body = _body(view.content, reader)
    at = panel.at
    return picture.Tile(at.x, at.y, at.w, at.h, panel.title, panel.note, body)


def _body(content: Content, reader: Reader) -> picture.AnyBody:
    match content:
        case Stat() | Gauge():
            return _figure(content)
        case Cells():
            return picture.Cells(
                tuple(map(_plain, content.columns)),
                tuple(tuple(map(_plain, row)) for row in content.rows),
                _plain(content.more),
            )
        case Heat():
            rows = tuple(
                (_plain(row.name), tuple((one.left, one.width, one.grade) for one in row.fields))
                for row in content.rows
            )
            marks = tuple((at, _plain(text)) for at, text in content.marks)
            return picture.Fields(_plain(content.sentence), rows, marks)
        case Countdown():
            card = content.wedding
            ahead = card.milestone
            what = ""
            if ahead is not None:
                what = f"{_plain(ahead.name)}, {say.when(ahead.at, reader.now, card.zone)}"
            who = ", ".join(filter(None, (card.couple, card.venue, card.zone)))
            return picture.Ahead(_plain(content.figure), what, _plain(who))
        case tuple():
            return _list(content, reader)
    return picture.Nothing("")


def _figure(content: Stat | Gauge) -> picture.Big | picture.Dial:
    sign = _sign(content.level)
    if isinstance(content, Stat):
        value, note, before = map(_plain, (content.value, content.note, content.before))
        return picture.Big(value, note, before, sign, content.spark)
    value, least, most = map(_plain, (content.value, content.least, content.most))
    return picture.Dial(value, content.share, content.marks, least, most, sign)


def _list(content: Sequence[Any], reader: Reader) -> picture.AnyBody:
    lines = []
    for one in content:
        if isinstance(one, Service):
            old = words("board.old", time=reader.clock(one.checked_at)) if one.checked_at else ""
            lines.append(_line(one.status, one.name, old or one.detail))
        elif isinstance(one, IncidentRow):
            length = say.length(reader.now - one.since)
            told = one.end or words("problem.for", length=length)
            lines.append(_line(one.status, one.title, told))
        else:
            return picture.Prose(tuple(map(_plain, content)))
    return picture.Lines(tuple(lines))


def _line(status: Status, title: str, detail: str) -> picture.Line:
    sign = picture.Sign(status.kind, _plain(status.word))
    return picture.Line(sign, _plain(title), _plain(detail))


def _sign(status: Status | None) -> picture.Sign | None:
    return None if status is None else picture.Sign(status.kind, _plain(status.word))


def _chart(
    figure: Figure, answer: LinesAnswer, drawing: Row, frame: Row, reader: Reader
) -> picture.Chart:
    curves: list[picture.Curve] = []
    for line in drawing["lines"]:
        colour = sum(not one.is_before for one in curves)
        if line["is_before"] and curves:
            colour = curves[-1].colour
        values = tuple(line["values"])
        curves.append(picture.Curve(_plain(line["name"]), values, colour, line["is_before"]))
    known = [v for one in curves for v in one.values if v is not None]
    tops = [one["value"] for one in drawing["limits"]]
    lowest, highest = _extent(known, tops, is_share=drawing["is_share"])
    return picture.Chart(
        caption=_plain(figure.caption),
        sentence=_plain(figure.sentence),
        style=answer.style,
        begins=frame["begins"],
        ends=frame["ends"],
        now=frame["now"],
        lowest=lowest,
        highest=highest,
        x=tuple(drawing.get("x") or frame["x"]),
        step=drawing.get("step") or frame["step"],
        curves=tuple(curves),
        notches=tuple(
            picture.Notch(at, _axis_words(at, answer.unit, reader))
            for at in notches(lowest, highest)
        ),
        hours=tuple(_hours(frame["begins"], frame["ends"], reader.zone)),
        limits=tuple(picture.Rule(one["value"], _plain(one["words"])) for one in drawing["limits"]),
        stretches=tuple(
            picture.Stretch(one["begins"], one["ends"], _plain(one["name"]))
            for one in drawing["bands"]
        ),
        moments=tuple(picture.Moment(one["at"], one["name"]) for one in drawing["ticks"]),
        more=_plain(words("board.more", n=answer.more)) if answer.more else "",
    )


def _extent(
    known: Sequence[float], tops: Sequence[float], *, is_share: bool
) -> tuple[float, float]:
    """The lowest and highest figure of the axis, as on the page."""
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if is_share:
        return min(low, *tops, low) - 0.1, max(high, *tops, low + 0.1)
    top, bottom = max(high, *tops, 0.0), min(low, 0.0)
    if top > 0:
        return bottom * 1.08, top * 1.12
    return (bottom * 1.08, 0.0) if bottom < 0 else (0.0, 1.0)


def notches(lowest: float, highest: float) -> list[float]:
    """Round figures for an axis, a handful of them."""
    span = highest - lowest
    if not math.isfinite(span) or span <= 0:
        return []
    size = 10.0 ** math.floor(math.log10(span / MOST_NOTCHES))
    step = next(
        (size * one for one in (1, 2, 2.5, 5, 10) if span / (size * one) <= MOST_NOTCHES), size * 10
    )
    first, last = math.ceil(lowest / step), math.floor(highest / step)
    return [number * step for number in range(first, last + 1)]


def _axis_words(at: float, unit: str, reader: Reader) -> str:
    told = reader.figure(at, unit)
    # an axis says how much, and never "under 0.1 s"
    return told if at and not told.startswith("under") else say.figure(at, unit)


def _hours(begins: float, ends: float, zone: str) -> list[picture.Notch]:
    """Whole hours or days by the business's clock."""
    step = next(
        (one for one in _TIME_STEPS if (ends - begins) / one <= MOST_HOURS), _TIME_STEPS[-1]
    )
    local = datetime.fromtimestamp(begins, UTC).astimezone(ZoneInfo(zone))
    wall = local.replace(tzinfo=None)
    day = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    number = math.ceil((wall - day).total_seconds() / step)
    found: list[picture.Notch] = []
    while len(found) <= 2 * MOST_HOURS:
        at = (day + timedelta(seconds=number * step)).replace(tzinfo=ZoneInfo(zone))
        if at.timestamp() > ends:
            break
        is_day = step >= _DAY or f"{at:%H:%M}" == "00:00"
        found.append(
            picture.Notch(at.timestamp(), f"{at:%a} {at.day}" if is_day else f"{at:%H:%M}")
        )
        number += 1
    return found
