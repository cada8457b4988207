"""Which samples' times are taken, judged for a whole column at once."""

import numpy as np

from wedsync_apm.errors import FieldError
from wedsync_apm.ingest import model
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Rejections
from wedsync_apm.metrics.model import Ints, Mask, SeriesDirectory


def in_window(
    series: Ints,
    timestamps_ms: Ints,
    *,
    directory: SeriesDirectory,
    limits: IngestLimits,
    now_ms: int,
    rejections: Rejections,
) -> Mask:
    """Which samples have a series (a handle that is not negative) and a time that is taken.

    Those of another time are counted for their organization, with one of them as the example.
    """
    window = limits.window(now_ms)
    good = series >= 0
    for reason, text, outside in (
        (model.TOO_OLD, "is too far back", timestamps_ms < window.earliest_ms),
        (model.TOO_NEW, "lies in the future", timestamps_ms > window.latest_ms),
    ):
        refused = np.flatnonzero(good & outside)
        if len(refused):
            good[refused] = False
            _reject(directory, reason, text, series[refused], rejections)
    return good


def _reject(
    directory: SeriesDirectory, reason: str, text: str, series: Ints, rejections: Rejections
) -> None:
    organizations = directory.organization_of(series)
    found, first, counts = np.unique(organizations, return_index=True, return_counts=True)
    for organization, example, count in zip(found, first, counts, strict=True):
        name = directory.keys[int(series[example])].metric_name
        rejections.add(
            reason,
            FieldError("timestamp", f"{text} ({name[:64]})"),
            directory.organizations[int(organization)],
            int(count),
        )
