"""`POST /api/v1/check_run`: each check a sample: 0 OK, 1 warning, 2 critical, 3 unknown.

The series has the check's name. A message is not kept: what a check says belongs to an incident.
"""

from typing import Any

import msgspec

from wedsync_apm.errors import NotValid
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.datadog.reader import PARTS_A_SAMPLE, Reader, milliseconds, number
from wedsync_apm.ingest.foreign_json import convert, read_json
from wedsync_apm.ingest.model import Arrival, Decoded


class _Check(msgspec.Struct):
    check: str
    status: Any
    host_name: str | None = None
    timestamp: Any = None
    tags: list[str] | None = None


async def decode_checks(body: bytes, arrival: Arrival) -> Decoded:
    """One check as an object (datadogpy), or a list of them (everybody else).

    A check without a time is of now.
    """
    found = read_json(body, 1_000 + PARTS_A_SAMPLE * arrival.limits.samples)
    items = found if isinstance(found, list) else [found]
    if not isinstance(found, list | dict):
        raise NotValid("The body is no check and no list of checks.")
    reader = Reader(arrival)
    reader.expect(len(items))
    for position, item in enumerate(items):
        try:
            _take(reader, arrival, position, item)
        except Refused as refused:
            reader.columns.refuse(refused, position=position)
        await reader.pause()
    return reader.finish()


def _take(reader: Reader, arrival: Arrival, position: int, item: Any) -> None:
    try:
        one = convert(item, _Check)
    except ValueError as exc:
        raise Refused(model.INVALID, "check", f"is not of its shape: {exc}") from None
    status = number(one.status, "status")
    if status not in (0, 1, 2, 3):
        raise Refused(model.INVALID, "status", "is none of 0, 1, 2 and 3")
    at = arrival.now_ms if one.timestamp is None else milliseconds(one.timestamp, "timestamp")
    reader.columns.check_time(at)
    (handle,) = reader.series(one.check, one.tags or (), host=one.host_name or "")
    reader.columns.add(handle, at, status, position=position)
