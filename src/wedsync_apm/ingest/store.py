"""What the writer asks the database: series ids, the calendar, and to keep the blocks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors
from psycopg.adapt import Buffer, Dumper, PyFormat
from psycopg.pq import Format
from psycopg.rows import DictRow, dict_row

from wedsync_apm.db.queries import load_queries
from wedsync_apm.db.statement import Statement
from wedsync_apm.ingest.arrays import (
    FLOAT8_OID,
    INT4_OID,
    UUID_OID,
    PackedBlocks,
    pack_array,
    pack_texts,
    pack_times,
    pack_uuids,
)
from wedsync_apm.ingest.calendar import ContextSpan
from wedsync_apm.ingest.model import Refusal
from wedsync_apm.metrics.model import REFUSED, UNKNOWN_ORGANIZATION, OrganizationForms, SeriesKey

Q = load_queries(__package__)

Connection = psycopg.AsyncConnection[DictRow]

_encode = msgspec.json.Encoder().encode

LIVE_CHANNEL: Final = "apm_live"
MOST_ANNOUNCED_ORGANIZATIONS: Final = 150
"""A notification carries at most 8,000 bytes."""

STORE_BLOCKS: Final = Statement("store_blocks", Q.store_blocks)

_ARRAY_OIDS: Final = {UUID_OID: 2951}


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
    prepared: bool = False,
) -> None:
    """Writes and announces the blocks, and notes for each organization which series ended, at
    which millisecond: all of it, in one transaction of its own, or nothing.

    `prepared`: `STORE_BLOCKS` is, on this connection.
    """
    if len(packed) == 1 and not ended:  # nearly always: it is its own transaction
        values = _parameters(packed[0])
        try:
            await STORE_BLOCKS.run(cx, values, prepared=prepared)
        except errors.InvalidSqlStatementName:
            await STORE_BLOCKS.run(cx, values, prepared=False)
        return
    async with cx.transaction():
        for one in packed:
            await STORE_BLOCKS.run(cx, _parameters(one), prepared=False)
        for organization_id, times in ended.items():
            await cx.execute(
                Q.end_series,
                {
                    "organization_id": organization_id,
                    "series_ids": list(times),
                    "ended_ms": list(times.values()),
                },
            )


def _parameters(packed: PackedBlocks) -> list[bytes]:
    """The values of `STORE_BLOCKS`."""
    blocks = packed.blocks
    owners = [packed.organizations[handle] for handle in blocks.organization.tolist()]
    values = {
        "organization_ids": pack_uuids([owner.data for owner in owners]),
        "earliest": pack_times(blocks.first_ms),
        "latest": pack_times(blocks.last_ms),
        "event": _event(owners),
        "series_ids": pack_array(blocks.series_ids, INT4_OID),
        "offsets_ms": pack_array(blocks.offsets_ms, INT4_OID),
        "metric_values": pack_array(blocks.values, FLOAT8_OID),
        "start_ats": pack_array(blocks.starts[:-1] + 1, INT4_OID),
        "stop_ats": pack_array(blocks.starts[1:], INT4_OID),
        "context_ats": pack_array(blocks.context + 1, INT4_OID),
        "source_ats": pack_array(blocks.source + 1, INT4_OID),
        "wedding_contexts": pack_texts(packed.contexts),
        "apm_sources": pack_texts(packed.sources),
    }
    return [values[name] for name in STORE_BLOCKS.parameters]


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


def _event(owners: Sequence[OrganizationForms]) -> bytes:
    """One notification a flush. Where it cannot name all organizations it names none, which means
    that any may have new samples."""
    names = list(dict.fromkeys([owner.text for owner in owners]))
    named = "null"
    if len(names) <= MOST_ANNOUNCED_ORGANIZATIONS:
        named = '["' + '","'.join(names) + '"]'
    only = f'"{names[0]}"' if len(names) == 1 else "null"
    return (
        f'{{"topic":"metrics","action":"flush","id":null,'
        f'"organization_id":{only},"organization_ids":{named}}}'
    ).encode()
