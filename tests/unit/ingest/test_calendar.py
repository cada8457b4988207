"""Which context a sample gets from the calendar, and when the calendar is asked."""

import numpy as np

from wedsync_apm.ingest.calendar import REFRESH_SECONDS, CalendarCache, ContextSpan
from wedsync_apm.metrics.model import CALENDAR

A, B, C = range(3)
RANGE = (0, 1_000_000)


def assigned(
    cache: CalendarCache, organizations: list[int], times: list[int], codes: list[int]
) -> list[str | None]:
    column = np.array(codes, np.int64)
    contexts: dict[str | None, int] = {"own": 0}
    cache.apply(
        organizations=sorted(set(organizations)),
        organization=np.array(organizations),
        timestamps_ms=np.array(times),
        codes=column,
        contexts=contexts,
    )
    names = list(contexts)
    return [names[code] for code in column]


def test_the_most_telling_span_wins_and_its_end_is_outside() -> None:
    cache = CalendarCache()
    spans = [ContextSpan(20, 30, "ceremony"), ContextSpan(10, 40, "day")]
    cache.learn([A, B], *RANGE, {A: spans}, now=0)
    times = [9, 10, 19, 20, 29, 30, 39, 40]
    found = assigned(cache, [A] * 8, times, [CALENDAR] * 8)
    assert found == [None, "day", "day", "ceremony", "ceremony", "day", "day", None]


def test_each_organization_has_its_own_calendar_and_a_sample_its_own_word() -> None:
    cache = CalendarCache()
    day = [ContextSpan(0, 100, "a's day")]
    cache.learn([A, B, C], *RANGE, {A: day, C: [ContextSpan(0, 100, "c's day")]}, now=0)
    found = assigned(cache, [A, B, C, A, C], [5] * 5, [CALENDAR, CALENDAR, CALENDAR, 0, CALENDAR])
    assert found == ["a's day", None, "c's day", "own", "c's day"]


def test_it_is_asked_for_what_is_new_old_or_out_of_range() -> None:
    cache = CalendarCache()
    assert cache.missing([A, B], 5, 6, now=0) == [A, B]
    cache.learn([A], *RANGE, {}, now=0)
    cache.learn([B], *RANGE, {}, now=3)
    assert cache.missing([A, B], 5, 6, now=4.9) == []
    assert cache.missing([A, B], -1, 6, now=4.9) == [A, B]
    assert cache.missing([A, B], 5, 1_000_000, now=4.9) == [A, B]
    assert cache.missing([A, B], 5, 6, now=REFRESH_SECONDS) == [A]
    assert cache.missing([A, B], 5, 6, now=REFRESH_SECONDS + 0.6) == [A, B]
