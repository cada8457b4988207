"""Variables in a question: `$name` stands for what somebody chose, `$$` for a dollar sign."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from wedsync_apm.dashboards.model import Figure, Variable

_REFERENCE: Final = re.compile(r"\$(?:(\$)|([a-z][a-z0-9_]*))")


def names_in(text: str) -> set[str]:
    """The variables that a text refers to."""
    return {found[2] for found in _REFERENCE.finditer(text) if found[2]}


def fill(text: str, chosen: Mapping[str, str]) -> str:
    """The text with what was chosen in place of the variables."""
    return _REFERENCE.sub(lambda found: found[1] or chosen.get(found[2], ""), text)


def choose(variables: Sequence[Variable], asked: Mapping[str, str]) -> dict[str, str]:
    """What each variable stands for: what was asked for, where it may be, else its default.

    Whatever is asked of a tag's variable narrows what the reader may see anyway. A variable with
    `values` takes none but those.
    """
    chosen = {}
    for one in variables:
        value = asked.get(one.name, one.default)
        if one.values and value not in one.values:
            value = one.default
        chosen[one.name] = value[:1024]
    return chosen


def filled(figure: Figure, chosen: Mapping[str, str]) -> Figure:
    """The question with its variables filled; a tag whose value is empty then is not asked for."""
    tags = {tag: fill(value, chosen) for tag, value in figure.tags.items()}
    return msgspec.structs.replace(
        figure,
        metric=fill(figure.metric, chosen),
        tags={tag: value for tag, value in tags.items() if value or not names_in(figure.tags[tag])},
    )
