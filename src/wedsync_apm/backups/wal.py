"""The names of the log's files: timeline, and number counted from the log's beginning."""

from collections.abc import Iterable
from typing import Final

NAME_LENGTH: Final = 24
PARTIAL: Final = ".partial"
"""Behind the name of the file that is still being written."""


def file_of(timeline: int, number: int, wal_bytes: int) -> str:
    """What a file is called."""
    high, low = divmod(number, 0x1_0000_0000 // wal_bytes)
    return f"{timeline:08X}{high:08X}{low:08X}"


def number_of(name: str, wal_bytes: int) -> int:
    """Which file it is."""
    return int(name[8:16], 16) * (0x1_0000_0000 // wal_bytes) + int(name[16:24], 16)


def bytes_of(lsn: str) -> int:
    """A place in the log, as PostgreSQL writes it, in bytes from the beginning."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def is_file(name: str) -> bool:
    """Whether it is a file of the log, whole or being written."""
    plain = name.removesuffix(PARTIAL)
    return len(plain) == NAME_LENGTH and all(c in "0123456789ABCDEF" for c in plain)


def is_archived(names: Iterable[str], first: str, wal_bytes: int) -> bool:
    """Whether the log lies there without a gap from that file to the last one of its timeline."""
    there = {
        number_of(name, wal_bytes) for name in names if is_file(name) and name[:8] == first[:8]
    }
    begins = number_of(first, wal_bytes)
    there = {number for number in there if number >= begins}
    return bool(there) and len(there) == max(there) - begins + 1
