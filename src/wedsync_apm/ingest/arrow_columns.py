"""The columns of a record batch, by codes: equal values have equal numbers.

All of it is done by Arrow and numpy for whole columns; a value becomes a Python object only when
somebody asks what a code stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wedsync_apm.errors import FieldError, NotValid, TooLarge
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.metrics.model import Floats, Ints, Mask

REQUIRED: Final = ("service_name", "metric_name", "value")
KEYS: Final = ("service_name", "metric_name", "tags", "unit", "metric_type")
"""What makes a series, and what is learnt about it."""
COLUMNS: Final = (*KEYS, "value", "timestamp", "wedding_context")

NULL: Final = -1
MOST_PAIRS_AT_ONCE: Final = 4_000_000
"""Tags of all rows of a batch: as codes they may take two bytes there, and fifty here."""
MOST_FIELDS: Final = 128
"""Of tags as a struct."""
MOST_PAIRS: Final = 1_000
"""Of a row's tags that are looked at; fewer are taken."""
_MOST_SECONDS: Final = 2**53

Codes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column whose equal values have equal codes, `NULL` where there is none."""

    codes: Codes
    value: Callable[[int], Any]
    """What a code stands for."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A record batch, read."""

    keys: dict[str, Coded]
    combination: Ints
    """Of each row, a position in `combinations`."""
    combinations: Codes
    """Distinct rows of codes, one a column of `KEYS`."""
    values: Floats
    has_value: Mask
    times_ms: Ints
    has_time: Mask
    contexts: Coded

    def __len__(self) -> int:
        return len(self.values)


def read_rows(batch: Any) -> Rows:
    """Raises NotValid for columns that are missing or of another type."""
    missing = [name for name in REQUIRED if name not in batch.schema.names]
    if missing:
        raise NotValid(errors=[FieldError(name, "is missing") for name in missing])
    count = batch.num_rows
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    keys = {
        name: _coded(name, columns[name], _tags if name == "tags" else _texts)
        for name in KEYS
        if name in columns
    }
    nothing = Coded(np.full(count, NULL, np.int32), lambda _: None)
    keys = {name: keys.get(name, nothing) for name in KEYS}
    table = np.stack([keys[name].codes for name in KEYS], axis=1)
    combination, combinations = _distinct(table)
    value, time = columns["value"], columns.get("timestamp")
    context = columns.get("wedding_context")
    return Rows(
        keys=keys,
        combination=combination,
        combinations=combinations,
        values=_floats(value),
        has_value=_is_valid(value),
        times_ms=np.zeros(count, np.int64) if time is None else _milliseconds(time),
        has_time=np.zeros(count, np.bool_) if time is None else _is_valid(time),
        contexts=nothing if context is None else _coded("wedding_context", context, _texts),
    )


def _coded(name: str, column: Any, read: Callable[[Any], Coded | None]) -> Coded:
    found = read(column)
    if found is None:
        raise NotValid(errors=[FieldError(name, f"is of type {str(column.type)[:100]}")])
    return found


def _texts(column: Any) -> Coded | None:
    """A column of texts, dictionary-encoded or not; None for another type."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        if not _is_text(kind.value_type):
            return None
    elif _is_text(kind):
        column = column.dictionary_encode()
    elif pa.types.is_null(kind):
        return Coded(np.full(len(column), NULL, np.int32), lambda _: None)
    else:
        return None
    return _of_dictionary(column)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_dictionary(column: Any) -> Coded:
    values, known = column.dictionary, {}
    codes = pc.fill_null(column.indices.cast(pa.int32()), NULL).to_numpy(zero_copy_only=False)

    def value(code: int) -> Any:
        # A value is decoded once, however many combinations have it: it may be large.
        if code not in known:
            known[code] = values[code].as_py()
        return known[code]

    return Coded(codes, value)


def _tags(column: Any) -> Coded | None:
    """A column of tags: a map, a struct, JSON text, or a dictionary of these."""
    kind = column.type
    if pa.types.is_map(kind):
        return _of_map(column)
    if pa.types.is_struct(kind):
        return _of_struct(column)
    if pa.types.is_dictionary(kind) and (
        pa.types.is_map(kind.value_type) or pa.types.is_struct(kind.value_type)
    ):
        inner = _tags(column.dictionary)
        outer = _of_dictionary(column)
        if inner is None:
            return None
        codes = np.where(outer.codes < 0, NULL, np.append(inner.codes, np.int32(NULL))[outer.codes])
        return Coded(codes.astype(np.int32), inner.value)
    return _texts(column)


def _of_map(column: Any) -> Coded | None:
    if len(column.keys) > MOST_PAIRS_AT_ONCE:
        raise TooLarge(f"{len(column.keys)} tags in one batch of rows.")
    names, values = _texts(column.keys), _texts(column.items)
    if names is None or values is None:
        return None
    pairs = names.codes.astype(np.int64) << 32 | (values.codes.astype(np.int64) & 0xFFFFFFFF)
    bounds = column.offsets.to_numpy().astype(np.int64)
    # Each row's pairs as one run of bytes: equal tags are equal bytes.
    runs: Any = pa.Array.from_buffers(
        pa.large_binary(),
        len(column),
        [None, _buffer(bounds * 8), _buffer(pairs)],
    )
    runs = runs.dictionary_encode()
    codes = np.where(_is_valid(column), runs.indices.to_numpy(), NULL).astype(np.int32)

    def value(code: int) -> Any:
        run = np.frombuffer(runs.dictionary[code].as_buffer(), np.int64)
        if len(run) > MOST_PAIRS:
            raise Refused(model.INVALID, "tags", f"{len(run)} tags are too many")
        return tuple(
            (names.value(name), None if inner == NULL else values.value(inner))
            for name, inner in zip((run >> 32).tolist(), run.astype(np.int32).tolist(), strict=True)
        )

    return Coded(codes, value)


def _of_struct(column: Any) -> Coded | None:
    named = [
        (one.name, values)
        for one, values in zip(column.type, column.flatten(), strict=True)
        if not pa.types.is_null(one.type)  # which would take room here, and takes none there
    ]
    if len(named) > MOST_FIELDS:
        raise TooLarge(f"{len(named)} tags; at most {MOST_FIELDS} are looked at.")
    names = [name for name, _ in named]
    fields = [_texts(values) for _, values in named]
    known = [one for one in fields if one is not None]
    if len(known) < len(fields):
        return None
    empty = np.zeros((len(column), 0), np.int32)
    table = np.stack([one.codes for one in known], axis=1) if known else empty
    codes, rows = _distinct(table)
    codes = np.where(_is_valid(column), codes, NULL)

    def value(code: int) -> Any:
        return tuple(
            (name, field.value(inner))
            for name, field, inner in zip(names, known, rows[code].tolist(), strict=True)
            if inner != NULL
        )

    return Coded(codes.astype(np.int32), value)


def _distinct(table: Codes) -> tuple[Ints, Codes]:
    """For each row of codes its position among the distinct rows, and these."""
    count, width = table.shape
    if not width or not count:
        return np.zeros(count, np.int64), table[:1]
    rows: Any = pa.Array.from_buffers(pa.binary(4 * width), count, [None, _buffer(table)])
    rows = rows.dictionary_encode()
    found = np.frombuffer(rows.dictionary.buffers()[1], np.int32, len(rows.dictionary) * width)
    return rows.indices.to_numpy().astype(np.int64), found.reshape(-1, width)


def _buffer(column: NDArray[Any]) -> Any:
    return pa.py_buffer(np.ascontiguousarray(column).data)


def _is_valid(column: Any) -> Mask:
    valid: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _floats(column: Any) -> Floats:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise NotValid(errors=[FieldError("value", f"is of type {str(kind)[:100]}")])
    floats = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0)
    return np.asarray(floats.to_numpy(zero_copy_only=False), np.float64)


def _milliseconds(column: Any) -> Ints:
    kind = column.type
    unit = kind.unit if pa.types.is_timestamp(kind) else "ms"
    if not (
        pa.types.is_timestamp(kind) or pa.types.is_signed_integer(kind) or pa.types.is_null(kind)
    ):
        raise NotValid(errors=[FieldError("timestamp", f"is of type {str(kind)[:100]}")])
    whole = pc.fill_null(column.cast(pa.int64()), 0)
    times: Ints = whole.to_numpy(zero_copy_only=False)
    if unit == "s":
        return np.clip(times, -_MOST_SECONDS, _MOST_SECONDS) * 1000
    return times // {"ms": 1, "us": 1_000, "ns": 1_000_000}[unit]
