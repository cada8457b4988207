"""What processes that serve together know of each other: telemetry, and open event streams.

Each publishes what it has every second, and whenever it is asked for the sum: so no sum that
anybody was told is ever larger than a later one. What a process has counted outlives it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID

import msgspec

from wedsync_apm.board import Place, Seat
from wedsync_apm.telemetry import Gauge, Snapshot, get_logger, go_on_from, take_snapshot

log = get_logger(__name__)

EVERY_SECONDS: Final = 1.0

CONNECTIONS = Gauge(
    "wedsync_apm_serve_connections", "Open connections of each process", ("process",), of_all=True
)
UP = Gauge(
    "wedsync_apm_serve_up",
    "Whether each process takes connections: 1 or 0",
    ("process",),
    of_all=True,
)


class _Publication(msgspec.Struct, array_like=True):
    snapshot: Snapshot = msgspec.field(default_factory=lambda: Snapshot({}, {}))
    streams: dict[UUID, int] = {}


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Publication).decode


class Published:
    """The board of a process, if it has one."""

    def __init__(self, seat: Seat | None = None) -> None:
        self._seat = seat
        self._due = 0.0
        self._streams: Callable[[], Mapping[UUID, int]] = dict
        if seat is not None:
            go_on_from(_read(seat.own).snapshot)
            # Nobody shall take how things were in the process before this one for how they are.
            self._publish(seat)

    def tick(self, streams: Callable[[], Mapping[UUID, int]]) -> None:
        """Shows that the process lives; called ten times a second."""
        if self._seat is None:
            return
        self._seat.own.beat()
        self._streams = streams
        now = time.monotonic()
        if now >= self._due:
            self._due = now + EVERY_SECONDS
            self._publish(self._seat)

    def snapshots_elsewhere(self) -> list[Snapshot]:
        """The numbers of the other processes; of one that is away, what it has counted."""
        if self._seat is None:
            return []
        for place in self._seat.places:
            CONNECTIONS.set(place.connections, process=str(place.number))
            UP.set(place.is_heard, process=str(place.number))
        self._publish(self._seat)
        found = [(place, _read(place).snapshot) for place in self._seat.others]
        return [one if place.is_heard else replace(one, levels={}) for place, one in found]

    def streams_elsewhere(self, organization_id: UUID) -> int:
        """How many event streams of an organization the other processes have open, as of a second
        ago."""
        others = self._seat.others if self._seat else ()
        return sum(
            _read(place).streams.get(organization_id, 0) for place in others if place.is_heard
        )

    def _publish(self, seat: Seat) -> None:
        try:
            seat.own.publish(_encode(_Publication(take_snapshot(), dict(self._streams()))))
        except ValueError as exc:
            log.error("Telemetry is too large: %s", exc, extra={"action": "publish_failed"})


def _read(place: Place) -> _Publication:
    text = place.published()
    return _decode(text) if text else _Publication()
