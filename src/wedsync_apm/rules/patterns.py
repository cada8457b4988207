"""Globs over the full name of a series, `service.metric`.

`*` stands for any characters within one dotted segment, `**` for any characters across segments,
`?` for one character within a segment; both stars may stand for nothing. All else is literal, and
the whole name must match.

A pattern is a tenant's text, so matching must not be able to run away: translated into a regular
expression, twenty `**` in a row would take longer than the universe has. Here each character of the
name costs a few operations on one integer, whatever the pattern.
"""

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled glob: bit i of a mask stands for its i-th token, the bit behind the last for
    "all matched"."""

    literals: dict[str, int]
    one: int
    segment_stars: int
    any_stars: int
    length: int

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` fits."""
        stars = self.segment_stars | self.any_stars
        reached = 1 | ((1 & stars) << 1)
        for character in name:
            steps, stays = self.literals.get(character, 0), self.any_stars
            if character != ".":
                steps |= self.one
                stays |= self.segment_stars
            reached = ((reached & steps) << 1) | (reached & stays)
            # A star may stand for nothing. Neighbouring stars are one token, so one step will do.
            reached |= (reached & stars) << 1
            if not reached:
                return False
        return bool(reached >> self.length & 1)


@lru_cache(maxsize=4096)
def compile_pattern(glob: str) -> Pattern:
    """The pattern for a glob; every text is one."""
    literals: dict[str, int] = {}
    one = segment_stars = any_stars = position = index = 0
    while index < len(glob):
        bit = 1 << position
        run = 1
        if glob[index] == "*":
            while glob[index : index + run + 1] == "*" * (run + 1):
                run += 1
            if run == 1:
                segment_stars |= bit
            else:
                any_stars |= bit
        elif glob[index] == "?":
            one |= bit
        else:
            literals[glob[index]] = literals.get(glob[index], 0) | bit
        index += run
        position += 1
    return Pattern(literals, one, segment_stars, any_stars, position)


def full_name(service_name: str, metric_name: str) -> str:
    """What a pattern is matched against."""
    return f"{service_name}.{metric_name}"
