"""The palette: contrast of every pair in use, and chart series that stay apart for every eye."""

import itertools
import math
import re
from importlib.resources import files

import pytest

TOKENS = files("wedsync_apm.web").joinpath("static", "css", "tokens.css").read_text()
Rgb = tuple[float, float, float]


def theme(name: str) -> dict[str, str]:
    """The colours of one theme, those of `light` where it says nothing."""
    light = re.search(r":root \{(.*?)\}", TOKENS, re.DOTALL)
    own = re.search(rf':root\[data-theme="{name}"\] \{{(.*?)\}}', TOKENS, re.DOTALL)
    assert light is not None
    found = dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", light[1]))
    if own is not None:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", own[1]))
    return found


def linear(colour: str) -> Rgb:
    """sRGB hex to linear light."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return r, g, b


def luminance(colour: str) -> float:
    """WCAG relative luminance."""
    r, g, b = linear(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


STATES = ("ok", "warn", "crit", "info", "none")
PAIRS = [
    *((ink, on, 4.5) for ink in ("ink", "ink2", "ink3") for on in ("bg", "surface", "sunken")),
    *((state, "surface", 5.0) for state in STATES),
    *((state, f"{state}-soft", 5.0) for state in STATES),
    *((ink, f"{state}-soft", 5.0) for ink in ("ink", "ink2") for state in STATES),
    *(("accent", ground, 4.5) for ground in ("bg", "surface", "accent-soft")),
    ("ink", "accent-soft", 4.5),
    ("ink2", "accent-soft", 4.5),
    ("on-accent", "accent", 4.5),
    ("on-accent", "accent-hover", 4.5),
    ("on-solid", "crit-solid", 4.5),
    ("on-solid", "emergency-solid", 4.5),
    ("line-strong", "surface", 3.0),
    ("line-strong", "bg", 3.0),
    ("focus", "bg", 3.0),
    ("focus", "surface", 3.0),
]  # fmt: skip


@pytest.mark.parametrize("name", ["light", "dark", "sunlight"])
def test_contrast_of_every_pair(name: str) -> None:
    colours = theme(name)
    low = {
        (ink, ground): round(contrast(colours[ink], colours[ground]), 2)
        for ink, ground, least in PAIRS
        if contrast(colours[ink], colours[ground]) < least
    }
    assert low == {}


def test_sunlight_is_black_on_white() -> None:
    colours = theme("sunlight")
    assert contrast(colours["ink"], colours["bg"]) == pytest.approx(21.0)
    assert min(contrast(colours[state], "#FFFFFF") for state in STATES) >= 10


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SIMULATED: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def lab(colour: str, eye: str) -> Rgb:
    """CIE Lab (D65) of a colour as that eye sees it."""
    rgb = linear(colour)
    r, g, b = (
        min(1.0, max(0.0, sum(k * c for k, c in zip(row, rgb, strict=True))))
        for row in SIMULATED[eye]
    )
    xyz = (
        (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047,
        0.2126729 * r + 0.7151522 * g + 0.0721750 * b,
        (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883,
    )
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(one: Rgb, other: Rgb) -> float:
    """The CIEDE2000 colour difference."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean**7 / (mean**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    dl, dc = l2 - l1, c2 - c1
    dh = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    big = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(dh / 2))
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    hm = h1 + h2 if not c1 * c2 else (h1 + dh / 2) % 360
    t = (
        1
        - 0.17 * math.cos(math.radians(hm - 30))
        + 0.24 * math.cos(math.radians(2 * hm))
        + 0.32 * math.cos(math.radians(3 * hm + 6))
        - 0.20 * math.cos(math.radians(4 * hm - 63))
    )
    sl = 1 + 0.015 * (lm - 50) ** 2 / math.sqrt(20 + (lm - 50) ** 2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    turn = 60 * math.exp(-(((hm - 275) / 25) ** 2))
    rt = -2 * math.sqrt(cm**7 / (cm**7 + 25**7)) * math.sin(math.radians(turn))
    return math.sqrt(
        (dl / sl) ** 2 + (dc / sc) ** 2 + (big / sh) ** 2 + rt * (dc / sc) * (big / sh)
    )


def test_ciede2000_of_published_pairs() -> None:
    # Sharma, Wu and Dalal 2005, table 1: pairs 1, 7 and 25
    for one, other, want in (
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ):
        assert ciede2000(one, other) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("eye", SIMULATED)
@pytest.mark.parametrize("name", ["light", "dark"])
def test_series_stay_apart(name: str, eye: str) -> None:
    colours = theme(name)
    used = [colours[key] for key in ("s1", "s2", "s3", "s4", "s5", "s6", "crit")]
    nearest = min(
        ciede2000(lab(one, eye), lab(other, eye)) for one, other in itertools.combinations(used, 2)
    )
    assert nearest >= 12
    assert min(contrast(colour, colours["surface"]) for colour in used) >= 2.95
