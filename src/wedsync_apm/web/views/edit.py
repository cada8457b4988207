"""What keeps two people who change the same thing from undoing each other's work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which what stands now is not what was typed."""

    label: str
    theirs: str
    mine: str


@dataclass(frozen=True, slots=True)
class Clash:
    """Somebody has changed it since the form was opened; `href` opens it as it stands now."""

    href: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Stood:
    """What stood in a form when it was opened, as a mark that the form carries back."""

    mark: str = ""
    clash: Clash | None = None


NEW = Stood()
"""For what is not there yet."""
