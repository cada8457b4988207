"""What the writer asks the database: series ids, the calendar, and to keep the blocks."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.adapt import Buffer, Dumper, PyFormat
from psycopg.pq import Format
from psycopg.rows import DictRow, dict_row

from wedsync_apm.db.copying import copy_in
from wedsync_apm.db.queries import load_queries
from wedsync_apm.ingest.calendar import ContextSpan
from wedsync_apm.ingest.copy_format import (
    COLUMNS,
    FLOAT8_OID,
    INT4_OID,
    TIMESTAMPTZ_OID,
    UUID_OID,
    PackedBlocks,
    pack_array,
    pack_copy,
    postgres_microseconds,
)
from wedsync_apm.ingest.model import Refusal
from wedsync_apm.metrics.model import REFUSED, UNKNOWN_ORGANIZATION, Ints, SeriesKey

Q = load_queries(__package__)

Connection = psycopg.AsyncConnection[DictRow]

_encode = msgspec.json.Encoder().encode

LIVE_CHANNEL: Final = "apm_live"
MOST_ANNOUNCED_ORGANIZATIONS: Final = 150
"""A notification carries at most 8,000 bytes."""

_ARRAY_OIDS: Final = {
    INT4_OID: 1007,
    FLOAT8_OID: 1022,
    TIMESTAMPTZ_OID: 1185,
    UUID_OID: 2951,
}
_COPY: Final = (
    sql.SQL("copy public.apm_metrics ({}) from stdin (format binary)")
    .format(sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
    .as_bytes()
)


@dataclass(frozen=True, slots=True)
class _Array:
    """An array that is packed already."""

    oid: int
    data: bytes


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def __init__(self, cls: type, context: Any = None, oid: int = 0) -> None:
        super().__init__(cls, context)
        self.oid = oid

    def get_key(self, obj: _Array, format: PyFormat) -> tuple[type, int]:  # type: ignore[override]
        return (self.cls, obj.oid)

    def upgrade(self, obj: _Array, format: PyFormat) -> Dumper:
        return type(self)(self.cls, oid=obj.oid)

    def dump(self, obj: _Array) -> Buffer:
        return obj.data


async def connect(conninfo: str) -> Connection:
    """The writer's own connection, on which every statement is its own transaction by default."""
    cx = await psycopg.AsyncConnection.connect(
        conninfo,
        autocommit=True,
        prepare_threshold=None,
        row_factory=dict_row,
        application_name="wedsync-apm/writer",
        connect_timeout=5,
    )
    cx.adapters.register_dumper(_Array, _ArrayDumper)
    return cx


async def can_copy(cx: Connection) -> bool:
    """Whether COPY is open to this login."""
    row = await (await cx.execute(Q.find_writer_rights)).fetchone()
    return bool(row and row["can_copy"])


async def resolve_series(
    cx: Connection, keys: Sequence[SeriesKey], series_limit: int
) -> NDArray[np.int32]:
    """The id of each series, or `REFUSED`, or `UNKNOWN_ORGANIZATION`."""
    organizations = b"".join([key.organization_id.bytes for key in keys])
    found = await cx.execute(
        Q.resolve_series,
        {
            "organization_ids": _array(np.frombuffer(organizations, "V16"), UUID_OID),
            "service_names": [key.service_name for key in keys],
            "metric_names": [key.metric_name for key in keys],
            "metric_types": [key.metric_type for key in keys],
            "units": [key.unit for key in keys],
            "tags": [_encode(dict(key.tags)).decode() for key in keys],
            "series_limit": series_limit,
            "refused": REFUSED,
            "unknown_organization": UNKNOWN_ORGANIZATION,
        },
    )
    row = await found.fetchone()
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY always gives one
    return np.array(row["series_ids"], np.int32)


async def find_wedding_contexts(
    cx: Connection, organizations: Sequence[UUID], start_ms: int, end_ms: int
) -> dict[UUID, list[ContextSpan]]:
    """The spans with a wedding context of each organization, the most telling one first."""
    found = await cx.execute(
        Q.find_wedding_contexts,
        {"organization_ids": list(organizations), "start_ms": start_ms, "end_ms": end_ms},
    )
    spans: defaultdict[UUID, list[ContextSpan]] = defaultdict(list)
    for row in await found.fetchall():
        spans[row["organization_id"]].append(
            ContextSpan(row["start_ms"], row["end_ms"], row["context"])
        )
    return spans


async def store_flush(
    cx: Connection,
    packed: Sequence[PackedBlocks],
    ended: Mapping[UUID, Mapping[int, int]],
    *,
    copy: bool,
) -> None:
    """Writes and announces the blocks, and notes for each organization which series ended, at
    which millisecond: all of it, in one transaction of its own, or nothing."""
    if copy and packed:
        statements = [_bound(cx, Q.announce_flush, _announced(packed))]
        statements += [_bound(cx, Q.end_series, end) for end in _ends(ended)]
        data = pack_copy(packed)
        await copy_in(cx, b"; ".join([*statements, _COPY]), data)
        return
    async with cx.transaction():
        if packed:
            await cx.execute(Q.announce_flush, _announced(packed))
        for one in packed:
            await cx.execute(Q.insert_blocks, _inserted(one))
        for end in _ends(ended):
            await cx.execute(Q.end_series, end)


def _bound(cx: Connection, query: str, parameters: Mapping[str, str]) -> bytes:
    return psycopg.AsyncClientCursor(cx).mogrify(query, parameters).encode()


def _announced(packed: Sequence[PackedBlocks]) -> dict[str, str]:
    """For each organization the times between which it has new samples."""
    names: list[str] = []
    earliest: list[Ints] = []
    latest: list[Ints] = []
    for one in packed:
        # Blocks are ordered by organization, so its own stand side by side.
        first = np.flatnonzero(np.diff(one.blocks.organization, prepend=-1))
        handles = one.blocks.organization[first].tolist()
        names += [one.organizations[handle].text for handle in handles]
        earliest.append(np.minimum.reduceat(one.blocks.first_ms, first))
        latest.append(np.maximum.reduceat(one.blocks.last_ms, first))
    return {
        "organization_ids": f"{{{','.join(names)}}}",
        "earliest": _moments(np.concatenate(earliest)),
        "latest": _moments(np.concatenate(latest)),
        "event": _event(names),
    }


def _moments(times_ms: Ints) -> str:
    distinct, where = np.unique(times_ms, return_inverse=True)
    texts = np.datetime_as_string(distinct.astype("datetime64[ms]"), timezone="UTC")
    return f"{{{','.join(texts[where].tolist())}}}"


def _inserted(packed: PackedBlocks) -> dict[str, Any]:
    blocks = packed.blocks
    ids = [packed.organizations[handle].data for handle in blocks.organization.tolist()]
    return {
        "organization_ids": _array(np.frombuffer(b"".join(ids), "V16"), UUID_OID),
        "earliest": _array(postgres_microseconds(blocks.first_ms), TIMESTAMPTZ_OID),
        "latest": _array(postgres_microseconds(blocks.last_ms), TIMESTAMPTZ_OID),
        "series_ids": _array(blocks.series_ids, INT4_OID),
        "offsets_ms": _array(blocks.offsets_ms, INT4_OID),
        "metric_values": _array(blocks.values, FLOAT8_OID),
        "start_ats": _array(blocks.starts[:-1] + 1, INT4_OID),
        "stop_ats": _array(blocks.starts[1:], INT4_OID),
        "wedding_contexts": [packed.contexts[code] for code in blocks.context],
        "apm_sources": [packed.sources[code] for code in blocks.source],
    }


def _ends(ended: Mapping[UUID, Mapping[int, int]]) -> Iterator[dict[str, str]]:
    for organization_id, times in ended.items():
        yield {
            "organization_id": str(organization_id),
            "series_ids": f"{{{','.join(map(str, times))}}}",
            "ended_at": _moments(np.fromiter(times.values(), np.int64)),
        }


async def count_refusals(cx: Connection, refusals: Mapping[tuple[UUID, str, str], Refusal]) -> None:
    """Adds to the counts that organizations see; the keys are organization, source and reason."""
    await cx.execute(
        Q.count_refusals,
        {
            "organization_ids": [organization_id for organization_id, _, _ in refusals],
            "sources": [source for _, source, _ in refusals],
            "reasons": [reason for _, _, reason in refusals],
            "counts": [refusal.count for refusal in refusals.values()],
            "examples": [refusal.example for refusal in refusals.values()],
        },
    )


def _array(values: NDArray[np.generic], oid: int) -> _Array:
    return _Array(_ARRAY_OIDS[oid], pack_array(values, oid))


def _event(organizations: Collection[str]) -> str:
    """One notification a flush. Where it cannot name all organizations it names none, which means
    that any may have new samples."""
    named = "null"
    if len(organizations) <= MOST_ANNOUNCED_ORGANIZATIONS:
        named = '["' + '","'.join(organizations) + '"]'
    only = f'"{next(iter(organizations))}"' if len(organizations) == 1 else "null"
    return (
        f'{{"topic":"metrics","action":"flush","id":null,'
        f'"organization_id":{only},"organization_ids":{named}}}'
    )
