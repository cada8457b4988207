"""Dashboards to begin with, as files beside this one: by trade, for the platform, for couples, and
for the day itself.

The name of a file is the template's key.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from wedsync_apm.dashboards.files import YAML, read_file
from wedsync_apm.dashboards.model import Document

WEDDING_DAY: Final = "wedding-day"
COUPLES: Final = "couples"
_BY_TRADE: Final[Mapping[str, str]] = {
    "photographer": "photographer",
    "photography": "photographer",
    "videographer": "photographer",
    "videography": "photographer",
    "venue": "venue",
    "caterer": "caterer",
    "catering": "caterer",
    "cake": "caterer",
    "florist": "florist",
    "decor": "florist",
    "dj": "dj",
    "music": "dj",
    "planner": "planner",
    "planning": "planner",
    "celebrant": "planner",
    "platform": "platform",
}


@cache
def templates() -> Mapping[str, Document]:
    """All of them by key, in the order in which they are offered."""
    found = {
        one.name.removesuffix(".yaml"): read_file(one.read_bytes(), YAML)
        for one in files(__package__).iterdir()
        if one.name.endswith(".yaml")
    }
    last = (WEDDING_DAY, COUPLES, "platform")
    return {key: found[key] for key in sorted(found, key=lambda key: (key in last, key))}


def templates_for(vendor_type: str) -> tuple[str, ...]:
    """The keys for a trade, its own one first; one that nobody knows begins with the day's."""
    own = _BY_TRADE.get(vendor_type.strip().lower())
    if own == "platform":
        return (own,)
    return (*((own,) if own else ()), WEDDING_DAY, COUPLES)
