import json
import logging
from collections.abc import Iterator
from itertools import count

import pytest
from prometheus_client.parser import text_string_to_metric_families

from wedsync_apm.telemetry import (
    Counter,
    Gauge,
    Histogram,
    configure_logging,
    get_logger,
    render_prometheus,
)

NUMBERS = count(1)


@pytest.fixture
def name() -> str:
    """A name that no other test has taken: the registry belongs to the process."""
    return f"test_{next(NUMBERS)}"


def _samples(name: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus' own parser reads out of our page."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render_prometheus())
        for sample in family.samples
        if sample.name.startswith(name)
    }


def test_a_counter_begins_at_zero_and_only_grows(name: str) -> None:
    counter = Counter(f"{name}_total", "Things.")
    assert _samples(name) == {(f"{name}_total", ()): 0}
    counter.inc()
    counter.inc(2.5)
    assert _samples(name) == {(f"{name}_total", ()): 3.5}
    with pytest.raises(ValueError, match="only grows"):
        counter.inc(-1)


def test_labels_are_escaped_and_checked(name: str) -> None:
    gauge = Gauge(name, 'A "gauge" with\na second line \\.', ["path"])
    gauge.set(float("inf"), path='a"b\\c\nd')
    gauge.inc(-2, path="x")
    assert _samples(name) == {
        (name, (("path", 'a"b\\c\nd'),)): float("inf"),
        (name, (("path", "x"),)): -2,
    }
    with pytest.raises(ValueError, match="takes the labels"):
        gauge.set(1, other="x")


def test_a_histogram_counts_into_buckets(name: str) -> None:
    histogram = Histogram(f"{name}_seconds", "Times.", ["route"], buckets=[0.1, 1])
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value, route="/")
    route = ("route", "/")
    assert _samples(name) == {
        (f"{name}_seconds_bucket", (("le", "0.1"), route)): 2,
        (f"{name}_seconds_bucket", (("le", "1"), route)): 3,
        (f"{name}_seconds_bucket", (("le", "+Inf"), route)): 4,
        (f"{name}_seconds_sum", (route,)): pytest.approx(7.65),
        (f"{name}_seconds_count", (route,)): 4,
    }


def test_time_is_counted_also_when_it_ends_badly(name: str) -> None:
    histogram = Histogram(f"{name}_seconds", "Times.")
    with pytest.raises(LookupError), histogram.time():
        raise LookupError
    assert _samples(name)[(f"{name}_seconds_count", ())] == 1


def test_a_name_is_registered_once(name: str) -> None:
    Gauge(name, "One.")
    with pytest.raises(ValueError, match="registered twice"):
        Gauge(name, "Two.")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Puts the process's logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_logs_carry_the_extras(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    get_logger("room").warning("%d gone", 3, extra={"action": "drop_things", "n": 3})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["action"], line["n"], line["level"]) == (
        "3 gone",
        "drop_things",
        3,
        "warning",
    )


def test_foreign_text_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text")
    get_logger("room").info("name: %s", "x\n00:00:00 error forged", extra={"who": "a\nb"})
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text")
    try:
        raise LookupError("lost")
    except LookupError:
        get_logger("room").exception("failed")
    assert "LookupError: lost" in capsys.readouterr().err
