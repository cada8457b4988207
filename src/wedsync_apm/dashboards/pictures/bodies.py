"""What panels show, drawn within their frames."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from wedsync_apm.dashboards.pictures.charts import draw_chart
from wedsync_apm.dashboards.pictures.model import (
    Ahead,
    Big,
    Body,
    Cells,
    Chart,
    Dial,
    Fields,
    Lines,
    Nothing,
    Point,
    Prose,
    Sign,
    Tile,
)
from wedsync_apm.dashboards.pictures.paper import (
    ACCENT,
    DOTS,
    INK,
    INK2,
    INK3,
    KINDS,
    LINE,
    SUNKEN,
    Paper,
    Place,
    width_of,
    wrapped,
)

PAD: Final = 7.0
TITLE: Final = 8.5
TEXT: Final = 8.0
SMALL: Final = 7.0
LEADING: Final = 10.5
LOW: Final = 75.0
"""Of a gauge that is lower than this the figure stands beside the arc."""
GRADES: Final = (0.1, 0.25, 0.42, 0.6, 0.8, 1.0)


def draw_tile(paper: Paper, tile: Tile, at: Place, size: Place) -> None:
    """A panel with its frame; nothing of it stands outside."""
    paper.box(at, size, fill="#FFFFFF", stroke=LINE, radius=5)
    paper.clip(at, size)
    x, y, width = at[0] + PAD, at[1] + PAD + TITLE, size[0] - 2 * PAD
    paper.text((x, y), tile.title, TITLE, is_bold=True, width=width)
    bottom = at[1] + size[1] - PAD
    if tile.note:
        lines = wrapped(tile.note, SMALL, width, 2 if size[1] > 100 else 1)
        if size[1] > 60:
            bottom -= LEADING * len(lines)
            for number, line in enumerate(lines):
                where = x, bottom + LEADING * (number + 1) - 2
                paper.text(where, line, SMALL, colour=INK3)
    top = y + 4
    _DRAWS[type(tile.body)](paper, tile.body, (x, top), (width, bottom - top))
    paper.unclip()


def _nothing(paper: Paper, body: Nothing, at: Place, size: Place) -> None:
    for number, line in enumerate(wrapped(body.words, TEXT, size[0], _most(size[1]))):
        where = at[0], at[1] + LEADING * (number + 1)
        paper.text(where, line, TEXT, colour=INK3)


def _most(height: float, leading: float = LEADING) -> int:
    return max(1, int(height // leading))


def _chart(paper: Paper, body: Chart, at: Place, size: Place) -> None:
    top = at[1] + SMALL + 1
    paper.text((at[0], top), body.caption, SMALL, colour=INK3, width=size[0])
    taken = SMALL + 3
    if size[1] > 70:
        taken += LEADING
        where = at[0], top + LEADING
        paper.text(where, body.sentence, TEXT, colour=INK2, width=size[0])
    draw_chart(paper, body, (at[0], at[1] + taken), (size[0], size[1] - taken))


def _sign(paper: Paper, sign: Sign, at: Place, width: float, size: float = TEXT) -> float:
    """A state in a shape and a word; how wide it is."""
    paper.sign(at, size * 0.9, sign.kind)
    where, colour = (at[0] + size * 1.25, at[1]), KINDS.get(sign.kind, INK2)
    return size * 1.25 + paper.text(
        where, sign.word, size, colour=colour, width=width - size * 1.25
    )


def _big(paper: Paper, body: Big, at: Place, size: Place) -> None:
    value = 17.0 if width_of(body.value, 17, is_bold=True) < size[0] else 12.0
    y = at[1] + value
    taken = paper.text((at[0], y), body.value, value, is_bold=True, width=size[0])
    if body.before:
        room = size[0] - taken - 5
        if room > 20:
            paper.text((at[0] + taken + 5, y), body.before, SMALL, colour=INK2, width=room)
    if body.sign is not None:
        y += LEADING
        _sign(paper, body.sign, (at[0], y), size[0])
    y += LEADING - 1
    paper.text((at[0], y), body.note, SMALL, colour=INK3, width=size[0])
    room = at[1] + size[1] - y - 4
    if room > 9:
        height = min(room, 26.0)
        place = at[0], at[1] + size[1] - height
        _spark(paper, body.spark, place, (min(size[0], 120.0), height))


def _spark(paper: Paper, points: tuple[Point, ...], at: Place, size: Place) -> None:
    known = [one for one in points if one is not None]
    if len(known) < 2:
        return
    low, span = min(known), (max(known) - min(known)) or 1.0
    run: list[Place] = []
    for number, value in enumerate(points):
        if value is None:
            paper.path(run, stroke=ACCENT, width=1.1)
            run = []
            continue
        x = at[0] + size[0] * number / (len(points) - 1)
        run.append((x, at[1] + (size[1] - 2) * (1 - (value - low) / span) + 1))
    paper.path(run, stroke=ACCENT, width=1.1)


def _dial(paper: Paper, body: Dial, at: Place, size: Place) -> None:
    """The figure stands within the arc, or beside it where there is little room."""
    is_low = size[1] < LOW
    below = SMALL + 4 + (0 if is_low or body.sign is None else LEADING)
    radius = max(8.0, min(size[0] / (5 if is_low else 2) - 8, size[1] - below - 6, 58.0))
    thick = max(4.0, radius / 6)
    left = at[0] + radius + thick if is_low else at[0] + size[0] / 2
    centre = left, at[1] + radius + 6
    paper.arc(centre, radius, (0, 1), stroke=SUNKEN, width=thick)
    kind = KINDS[body.sign.kind] if body.sign else ACCENT
    if body.share is not None:
        paper.arc(centre, radius, (0, max(body.share, 4) / 1000), stroke=kind, width=thick)
    for mark, level in body.marks:
        middle = min(0.996, max(0.004, mark / 1000))
        ends = middle - 0.006, middle + 0.006
        paper.arc(centre, radius, ends, stroke=KINDS.get(level, INK2), width=thick * 1.7)
    y = centre[1] + SMALL + 3
    for x, words in ((centre[0] - radius, body.least), (centre[0] + radius, body.most)):
        paper.text((x, y), words, SMALL, colour=INK3, align="centre")
    beside = centre[0] + radius + thick + 12
    room = at[0] + size[0] - beside
    if is_low:
        paper.text((beside, at[1] + 20), body.value, 15, is_bold=True, width=room)
    else:
        paper.text(centre, body.value, 13, is_bold=True, align="centre", width=radius * 1.7)
    if body.sign and is_low:
        _sign(paper, body.sign, (beside, at[1] + 20 + LEADING), room)
    elif body.sign:
        half = (width_of(body.sign.word, TEXT) + TEXT * 1.25) / 2
        _sign(paper, body.sign, (centre[0] - half, y + LEADING), size[0])


def _cells(paper: Paper, body: Cells, at: Place, size: Place) -> None:
    count = len(body.columns)
    wants = [
        max(width_of(row[n], TEXT, is_bold=n == 0) for row in (body.columns, *body.rows[:60]))
        for n in range(1, count)
    ]
    widths = [min(one + 8, size[0] * 0.6 / max(1, count - 1)) for one in wants]
    first = size[0] - sum(widths)
    rights = [at[0] + first + sum(widths[: n + 1]) for n in range(len(widths))]

    def row(cells: tuple[str, ...], y: float, colour: str, letters: float) -> None:
        paper.text((at[0], y), cells[0], letters, colour=colour, width=first - 4)
        for cell, right, width in zip(cells[1:], rights, widths, strict=True):
            where = right, y
            paper.text(where, cell, letters, colour=colour, align="right", width=width - 4)

    y = at[1] + SMALL + 2
    row(body.columns, y, INK3, SMALL)
    room = _most(size[1] - LEADING - 2, LEADING + 2)
    hidden = len(body.rows) - room
    shown = body.rows[: room - 1] if hidden > 0 else body.rows
    for cells in shown:
        y += 3.5
        paper.path([(at[0], y), (at[0] + size[0], y)], stroke=LINE, width=0.4)
        y += LEADING - 1.5
        row(cells, y, INK, TEXT)
    if hidden > 0 or body.more:
        words = f"+ {len(body.rows) - len(shown)} {DOTS}" if hidden > 0 else body.more
        paper.text((at[0], y + LEADING), words, SMALL, colour=INK3)


def _fields(paper: Paper, body: Fields, at: Place, size: Place) -> None:
    y = at[1] + TEXT
    paper.text((at[0], y), body.sentence, TEXT, colour=INK2, width=size[0])
    if not body.rows:
        return
    names = max(width_of(name, SMALL) for name, _ in body.rows)
    left = min(names, size[0] / 4) + 5
    room, top = size[1] - TEXT - 4 - LEADING, y + 4
    step = max(3.0, min(14.0, room / len(body.rows)))
    width = size[0] - left
    shown = body.rows[: max(1, int(room // step))]
    for number, (name, fields) in enumerate(shown):
        row = top + number * step
        if step >= 6:
            where = at[0], row + step / 2 + 2.4
            paper.text(where, name, min(SMALL, step - 1), colour=INK2, width=left - 4)
        for begin, wide, grade in fields:
            place = at[0] + left + width * begin / 1000, row
            shade = GRADES[min(grade, len(GRADES) - 1)]
            field = max(0.4, width * wide / 1000), step - 1
            paper.box(place, field, fill=ACCENT, opacity=shade)
    for mark, words in body.marks:
        where = at[0] + left + width * mark / 1000, top + len(shown) * step + SMALL
        paper.text(where, words, 6.5, colour=INK3)


def _lines(paper: Paper, body: Lines, at: Place, size: Place) -> None:
    step = 2 * LEADING if any(one.detail for one in body.lines) else LEADING + 3
    room = _most(size[1], step)
    hidden = len(body.lines) - room
    shown = body.lines[: max(1, room - 1)] if hidden > 0 else body.lines
    y = at[1] + LEADING - 1
    for line in shown:
        words = width_of(line.sign.word, TEXT) + TEXT * 1.25
        right = min(words, size[0] * 0.5)
        paper.text((at[0], y), line.title, TEXT, is_bold=True, width=size[0] - right - 8)
        _sign(paper, line.sign, (at[0] + size[0] - right, y), right + 1)
        if line.detail:
            where = at[0], y + LEADING - 1
            paper.text(where, line.detail, SMALL, colour=INK3, width=size[0])
        y += step
    if hidden > 0:
        paper.text((at[0], y), f"+ {len(body.lines) - len(shown)} {DOTS}", SMALL, colour=INK3)


def _ahead(paper: Paper, body: Ahead, at: Place, size: Place) -> None:
    paper.text((at[0], at[1] + 17), body.figure, 17, is_bold=True, width=size[0])
    paper.text((at[0], at[1] + 29), body.what, TEXT, width=size[0])
    paper.text((at[0], at[1] + 39), body.who, SMALL, colour=INK3, width=size[0])


def _prose(paper: Paper, body: Prose, at: Place, size: Place) -> None:
    y, bottom = at[1], at[1] + size[1]
    for part in body.parts:
        for line in wrapped(part, TEXT, size[0], _most(bottom - y)):
            y += LEADING
            if y > bottom + 1:
                return
            paper.text((at[0], y), line, TEXT)
        y += 4


_DRAWS: Final[Mapping[type[Body], Callable[[Paper, Any, Place, Place], None]]] = {
    Nothing: _nothing,
    Chart: _chart,
    Big: _big,
    Dial: _dial,
    Cells: _cells,
    Fields: _fields,
    Lines: _lines,
    Ahead: _ahead,
    Prose: _prose,
}
