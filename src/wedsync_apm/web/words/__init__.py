"""The one catalogue of words, keyed by meaning: full sentences with named gaps.

Each part has its module. `say(key, gap=…)` escapes what it puts into a gap unless that is markup
already. A key ending in `#one` and `#other` is a plural, chosen by the gap `n`.
"""

from collections.abc import Mapping
from typing import Final

from markupsafe import Markup, escape

from wedsync_apm.web.words import (
    board_editor,
    boards,
    charts,
    checks,
    contacts,
    drills,
    entry,
    errors,
    frame,
    guard,
    heartbeats,
    holding,
    imports,
    inbox,
    incidents,
    ladders,
    on_call,
    phone,
    platform,
    reviews,
    rule_editor,
    rules,
    started,
    status,
    today,
    weddings,
)

PARTS: Final = (
    board_editor,
    boards,
    charts,
    checks,
    contacts,
    drills,
    entry,
    errors,
    frame,
    guard,
    heartbeats,
    holding,
    imports,
    inbox,
    incidents,
    ladders,
    on_call,
    phone,
    platform,
    reviews,
    rule_editor,
    rules,
    started,
    status,
    today,
    weddings,
)

WORDS: Final[Mapping[str, str]] = {
    key: sentence for part in PARTS for key, sentence in part.WORDS.items()
}


def say(key: str, **gaps: object) -> Markup:
    """The words for `key` with its gaps filled; raises KeyError for a key that does not exist."""
    if key not in WORDS and "n" in gaps:
        key = f"{key}#{'one' if gaps['n'] == 1 else 'other'}"
    words = Markup(WORDS[key])  # noqa: S704 the catalogue is our own text, the gaps are escaped
    return words.format(**{name: escape(gap) for name, gap in gaps.items()})


def has(key: str) -> bool:
    """Whether the catalogue knows this key."""
    return key in WORDS
