"""Whether somebody has changed what a form is about since it was opened. Pure.

A form carries a mark of what stood in it. What engines write beside it (a check's status, the last
ping of a heartbeat) is not in the form, and so no reason to ask anybody. Whoever saves a form whose
mark is another than that of what stands now is shown both, keeps what he typed, and chooses.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from wedsync_apm.web.views.edit import Clash, Difference, Stood
from wedsync_apm.web.words import has
from wedsync_apm.web.words import say as words

Lines = tuple[tuple[str, str], ...]
"""What a form says, field by field: its label and what stands there."""
MARK_LENGTH: Final = 16
_NOT_TYPED: Final = ("errors", "stood")


def mark_of(stands: object) -> str:
    """The mark of a form as it stands. Another mark says that somebody has to look again; it is no
    secret and protects nothing."""
    said = json.dumps(_plain(stands), sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:MARK_LENGTH]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in fields(value) if one.name not in _NOT_TYPED]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(one) for one in value)
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return value


def lines_of(form: object, labels: Mapping[str, tuple[str, str]]) -> Lines:
    """A form's lines; `labels` has the key of each field's words and the beginning of the keys of
    its values' words, empty where its values are told as they are."""
    return tuple(
        (str(words(label)), text_of(getattr(form, name), values))
        for name, (label, values) in labels.items()
    )


def text_of(value: Any, values: str = "") -> str:
    """A field's value as people read it."""
    if isinstance(value, bool):
        return str(words("clash.yes" if value else "clash.no"))
    if is_dataclass(value) and not isinstance(value, type):
        return " ".join(str(getattr(value, f.name)) for f in fields(value)).strip()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(filter(None, (text_of(one, values) for one in value)))
    text = str(value)
    return str(words(values + text)) if values and has(values + text) else text


def opened(stands: object) -> Stood:
    """For a form that is opened as it stands."""
    return Stood(mark_of(stands))


def carried(sent: Any) -> Stood:
    """For a form that is shown again with its faults: what it said of when it was opened."""
    mark = sent.get("stood")
    return Stood(mark[:MARK_LENGTH] if isinstance(mark, str) else "")


def compare(sent: Any, stands: object, *, mine: Lines, theirs: Lines, href: str) -> Stood:
    """What stands now, with a clash where somebody has changed it to other than what was typed.

    `mine` and `theirs` have the same labels in the same order.
    """
    now = Stood(mark_of(stands))
    if carried(sent).mark in ("", now.mark) or mine == theirs:
        return now
    differences = tuple(
        Difference(label, old, new)
        for (label, new), (_, old) in zip(mine, theirs, strict=True)
        if new != old
    )
    return Stood(now.mark, Clash(href, differences))
