"""Quantiles out of the counts of a histogram's buckets, each of which is a series with the label
`le`: within the bucket in proportion, as Prometheus documents it."""

import math
from collections import defaultdict
from typing import Final

import numpy as np

from wedsync_apm.metrics.expression.vectors import (
    NAME,
    Matrix,
    Scalar,
    Vector,
    key_of,
    nothing,
    without,
)
from wedsync_apm.metrics.model import Floats

_LE: Final = "le"


def histogram_quantile(quantile: Scalar, vector: Vector) -> Vector:
    """One series for each combination of the other labels."""
    instants = vector.matrix.values.shape[1]
    wanted = np.broadcast_to(quantile, instants)
    rows: defaultdict[frozenset[tuple[str, str]], list[tuple[float, int]]] = defaultdict(list)
    for row, labels in enumerate(vector.labels):
        bound = _bound(labels.get(_LE))
        if bound is not None:
            rows[key_of(without(labels, (_LE, NAME)))].append((bound, row))
    if not rows:
        return nothing(instants)
    found = np.full((len(rows), instants), np.nan)
    present = np.zeros(found.shape, np.bool_)
    for number, those in enumerate(rows.values()):
        those.sort()
        bounds = np.array([bound for bound, _ in those])
        matrix = vector.matrix.of([row for _, row in those])
        # Which buckets are there seldom changes: the instants at which it is the same together.
        kinds, which = np.unique(matrix.present, axis=1, return_inverse=True)
        for kind in range(kinds.shape[1]):
            there = kinds[:, kind]
            if there.any():
                columns = np.flatnonzero(which.ravel() == kind)
                counts = matrix.values[np.ix_(there, columns)]
                found[number, columns] = _quantile(wanted[columns], bounds[there], counts)
                present[number, columns] = True
    return Vector([dict(sorted(one)) for one in rows], Matrix(found, present))


def _bound(text: str | None) -> float | None:
    try:
        bound = math.nan if text is None else float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def _quantile(quantile: Floats, bounds: Floats, counts: Floats) -> Floats:
    """For each column of counts; the bounds ascend."""
    out_of_range = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, np.nan))
    is_inside = (quantile >= 0) & (quantile <= 1)
    starts = np.flatnonzero(np.append(True, bounds[1:] != bounds[:-1]))
    # Buckets of one bound are one; a count below that of a smaller bound is a slip of the clock.
    upper, counts = bounds[starts], np.add.reduceat(counts, starts, axis=0)
    counts = np.fmax.accumulate(counts, axis=0)
    if len(upper) < 2 or upper[-1] != np.inf:
        return out_of_range
    columns = np.arange(counts.shape[1])
    rank = np.where(is_inside, quantile, 0.0) * counts[-1]
    bucket = np.minimum((counts < rank).sum(axis=0), len(upper) - 1)
    below = np.maximum(bucket - 1, 0)
    is_first = bucket == 0
    begins = np.where(is_first, 0.0, upper[below])
    before = np.where(is_first, 0.0, counts[below, columns])
    within = (rank - before) / (counts[bucket, columns] - before)
    found = begins + (upper[bucket] - begins) * within
    found = np.where(is_first & (upper[0] <= 0), upper[0], found)
    found = np.where(bucket == len(upper) - 1, upper[-2], found)
    # NaN where nothing was observed
    return np.where(is_inside, np.where(counts[-1] == 0, np.nan, found), out_of_range)
