"""Paper to draw on: places from the top left in points, text that fits, and our own letters.

The fonts are embedded, so that a machine without any draws the same.
"""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

PLAIN: Final = "Sheet"
BOLD: Final = "Sheet-Bold"
FONTS: Final = Path(__file__).with_name("fonts")
INK: Final = "#1B1917"
INK2: Final = "#4F4A44"
INK3: Final = "#655F57"
LINE: Final = "#DCD7CE"
SUNKEN: Final = "#EDEAE4"
ACCENT: Final = "#5B3A9E"
SOFT: Final = "#EFE9FA"
CRIT: Final = "#A11A1E"
KINDS: Final = {"ok": "#14643B", "warn": "#744600", "crit": CRIT, "info": "#1B5289", "none": INK2}
CURVES: Final = ("#521673", "#D97230", "#014441", "#A17ADF", "#729E86", "#566286")
DOTS: Final = "…"
Place = tuple[float, float]


@cache
def _register() -> None:
    pdfmetrics.registerFont(TTFont(PLAIN, str(FONTS / "DejaVuSansCondensed.ttf")))
    pdfmetrics.registerFont(TTFont(BOLD, str(FONTS / "DejaVuSansCondensed-Bold.ttf")))


def plain(text: str) -> str:
    """One line of what can be printed: no control characters, nothing that turns its direction."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


class Paper:
    """The pages of one document. A page is begun with its size."""

    def __init__(self, title: str) -> None:
        _register()
        self._file = io.BytesIO()
        self._canvas = Canvas(self._file, pageCompression=1, lang="en-GB")
        self._canvas.setTitle(plain(title))
        self._canvas.setAuthor("WedSync APM")
        self._canvas.setCreator("WedSync APM")
        self._height = 0.0

    def begin_page(self, width: float, height: float) -> None:
        """A new page, white."""
        if self._height:
            self._canvas.showPage()
        self._canvas.setPageSize((width, height))
        self._height = height

    def finish(self) -> bytes:
        """The document."""
        self._canvas.save()
        return self._file.getvalue()

    def text(
        self,
        at: Place,
        text: str,
        size: float,
        *,
        colour: str = INK,
        is_bold: bool = False,
        width: float | None = None,
        align: str = "left",
    ) -> float:
        """One line that stands on `at`, cut with dots to a width. Returns how wide it is."""
        font = BOLD if is_bold else PLAIN
        shown = plain(text) if width is None else fitting(text, size, width, is_bold=is_bold)
        taken = pdfmetrics.stringWidth(shown, font, size)
        x = at[0] - {"left": 0.0, "centre": taken / 2, "right": taken}[align]
        self._canvas.setFont(font, size)
        self._canvas.setFillColor(colour)
        self._canvas.drawString(x, self._height - at[1], shown)
        return float(taken)

    def box(
        self,
        at: Place,
        size: Place,
        *,
        fill: str | None = None,
        stroke: str | None = None,
        radius: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """A rectangle."""
        canvas = self._canvas
        canvas.saveState()
        if fill:
            canvas.setFillColor(fill)
            canvas.setFillAlpha(opacity)
        if stroke:
            canvas.setStrokeColor(stroke)
            canvas.setLineWidth(0.6)
        x, y = at[0], self._height - at[1] - size[1]
        if radius:
            canvas.roundRect(x, y, *size, radius, stroke=int(bool(stroke)), fill=int(bool(fill)))
        else:
            canvas.rect(x, y, *size, stroke=int(bool(stroke)), fill=int(bool(fill)))
        canvas.restoreState()

    def path(
        self,
        points: Sequence[Place],
        *,
        stroke: str | None = None,
        fill: str | None = None,
        width: float = 1.0,
        dash: Sequence[float] = (),
        opacity: float = 1.0,
    ) -> None:
        """A line through points; filled, it is closed."""
        if len(points) < 2:
            return
        canvas = self._canvas
        canvas.saveState()
        path = canvas.beginPath()
        path.moveTo(points[0][0], self._height - points[0][1])
        for x, y in points[1:]:
            path.lineTo(x, self._height - y)
        if fill:
            path.close()
            canvas.setFillColor(fill)
            canvas.setFillAlpha(opacity)
        if stroke:
            canvas.setStrokeColor(stroke)
            canvas.setLineWidth(width)
            canvas.setLineJoin(1)
            canvas.setDash(list(dash))
        canvas.drawPath(path, stroke=int(bool(stroke)), fill=int(bool(fill)))
        canvas.restoreState()

    def arc(
        self, at: Place, radius: float, ends: tuple[float, float], *, stroke: str, width: float
    ) -> None:
        """A part of an upper half circle: from 0, its left end, to 1."""
        canvas = self._canvas
        canvas.saveState()
        canvas.setStrokeColor(stroke)
        canvas.setLineWidth(width)
        x, y = at[0], self._height - at[1]
        canvas.arc(
            x - radius,
            y - radius,
            x + radius,
            y + radius,
            180 - 180 * ends[0],
            -180 * (ends[1] - ends[0]),
        )
        canvas.restoreState()

    def sign(self, at: Place, size: float, kind: str) -> None:
        """The shape of a state, told apart without its colour too."""
        canvas = self._canvas
        x, y, half = at[0], at[1] - size * 0.36, size / 2
        colour = KINDS.get(kind, INK2)
        match kind:
            case "warn":
                corners = ((x, y + half), (x + half, y - half), (x + size, y + half))
                self.path(corners, fill=colour)
            case "crit":
                self.box((x, y - half), (size, size), fill=colour)
            case _:
                canvas.saveState()
                canvas.setFillColor(colour)
                canvas.setStrokeColor(colour)
                canvas.setLineWidth(1.2)
                centre = x + half, self._height - y
                canvas.circle(*centre, half * 0.9, stroke=1, fill=int(kind == "ok"))
                canvas.restoreState()

    def clip(self, at: Place, size: Place) -> None:
        """Until `unclip` nothing is drawn beside this place."""
        self._canvas.saveState()
        path = self._canvas.beginPath()
        path.rect(at[0], self._height - at[1] - size[1], *size)
        self._canvas.clipPath(path, stroke=0, fill=0)

    def unclip(self) -> None:
        """Ends the last `clip`."""
        self._canvas.restoreState()


def width_of(text: str, size: float, *, is_bold: bool = False) -> float:
    """How wide a line is."""
    _register()
    return float(pdfmetrics.stringWidth(plain(text), BOLD if is_bold else PLAIN, size))


def fitting(text: str, size: float, width: float, *, is_bold: bool = False) -> str:
    """As much of a line as fits, with dots where something is left out."""
    text = plain(text)
    if width_of(text, size, is_bold=is_bold) <= width:
        return text
    low, high = 0, min(len(text), 2000)
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(text[:middle] + DOTS, size, is_bold=is_bold) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + DOTS


def wrapped(text: str, size: float, width: float, most: int) -> list[str]:
    """At most so many lines, broken between words, and within those that are too long."""
    lines: list[str] = []
    for part in text.split("\n"):
        line = ""
        for word in plain(part).split(" "):
            longer = f"{line} {word}".strip()
            if width_of(longer, size) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            if len(lines) > most:
                break
        lines.append(line)
        if len(lines) > most:
            break
    if len(lines) > most:
        lines = lines[:most]
        if lines:
            lines[-1] = fitting(f"{lines[-1]} {DOTS}", size, width)
    return [fitting(one, size, width) for one in lines]
