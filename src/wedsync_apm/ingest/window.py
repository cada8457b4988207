"""Which samples' times are taken, judged for a whole column at once."""

import numpy as np

from wedsync_apm.errors import FieldError
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.model import Rejections
from wedsync_apm.metrics.model import Ints, Mask, SeriesDirectory, SeriesKey


def in_window(
    series: Ints,
    timestamps_ms: Ints,
    *,
    directory: SeriesDirectory,
    limits: IngestLimits,
    now_ms: int,
    rejections: Rejections,
    positions: Ints | None = None,
) -> Mask:
    """Which samples have a series (a handle that is not negative) and a time that is taken.

    Those of another time are counted for their organization: one by one while a list has room, with
    their places in the request, if there are `positions`; else with one of them as the example.
    """
    window = limits.window(now_ms)
    good = series >= 0
    for code, text, outside in (
        (model.TOO_OLD, "is too far back", timestamps_ms < window.earliest_ms),
        (model.TOO_NEW, "lies in the future", timestamps_ms > window.latest_ms),
    ):
        refused = np.flatnonzero(good & outside)
        good[refused] = False
        refuse_each(
            refused,
            Refused(code, "timestamp", text),
            series=series,
            directory=directory,
            rejections=rejections,
            positions=positions,
        )
    return good


def refuse_each(
    refused: Ints,
    why: Refused,
    *,
    series: Ints,
    directory: SeriesDirectory,
    rejections: Rejections,
    positions: Ints | None = None,
) -> None:
    """Counts the samples at `refused` for their organizations; see `in_window`."""
    if positions is not None:
        room = max(rejections.listed_at_most - len(rejections.listed), 0)
        for place in refused[:room].tolist():
            key = directory.keys[int(series[place])]
            error = FieldError(why.field, _of(why, key), int(positions[place]))
            rejections.add(why.code, error, key.organization_id)
        refused = refused[room:]
    if not len(refused):
        return
    organizations = directory.organization_of(series[refused])
    found, first, counts = np.unique(organizations, return_index=True, return_counts=True)
    for organization, example, count in zip(found, first, counts, strict=True):
        key = directory.keys[int(series[refused[example]])]
        rejections.add(
            why.code,
            FieldError(why.field, _of(why, key)),
            directory.organizations[int(organization)],
            int(count),
        )


def _of(why: Refused, key: SeriesKey) -> str:
    return f"{why.reason} ({key.metric_name[:64]})"
