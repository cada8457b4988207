"""The C library's memory, of which Python and the database's driver take their larger pieces."""

import ctypes
import sys
from contextlib import suppress
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
# The three of <malloc.h>; glibc alone has them.

LARGE_BYTES: Final = 256 * 1024
"""A piece so large gets pages of its own, which go back as soon as it is not needed."""
SPARE_BYTES: Final = 1024 * 1024
"""What is kept at the end of the heap for the next piece."""
ARENAS: Final = 2


def give_memory_back() -> None:
    """From now on memory that is free goes back to the system.

    By itself glibc raises both thresholds, up to 64 MB, after the first large piece: a process that
    once read a large answer would keep its room for ever, and each thread its own.
    """
    if sys.platform != "linux":
        return
    with suppress(AttributeError):  # musl gives back as it is
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, SPARE_BYTES)
        mallopt(_ARENA_MAX, ARENAS)
