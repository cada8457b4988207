"""Answers as Prometheus writes them: numbers as texts, times in seconds, lines by their labels."""

from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import Any, Final

import msgspec
import numpy as np

from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.evaluate import Result
from wedsync_apm.metrics.expression.plan import Grid
from wedsync_apm.metrics.expression.vectors import Ranges, Scalar, Vector
from wedsync_apm.metrics.model import Floats

_encode = msgspec.json.Encoder().encode


def write_instant(
    found: Result, grid: Grid, limit: int | None, budget: Budget, warnings: Sequence[str] = ()
) -> bytes:
    """The answer at one instant. Raises TooMuch and OutOfTime."""
    at = seconds(grid.start_ms)
    if isinstance(found, str):
        return data("string", [at, found])
    if isinstance(found, Ranges):
        return _limited("matrix", _of_ranges(found, budget), limit, warnings)
    if not isinstance(found, Vector):
        return data("scalar", [at, numbers_of(found)[0]], warnings)
    rows = np.flatnonzero(found.matrix.present[:, 0]).tolist()
    numbers = numbers_of(found.matrix.values[rows, 0])
    lines = [
        {"metric": found.labels[row], "value": (at, number)}
        for row, number in zip(rows, numbers, strict=True)
    ]
    return _limited("vector", lines, limit, warnings)


def write_range(
    found: Vector | Scalar,
    grid: Grid,
    limit: int | None,
    budget: Budget,
    warnings: Sequence[str] = (),
) -> bytes:
    """The answer at all instants of a range. Raises TooMuch and OutOfTime."""
    heads = heads_of(grid)
    if not isinstance(found, Vector):
        numbers = numbers_of(np.broadcast_to(found, len(heads)))
        return data("matrix", [{"metric": {}, "values": points(heads, numbers)}], warnings)
    budget.check_answer(int(found.matrix.present.sum()))
    lines = []
    for labels, present, row in zip(
        found.labels, found.matrix.present, found.matrix.values, strict=True
    ):
        places = np.flatnonzero(present)
        if len(places):
            budget.check_time()
            there = heads if len(places) == len(heads) else [heads[at] for at in places]
            values = points(there, numbers_of(row[places]))
            lines.append({"metric": labels, "values": values})
    return _limited("matrix", sorted(lines, key=_by_labels), limit, warnings)


def _of_ranges(found: Ranges, budget: Budget) -> list[dict[str, Any]]:
    samples = found.samples
    budget.check_answer(len(samples.values))
    lines = []
    for labels, first, behind in zip(
        found.labels, samples.starts[:-1].tolist(), samples.starts[1:].tolist(), strict=True
    ):
        if first < behind:
            heads = [f'[{seconds(at)},"' for at in samples.at_ms[first:behind].tolist()]
            values = points(heads, numbers_of(samples.values[first:behind]))
            lines.append({"metric": labels, "values": values})
    return sorted(lines, key=_by_labels)


def _by_labels(line: Any) -> Any:
    return sorted(line["metric"].items())


def _limited(kind: str, lines: Sequence[Any], limit: int | None, warnings: Sequence[str]) -> bytes:
    if limit is None or len(lines) <= limit:
        return data(kind, lines, warnings)
    return data(kind, lines[:limit], [*warnings, CUT])


CUT: Final = "results truncated due to limit"


def points(heads: Sequence[str], numbers: Sequence[str]) -> msgspec.Raw:
    """Pairs of a time and a number, in JSON: thousands of small lists cost more than their text."""
    pairs = '"],'.join(map(add, heads, numbers))
    return msgspec.Raw(f'[{pairs}"]]'.encode())


def numbers_of(values: Floats) -> list[str]:
    """As Go writes them: the shortest text that reads back, an exponent only for what is very
    large or very small."""
    if not len(values):
        return []
    text = _encode(values.tolist())[1:-1].decode() + ","
    texts = text.replace(".0,", ",").split(",")[:-1]
    size = np.abs(values)
    # JSON has an exponent for other numbers, and no names for what is no number.
    for place in np.flatnonzero(~((size < 1e16) & (size >= 1e-4)) & (size != 0)).tolist():
        texts[place] = _odd_number(float(values[place]))
    return texts


def _odd_number(value: float) -> str:
    text = repr(value).removesuffix(".0")
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, trim="-")
    return _SPECIAL.get(text, text)


_SPECIAL: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


@lru_cache(maxsize=4)
def heads_of(grid: Grid) -> tuple[str, ...]:
    """How the pair of each instant begins; the panels of a dashboard have them in common."""
    return tuple(f'[{seconds(at)},"' for at in grid.instants_ms.tolist())


def seconds(at_ms: int) -> float:
    """A time as Prometheus writes it: whole where it is whole."""
    whole, rest = divmod(at_ms, 1000)
    return at_ms / 1000 if rest else whole


def data(kind: str, result: Any, warnings: Sequence[str] = ()) -> bytes:
    """The answer to an expression."""
    return success({"resultType": kind, "result": result}, warnings)


def success(found: Any, warnings: Sequence[str] = ()) -> bytes:
    """Any answer."""
    answer = {"status": "success", "data": found}
    return _encode({**answer, "warnings": warnings} if warnings else answer)


def failure(kind: str, text: str) -> bytes:
    """A refusal, by one of Prometheus' words for its kind."""
    return _encode({"status": "error", "errorType": kind, "error": text})
