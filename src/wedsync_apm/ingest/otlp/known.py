"""What a process remembers of senders: their series by the bytes that name them."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.otlp.expansion import Part
from wedsync_apm.ingest.otlp.exponential import Ladder
from wedsync_apm.ingest.otlp.model import Attributes

MOST_REMEMBERED_BYTES: Final = 256 * 1024 * 1024
"""Roughly; then all is learnt anew."""
_AN_ENTRY: Final = 300
"""Bytes that remembering anything takes besides its key."""

Tags = dict[str, str]


@dataclass(slots=True)
class Parts:
    """The series of one histogram or summary."""

    tags: Tags
    handles: dict[Part, int] = field(default_factory=dict)
    ladder: Ladder = field(default_factory=Ladder)


@dataclass(slots=True)
class Stream:
    """A metric of a scope; what is known of its points by their attributes."""

    name: str
    unit: str | None
    metric_type: str
    tags: Tags
    numbers: dict[Attributes, int] = field(default_factory=dict)
    parts: dict[Attributes, Parts] = field(default_factory=dict)


@dataclass(slots=True)
class Origin:
    """A resource or one of its scopes: its tags, or why it has none, decided once."""

    tags: Tags | None = None
    refused: tuple[str, str, str] | None = None
    """The arguments of a Refused: an exception that is raised twice grows."""

    def checked(self) -> Tags:
        """Raises Refused if the origin is no good."""
        if self.refused is not None:
            raise Refused(*self.refused)
        return self.tags or {}


@dataclass(slots=True)
class ScopeMemory:
    """A scope of a resource with its metrics."""

    origin: Origin
    streams: dict[Hashable, Stream] = field(default_factory=dict)


@dataclass(slots=True)
class ResourceMemory:
    """A resource with its scopes."""

    origin: Origin
    scopes: dict[Hashable, ScopeMemory] = field(default_factory=dict)


class Memory:
    """Of one process, by the handles of one directory."""

    def __init__(self) -> None:
        self.resources: dict[Hashable, ResourceMemory] = {}
        self.size = 0

    def grow(self, *keys: Hashable) -> None:
        """Notes what something more takes."""
        self.size += _AN_ENTRY + sum(map(_size, keys))

    def begin(self) -> None:
        """A request comes: forgets everything if it is too much."""
        if self.size > MOST_REMEMBERED_BYTES:
            self.resources.clear()
            self.size = 0


def _size(key: Hashable) -> int:
    """Roughly how many bytes a key takes."""
    if isinstance(key, tuple):
        return 56 * len(key) + sum(map(_size, key))
    return len(key) if isinstance(key, bytes | str) else 16
