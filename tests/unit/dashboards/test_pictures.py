"""Dashboards on paper: every kind of panel is there, the text can be read, nothing runs away."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wedsync_apm.dashboards.pictures import model
from wedsync_apm.dashboards.pictures.child import draw, to_png
from wedsync_apm.dashboards.pictures.model import Form, Job, Sheet, Tile
from wedsync_apm.dashboards.pictures.pages import MOST_PIXELS, to_pdf

HOURS = tuple(float(1_781_900_000 + 300 * n) for n in range(72))


def wave(height: float, holes: Sequence[int] = ()) -> tuple[float | None, ...]:
    """A course with holes."""
    return tuple(
        None if n in holes else height * (1 + math.sin(n / 9)) + 20 for n in range(len(HOURS))
    )


def chart(**changes: Any) -> model.Chart:
    """Two courses, one of them compared with last Saturday."""
    values: dict[str, Any] = {
        "caption": "Slowest 1 in 20, last 6 h",
        "sentence": "It is 9.1 s now, usually 1.2 s.",
        "style": "line",
        "begins": HOURS[0],
        "ends": HOURS[-1] + 300,
        "now": HOURS[-1] + 10,
        "lowest": 0.0,
        "highest": 260.0,
        "x": HOURS,
        "step": 300.0,
        "curves": (
            model.Curve("slowest 1 in 20", wave(100, range(30, 40)), 0),
            model.Curve("slowest 1 in 20, before", wave(70), 0, is_before=True),
            model.Curve("middle value", wave(40), 1),
        ),
        "notches": tuple(model.Notch(float(n), f"{n} ms") for n in (0, 100, 200)),
        "hours": tuple(model.Notch(HOURS[n], f"{9 + n // 12:02}:00") for n in range(0, 72, 12)),
        "limits": (model.Rule(180.0, "limit 180 ms"),),
        "stretches": (model.Stretch(HOURS[20], HOURS[45], "Ceremony"),),
        "moments": (model.Moment(HOURS[50], "Order form is slow"),),
    }
    return model.Chart(**(values | changes))


def sheet(**changes: Any) -> Sheet:
    """All nine kinds, and a panel that shows nothing."""
    ok, bad = model.Sign("ok", "Working"), model.Sign("crit", "Past the limit")
    near = model.Sign("warn", "Near the limit")
    fields = tuple((40.0 * n, 38.5, n % 6) for n in range(25))
    bodies: list[tuple[tuple[int, int, int, int], str, Any]] = [
        ((0, 0, 3, 2), "An order is sent in", model.Big(
            "9.1 s", "slowest 1 in 20, usually 1.2 s", "1.1 s then", bad, wave(5, (3, 4))
        )),
        ((3, 0, 3, 2), "Free disk", model.Dial(
            "71 %", 710, ((200, "warn"), (900, "crit")), "0 %", "100 %", near
        )),
        ((6, 0, 3, 2), "Until the next part", model.Ahead(
            "in 47 min", "Ceremony, 14:00", "A & R, Europe/London"
        )),
        ((9, 0, 3, 2), "A word", model.Prose(("Ring Olga first.", "Łukasz — Ωμέγα — Доброе утро"))),
        ((0, 2, 8, 5), "Time to send an order", chart()),
        ((8, 2, 4, 5), "Services", model.Lines(
            (model.Line(ok, "Order form", "850 ms"),
             model.Line(model.Sign("none", "Not known"), "Gallery", "No sample since 11:02"),
             model.Line(near, "Payments", ""))
        )),
        ((0, 7, 6, 4), "Every region", model.Cells(
            ("What", "Now", "Usually", "Highest"),
            tuple((f"region {n}", f"{n} ms", "3 ms", "1.2 s") for n in range(30)), "and 4 more"
        )),
        ((6, 7, 6, 4), "Busy hours", model.Fields(
            "Highest: 9.1 s, Sat 20 Jun, 14:00.",
            tuple((f"{day} 20 Jun", fields) for day in ("Thu", "Fri", "Sat")),
            ((0, "00:00"), (500, "12:00")),
        )),
        ((0, 11, 6, 3), "Problems", model.Lines(
            (model.Line(model.Sign("crit", "Nobody has it"), "Order form is slow", "for 21 min"),)
        )),
        ((6, 11, 6, 3), "Nothing here", model.Nothing("No samples of forms.time in this time.")),
        ((0, 14, 6, 5), "Areas", chart(style="area")),
        ((6, 14, 6, 5), "Bars", chart(style="bar", limits=())),
    ]  # fmt: skip
    values: dict[str, Any] = {
        "title": "Flowers",
        "sub": "What matters on a Saturday.",
        "facts": (
            "Last 6 h: Sat 20 June 2026 06:00 to 12:00",
            "Measured at Sat 20 June 2026 12:00",
        ),
        "foot": "WedSync APM, as it stood Sat 20 June 2026 12:00",
        "page": "Page {n} of {of}",
        "tiles": tuple(Tile(*at, title, "", body) for at, title, body in bodies),
    }
    return Sheet(**(values | changes))


@dataclass
class Document:
    """A PDF as a reader finds it."""

    pages: list[str]
    title: str

    @property
    def text(self) -> str:
        return "\n".join(self.pages)


def opened(document: bytes) -> Document:
    pdf = pypdfium2.PdfDocument(document)
    pages = [page.get_textpage().get_text_range() for page in pdf]
    return Document(pages, pdf.get_metadata_dict()["Title"])


def test_every_kind_of_panel_can_be_read_in_the_document() -> None:
    found = opened(to_pdf(sheet()))
    assert found.title == "Flowers"
    said = (
        *("Flowers", "What matters on a Saturday.", "Measured at Sat 20 June 2026 12:00"),
        *("An order is sent in", "9.1 s", "1.1 s then", "Past the limit"),
        *("Free disk", "71 %", "100 %", "Near the limit"),
        *("in 47 min", "Ceremony, 14:00", "A & R, Europe/London"),
        *("Ring Olga first.", "Łukasz — Ωμέγα — Доброе утро"),
        *("200 ms", "09:00", "Ceremony", "limit 180 ms", "slowest 1 in 20, before"),
        *("Order form is slow", "Order form", "Working", "No sample since 11:02"),
        *("region 0", "Usually", "Highest: 9.1 s, Sat 20 Jun, 14:00.", "Thu 20 Jun"),
        *("Nobody has it", "for 21 min", "No samples of forms.time in this time."),
    )
    for words in said:
        assert words in found.text, words
    for number, page in enumerate(found.pages, start=1):
        assert f"Page {number} of {len(found.pages)}" in page
        assert "Flowers" in page
    assert len(found.pages) == 2


def test_a_picture_has_its_size_and_its_colours() -> None:
    made = Image.open(io.BytesIO(draw(Job(Form.PNG, sheet()))))
    assert made.format == "PNG"
    assert made.width == 1684
    colours = {
        colour for _, colour in made.convert("RGB").getcolors(made.width * made.height) or []
    }
    for wanted in ((0xFF, 0xFF, 0xFF), (0x52, 0x16, 0x73), (0xA1, 0x1A, 0x1E), (0x5B, 0x3A, 0x9E)):
        assert wanted in colours


def test_no_panel_is_torn_by_the_end_of_a_page() -> None:
    tall = tuple(
        Tile(0, 3 * n, 12, 3, f"Panel {n}", "", model.Prose((f"text {n}",))) for n in range(20)
    )
    found = opened(to_pdf(sheet(tiles=tall)))
    for n in range(20):
        holding = [page for page in found.pages if f"Panel {n}\r" in page or f"Panel {n}\n" in page]
        assert len(holding) == 1
        assert f"text {n}" in holding[0]


def test_an_empty_dashboard_is_a_page_too() -> None:
    found = opened(to_pdf(sheet(tiles=())))
    assert "Page 1 of 1" in found.text


def test_the_longest_dashboard_makes_a_picture_within_the_limit() -> None:
    """It is drawn smaller, and not blank."""
    whole = tuple(
        Tile(0, 24 * n, 12, 24, f"Panel {n}", "", chart(curves=chart().curves[:1]))
        for n in range(10)
    )
    made = Image.open(io.BytesIO(to_png(to_pdf(sheet(tiles=whole), is_one_page=True))))
    assert made.width * made.height <= MOST_PIXELS * 1.01
    assert len(made.convert("L").resize((20, 400)).getcolors() or []) > 2


HOSTILE = st.text(max_size=80) | st.sampled_from(
    [
        "",
        "\x00\x1b[31m",
        "a" * 20_000,
        "\u202eabc",
        "🙂" * 40,
        "<b>x</b>",
        "{n}{0}",
        ")\\( Tj",
        "\ud800",
    ]
)


@settings(max_examples=40, deadline=None)
@given(HOSTILE, HOSTILE, st.sampled_from([0.0, -1.0, 1e-300, 1e300, float("inf"), float("nan")]))
def test_whatever_somebody_writes_is_drawn(first: str, second: str, figure: float) -> None:
    lines = chart(
        caption=first,
        sentence=second,
        curves=(model.Curve(second, tuple(figure for _ in HOURS), 0),),
        limits=(model.Rule(figure, first),),
        stretches=(model.Stretch(HOURS[3], HOURS[1], first),),
        moments=(model.Moment(figure, second),),
        highest=figure,
    )
    bodies: tuple[model.AnyBody, ...] = (lines, model.Prose((first, second)), model.Nothing(second))
    tiles = tuple(Tile(0, 4 * n, 4, 4, first, second, body) for n, body in enumerate(bodies))
    made = to_pdf(sheet(title=first, sub=second, foot=second, tiles=tiles))
    assert opened(made).pages


def test_a_job_is_the_same_after_its_journey() -> None:
    job = Job(Form.PNG, sheet())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=Job) == job
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(b"\x82\xa4form\xa3svg\xa5sheet\xc0", type=Job)
