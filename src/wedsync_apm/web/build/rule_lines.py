"""What the form of a rule says, field by field. Pure."""

from typing import Final

from wedsync_apm.web.build.edits import Lines, text_of
from wedsync_apm.web.build.rule_editor import options_of
from wedsync_apm.web.build.rule_form import NEARS, TICKS
from wedsync_apm.web.views.rule_form import Option, Typed
from wedsync_apm.web.words import say as words

_PARTS: Final = {"near_": "rule.near_value", "factor_": "rule.near_factor"}


def lines_of_rule(typed: Typed, members: tuple[Option, ...] = ()) -> Lines:
    """The lines of a rule's form; `members` has the names of the rules that it may count."""
    options = {**options_of(typed.kind), "member_rule_ids": members}

    def said(name: str, value: str) -> str:
        known = {one.value: one.label for one in options.get(name, ())}
        return str(known.get(value, value))

    lines = [(_label(name), said(name, text)) for name, text in typed.texts.items()]
    lines += [(_label(name), text_of(rows)) for name, rows in typed.conditions.items()]
    lines += [
        (_label(name), ", ".join(sorted(said(name, one) for one in chosen)))
        for name, chosen in typed.chosen.items()
    ]
    lines += [(_label(name), text_of(name in typed.ticked)) for name in TICKS]
    return tuple(lines)


def _label(name: str) -> str:
    for prefix, part in _PARTS.items():
        key = name.removeprefix(prefix)
        if key != name and key in NEARS:
            return f"{words(f'rule.near.{key}')}: {words(part)}"
    return str(words(f"rule.field.{name}"))
