"""What the writer asks the database: series ids, the calendar, and to keep the blocks."""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors
from psycopg.rows import DictRow, dict_row

from wedsync_apm.db.queries import load_queries
from wedsync_apm.db.statement import Statement
from wedsync_apm.ingest.calendar import ContextSpan
from wedsync_apm.ingest.identity import fingerprint, tags_text
from wedsync_apm.ingest.model import Refusal
from wedsync_apm.ingest.packing import PackedBlocks
from wedsync_apm.metrics.blocks.wire import read_array
from wedsync_apm.metrics.model import REFUSED, UNKNOWN_ORGANIZATION, SeriesKey

try:
    from wedsync_apm.ingest.samples import pack_items
except ImportError:  # no compiler was there when the product was installed
    from wedsync_apm.ingest.plain_samples import pack_items

Q = load_queries(__package__)

Connection = psycopg.AsyncConnection[DictRow]

STORE_BLOCKS: Final = Statement("store_blocks", Q.store_blocks)
RESOLVE_SERIES: Final = Statement("resolve_series", Q.resolve_series)
FIND_WEDDING_CONTEXTS: Final = Statement("find_wedding_contexts", Q.find_wedding_contexts)
_PREPARED: Final = (STORE_BLOCKS, RESOLVE_SERIES, FIND_WEDDING_CONTEXTS)

BYTEA_OID: Final = 17
TEXT_OID: Final = 25
UUID_OID: Final = 2950
_INT4: Final = struct.Struct(">i")
_INT8: Final = struct.Struct(">q")
_read_spans: Final = msgspec.json.Decoder(list[tuple[UUID, int, int, str]]).decode


async def connect(conninfo: str) -> Connection:
    """The writer's own connection, on which every statement is its own transaction by default."""
    return await psycopg.AsyncConnection.connect(
        conninfo,
        autocommit=True,
        prepare_threshold=None,
        row_factory=dict_row,
        application_name="wedsync-apm/writer",
        connect_timeout=5,
    )


async def prepare(cx: Connection) -> bool:
    """Has the server keep the plans of what this connection does most; whether it does."""
    for statement in _PREPARED:
        if not await statement.prepare(cx):
            return False
    return True


async def resolve_series(
    cx: Connection, keys: Sequence[SeriesKey], series_limit: int, *, prepared: bool = False
) -> NDArray[np.int32]:
    """The id of each series, at least one, or `REFUSED`, or `UNKNOWN_ORGANIZATION`.

    `prepared`: `RESOLVE_SERIES` is, on this connection.
    """
    tags = [tags_text(key.tags) for key in keys]
    values = {
        "organization_ids": pack_items([key.organization_id.bytes for key in keys], UUID_OID),
        "service_names": pack_items([key.service_name for key in keys], TEXT_OID),
        "metric_names": pack_items([key.metric_name for key in keys], TEXT_OID),
        "metric_types": pack_items([key.metric_type for key in keys], TEXT_OID),
        "units": pack_items([key.unit for key in keys], TEXT_OID),
        "tags": pack_items(tags, TEXT_OID),
        "fingerprints": pack_items(
            [
                fingerprint(key.service_name, key.metric_name, text)
                for key, text in zip(keys, tags, strict=True)
            ],
            BYTEA_OID,
        ),
        "series_limit": _INT4.pack(series_limit),
        "refused": _INT4.pack(REFUSED),
        "unknown_organization": _INT4.pack(UNKNOWN_ORGANIZATION),
    }
    found = await _run(cx, RESOLVE_SERIES, values, prepared=prepared)
    assert found is not None  # noqa: S101 - the function always gives an array
    return read_array(found)


async def find_wedding_contexts(
    cx: Connection,
    organizations: Sequence[UUID],
    start_ms: int,
    end_ms: int,
    *,
    prepared: bool = False,
) -> dict[UUID, list[ContextSpan]]:
    """The spans with a wedding context of each organization, the most telling one first.

    `prepared`: `FIND_WEDDING_CONTEXTS` is, on this connection.
    """
    values = {
        "organization_ids": pack_items([one.bytes for one in organizations], UUID_OID),
        "start_ms": _INT8.pack(start_ms),
        "end_ms": _INT8.pack(end_ms),
    }
    found = await _run(cx, FIND_WEDDING_CONTEXTS, values, prepared=prepared)
    spans: defaultdict[UUID, list[ContextSpan]] = defaultdict(list)
    for organization_id, start, end, context in _read_spans(found) if found else ():
        spans[organization_id].append(ContextSpan(start, end, context))
    return spans


async def store_flush(
    cx: Connection,
    packed: Sequence[PackedBlocks],
    ended: Mapping[UUID, Mapping[int, int]],
    *,
    prepared: bool = False,
) -> None:
    """Writes the blocks, and notes for each organization which series ended, at
    which millisecond: all of it, in one transaction of its own, or nothing.

    `prepared`: `STORE_BLOCKS` is, on this connection.
    """
    if len(packed) == 1 and not ended:  # nearly always: it is its own transaction
        await _run(cx, STORE_BLOCKS, _parameters(packed[0]), prepared=prepared)
        return
    async with cx.transaction():
        for one in packed:
            await _run(cx, STORE_BLOCKS, _parameters(one), prepared=False)
        for organization_id, times in ended.items():
            await cx.execute(
                Q.end_series,
                {
                    "organization_id": organization_id,
                    "series_ids": list(times),
                    "ended_ms": list(times.values()),
                },
            )


async def _run(
    cx: Connection, statement: Statement, values: Mapping[str, bytes], *, prepared: bool
) -> bytes | None:
    ordered = [values[name] for name in statement.parameters]
    try:
        return await statement.run(cx, ordered, prepared=prepared)
    except errors.InvalidSqlStatementName:
        return await statement.run(cx, ordered, prepared=False)


def _parameters(packed: PackedBlocks) -> dict[str, bytes]:
    """The values of `STORE_BLOCKS`."""
    blocks = packed.blocks
    owners = [packed.organizations[handle] for handle in blocks.organizations]
    return {
        "organization_ids": pack_items([owner.data for owner in owners], UUID_OID),
        "earliest": blocks.earliest,
        "latest": blocks.latest,
        "series_ids": blocks.series_ids,
        "offsets_ms": blocks.offsets_ms,
        "metric_values": blocks.metric_values,
        "start_ats": blocks.start_ats,
        "stop_ats": blocks.stop_ats,
        "context_ats": blocks.context_ats,
        "source_ats": blocks.source_ats,
        "wedding_contexts": pack_items(packed.contexts, TEXT_OID),
        "apm_sources": pack_items(packed.sources, TEXT_OID),
    }


async def announce_flushes(cx: Connection, event: str) -> None:
    """Tells whoever listens that samples came in."""
    await cx.execute(Q.announce_flushes, {"event": event})


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
