"""Which series a rule watches: a glob over the full name, and conditions on tags."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from wedsync_apm.rules.patterns import compile_pattern, full_name

NAME_TAGS: Final = ("service_name", "metric_name")
"""Names that conditions and groups may use like tags, where a series has no tag of that name."""


class Match(StrEnum):
    """How a tag has to be. A tag that is not there counts as the empty text, as in Prometheus."""

    EQUAL = "="
    NOT_EQUAL = "!="
    GLOB = "glob"
    IN = "in"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class TagSelector:
    """One condition on one tag. `values`: one for the first three, any number for `in`."""

    tag: str
    match: Match = Match.EQUAL
    values: tuple[str, ...] = ()

    def holds(self, value: str) -> bool:
        """Whether a series whose tag has this value (empty: it has none) is meant."""
        match self.match:
            case Match.EQUAL:
                return value == self.values[0]
            case Match.NOT_EQUAL:
                return value != self.values[0]
            case Match.GLOB:
                return compile_pattern(self.values[0]).matches(value)
            case Match.IN:
                return value in self.values
            case Match.ABSENT:
                return value == ""

    def find_fault(self) -> str | None:
        """What is wrong with it, in words; None: nothing."""
        if not 1 <= len(self.tag) <= 128:
            return "needs the name of a tag, of 1 to 128 characters"
        if any(len(value) > 1024 for value in self.values):
            return "has a value of more than 1024 characters"
        match self.match:
            case Match.ABSENT:
                return "takes no values" if self.values else None
            case Match.IN:
                return None if 1 <= len(self.values) <= 100 else "needs 1 to 100 values"
            case _:
                return None if len(self.values) == 1 else "needs exactly one value"


@dataclass(frozen=True, slots=True)
class Selector:
    """A name pattern and conditions, all of which have to hold."""

    pattern: str
    tags: tuple[TagSelector, ...] = ()

    def matches(self, service_name: str, metric_name: str, tags: Mapping[str, Any]) -> bool:
        """Whether a series of this name and these tags is meant."""
        return compile_pattern(self.pattern).matches(full_name(service_name, metric_name)) and all(
            one.holds(value_of(one.tag, service_name, metric_name, tags)) for one in self.tags
        )


def value_of(tag: str, service_name: str, metric_name: str, tags: Mapping[str, Any]) -> str:
    """What a series has under a tag; empty where it has none."""
    found = tags.get(tag)
    if found is not None:
        return str(found)
    return {"service_name": service_name, "metric_name": metric_name}.get(tag, "")


def equals(tags: Mapping[str, str]) -> tuple[TagSelector, ...]:
    """The conditions that the tags be just these."""
    return tuple(TagSelector(tag, Match.EQUAL, (value,)) for tag, value in tags.items())


def selectors_of(items: Iterable[Mapping[str, Any]]) -> tuple[TagSelector, ...]:
    """Selectors as they are kept: `{"tag", "match", "values"}`."""
    return tuple(
        TagSelector(item["tag"], Match(item["match"]), tuple(item["values"])) for item in items
    )


def items_of(selectors: Iterable[TagSelector]) -> list[dict[str, Any]]:
    """Selectors as they are kept."""
    return [
        {"tag": one.tag, "match": one.match.value, "values": list(one.values)} for one in selectors
    ]
