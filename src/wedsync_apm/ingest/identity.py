"""What makes a series one, written as PostgreSQL writes it: its tags as jsonb, and its fingerprint.

The same bytes as `apm_private.series_fingerprint` makes, without asking the database.
"""

from functools import lru_cache
from hashlib import sha256
from json import JSONEncoder
from typing import Final

from wedsync_apm.ingest import plain_runs
from wedsync_apm.ingest.plain_runs import Member, Tag

try:
    from wedsync_apm.ingest.runs import joined_members
except ImportError:  # no compiler was there when the product was installed
    from wedsync_apm.ingest.plain_runs import joined_members

MOST_MEMBERS: Final = 50_000
"""Distinct tags whose text is remembered."""

# Both escape the quotation mark, the backslash and what is below U+0020, and nothing else.
_quoted: Final = lru_cache(maxsize=16_384)(JSONEncoder(ensure_ascii=False).encode)
_members: Final[dict[Tag, Member]] = {}


def tags_text(tags: tuple[Tag, ...]) -> str:
    """Tags, each name once, as a jsonb is shown: the shorter names first, then by their bytes."""
    if len(_members) >= MOST_MEMBERS:
        _members.clear()
    joined = joined_members(tags, _members, _member)
    if joined is None:
        joined = plain_runs.joined_members(tags, _members, _member) or b""
    return f"{{{joined.decode()}}}"


def fingerprint(service_name: str, metric_name: str, tags: str) -> bytes:
    """Of a series whose tags are written as `tags_text` has them."""
    text = f"[{_quoted(service_name)}, {_quoted(metric_name)}, {tags}]"
    return sha256(text.encode()).digest()


def _member(tag: Tag) -> Member:
    name, value = tag
    encoded = name.encode()
    return len(encoded).to_bytes(4) + encoded, f"{_quoted(name)}: {_quoted(value)}".encode()
