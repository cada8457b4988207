"""The process apart that reads a file: `python -m wedsync_apm.weddings.imports.child KIND`.

Standard input is a line with the habits as JSON, then the file; standard output is the reading as
JSON, or `{"refused": [...]}`. It has nothing to lose: no secret, no connection, and so much time
and memory.
"""

import resource
import sys
from typing import Final

import msgspec

from wedsync_apm.errors import NotValid
from wedsync_apm.weddings.imports.calendars import read_calendar
from wedsync_apm.weddings.imports.model import FileKind, Habits
from wedsync_apm.weddings.imports.tables import read_table

CPU_SECONDS: Final = 10
MEMORY_BYTES: Final = 1024 * 1024 * 1024


def main() -> None:
    """Reads one file and ends."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    read = {FileKind.CALENDAR: read_calendar, FileKind.TABLE: read_table}[FileKind(sys.argv[1])]
    line, _, body = sys.stdin.buffer.read().partition(b"\n")
    try:
        answer = msgspec.json.encode(read(body, msgspec.json.decode(line, type=Habits)))
    except NotValid as exc:
        refused = [{"field": one.field, "reason": one.reason} for one in exc.errors]
        answer = msgspec.json.encode({"refused": refused})
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()
