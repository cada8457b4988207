"""Which context a sample gets from the calendar, and when the calendar is asked."""

from wedsync_apm.ingest.calendar import (
    MOST_COMING,
    REFRESH_SECONDS,
    CalendarCache,
    ContextSpan,
)

A, B, C = range(3)
RANGE = (0, 1_000_000)


def test_those_without_weddings_have_no_spans() -> None:
    cache = CalendarCache()
    spans = [ContextSpan(20, 30, "ceremony"), ContextSpan(10, 40, "day")]
    cache.learn([A, B, C], *RANGE, {A: spans, C: []}, now=0)
    assert cache.spans_of([A, B, C]) == {A: tuple(spans)}
    assert cache.spans_of([B]) == {}


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


def test_those_on_their_way_are_asked_for_along_with_others_and_once() -> None:
    cache = CalendarCache()
    assert cache.missing([B], 5, 6, now=0, met=3) == [A, B, C]
    cache.learn([A, B], *RANGE, {}, now=0)
    assert cache.missing([A, B], 5, 6, now=0, met=5) == [], "nobody asks for them alone"
    assert cache.missing([C], 5, 6, now=0, met=5) == [C, 3, 4], "its answer did not come"
    assert cache.missing([C], 5, 6, now=0, met=5) == [C]
    assert len(cache.missing([C], 5, 6, now=0, met=10_000)) == 1 + MOST_COMING


def test_those_who_go_on_sending_are_asked_for_along_with_others() -> None:
    cache = CalendarCache()
    cache.learn([A, B, C], *RANGE, {}, now=0)
    assert cache.missing([A], 5, 6, now=1) == []
    assert cache.missing([B], 5, 6, now=REFRESH_SECONDS) == [A, B], "C has not sent since"
    cache.learn([A, B], *RANGE, {}, now=REFRESH_SECONDS)
    assert cache.missing([C], 5, 6, now=REFRESH_SECONDS) == [C]
    many = list(range(3 * MOST_COMING))
    cache.learn(many, *RANGE, {}, now=10)
    assert cache.missing(many, 5, 6, now=10) == []
    assert len(cache.missing([many[-1]], 5, 6, now=15)) == 1 + MOST_COMING


def test_what_is_asked_for_covers_what_it_is_asked_for() -> None:
    cache = CalendarCache()
    for earliest, latest in ((5, 6), (-(10**12), 10**12)):
        cache.learn([A], *cache.range_for(earliest, latest, now_ms=0), {}, now=0)
        assert cache.missing([A], earliest, latest, now=0) == []
