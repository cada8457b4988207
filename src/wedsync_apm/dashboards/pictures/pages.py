"""A sheet on its pages: A4 across for PDF, one long page for a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wedsync_apm.dashboards.pictures.bodies import draw_tile
from wedsync_apm.dashboards.pictures.model import Sheet, Tile
from wedsync_apm.dashboards.pictures.paper import INK2, INK3, LINE, Paper, wrapped

WIDTH: Final = 842.0
HEIGHT: Final = 595.0
MARGIN: Final = 30.0
COLUMNS: Final = 12
ROW: Final = 38.0
GAP: Final = 7.0
FOOT: Final = 22.0
LATER_HEAD: Final = 26.0
PIXELS_A_POINT: Final = 2.0
MOST_PIXELS: Final = 24_000_000
"""Of a picture; a longer dashboard is drawn smaller."""


@dataclass(frozen=True, slots=True)
class _Strip:
    """Rows of the grid that no panel crosses the edges of."""

    begin: int
    end: int
    tiles: tuple[Tile, ...]

    @property
    def height(self) -> float:
        return (self.end - self.begin) * ROW


def to_pdf(sheet: Sheet, *, is_one_page: bool = False) -> bytes:
    """The document; on one page as long as it takes where it becomes a picture."""
    paper = Paper(sheet.title)
    strips = list(_strips(sheet.tiles))
    head = _head_height(sheet)
    if is_one_page:
        pages = [strips]
        height = head + sum(one.height for one in strips) + FOOT + 2 * MARGIN
    else:
        pages, height = _pages(strips, head), HEIGHT
    for number, page in enumerate(pages, start=1):
        paper.begin_page(WIDTH, height)
        y = MARGIN + _draw_head(paper, sheet, is_first=number == 1)
        bottom = height - MARGIN - FOOT
        # a strip that is taller than a page is pressed into one
        scale = min(1.0, (bottom - y) / max(1.0, sum(one.height for one in page)))
        for strip in page:
            for tile in strip.tiles:
                place, size = _place(tile, strip, y, scale)
                draw_tile(paper, tile, place, size)
            y += strip.height * scale
        count = "" if is_one_page else sheet.page.format(n=number, of=len(pages))
        _draw_foot(paper, sheet.foot, count, height)
    return paper.finish()


def _strips(tiles: Sequence[Tile]) -> Iterator[_Strip]:
    """From the top; empty rows between panels are left out."""
    waiting = sorted(tiles, key=lambda one: (one.y, one.x))
    while waiting:
        begin = end = waiting[0].y
        taken: list[Tile] = []
        while waiting and (not taken or waiting[0].y < end):
            taken.append(waiting.pop(0))
            end = max(end, taken[-1].y + taken[-1].h)
        yield _Strip(begin, end, tuple(taken))


def _pages(strips: Sequence[_Strip], head: float) -> list[list[_Strip]]:
    pages: list[list[_Strip]] = [[]]
    room = HEIGHT - 2 * MARGIN - FOOT - head
    for strip in strips:
        if pages[-1] and strip.height > room:
            pages.append([])
            room = HEIGHT - 2 * MARGIN - FOOT - LATER_HEAD
        pages[-1].append(strip)
        room -= strip.height
    return pages


def _place(
    tile: Tile, strip: _Strip, top: float, scale: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    column = (WIDTH - 2 * MARGIN + GAP) / COLUMNS
    at = MARGIN + tile.x * column, top + (tile.y - strip.begin) * ROW * scale
    return at, (tile.w * column - GAP, tile.h * ROW * scale - GAP)


def _sub_lines(sheet: Sheet) -> list[str]:
    return wrapped(sheet.sub, 9, WIDTH - 2 * MARGIN, 2) if sheet.sub else []


def _head_height(sheet: Sheet) -> float:
    return 30.0 + 12 * (len(_sub_lines(sheet)) + len(sheet.facts))


def _draw_head(paper: Paper, sheet: Sheet, *, is_first: bool) -> float:
    width = WIDTH - 2 * MARGIN
    if not is_first:
        paper.text((MARGIN, MARGIN + 9), sheet.title, 10, is_bold=True, width=width)
        return LATER_HEAD
    y = MARGIN + 15
    paper.text((MARGIN, y), sheet.title, 17, is_bold=True, width=width)
    for line in _sub_lines(sheet):
        y += 12
        paper.text((MARGIN, y), line, 9, colour=INK2)
    for fact in sheet.facts:
        y += 12
        paper.text((MARGIN, y), fact, 8.5, colour=INK3, width=width)
    return _head_height(sheet)


def _draw_foot(paper: Paper, foot: str, count: str, height: float) -> None:
    y = height - MARGIN
    paper.path([(MARGIN, y - 12), (WIDTH - MARGIN, y - 12)], stroke=LINE, width=0.5)
    paper.text((MARGIN, y), foot, 7.5, colour=INK3, width=WIDTH - 2 * MARGIN - 90)
    paper.text((WIDTH - MARGIN, y), count, 7.5, colour=INK3, align="right")
