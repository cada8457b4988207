"""What still works while something does not: only what was measured to work a moment ago. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wedsync_apm.rules.patterns import compile_pattern

SHORTEST_NOUN = 4
"""Shorter words of a service's name ("of", "the", "day") do not tell which service is meant."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A checked service. `is_working` only if a fresh look found it healthy."""

    name: str
    service_name: str
    source_metric: str | None
    is_working: bool


def works_beside(services: Iterable[Watched], pattern: str | None) -> tuple[str, ...]:
    """The names of those that work, without the one whose figures match the rule's pattern."""
    return tuple(
        one.name for one in services if one.is_working and not _is_watched_by(one, pattern)
    )


def _is_watched_by(one: Watched, pattern: str | None) -> bool:
    if not pattern:
        return False
    if one.source_metric and compile_pattern(pattern).matches(one.source_metric):
        return True
    return compile_pattern(pattern.partition(".")[0]).matches(one.service_name)


def unmeasured(said: str, services: Sequence[Watched]) -> str:
    """A rule's fixed words, unless they speak of a service that is measured: then nothing.

    Fixed words cannot know how a service is now; what is measured speaks for itself.
    """
    nouns = {
        word
        for one in services
        for word in re.findall(r"\w+", one.name.casefold())
        if len(word) >= SHORTEST_NOUN
    }
    return "" if nouns & set(re.findall(r"\w+", said.casefold())) else said
