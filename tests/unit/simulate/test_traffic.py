import json
from datetime import UTC, datetime, timedelta
from typing import Any

import cramjam
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.errors import ConfigurationError
from wedsync_apm.ingest.wire import remote_write_pb2 as wire
from wedsync_apm.simulate.curves import busyness, trouble_value, value_at
from wedsync_apm.simulate.scenario import Scenario
from wedsync_apm.simulate.traffic import (
    Sender,
    history_times,
    json_body,
    open_senders,
    remote_write_body,
    samples_at,
)
from wedsync_apm.simulate.vendors import FORM_RULE, FORMS, STAR, VENDORS, VISITS

NOON = datetime(2026, 6, 6, 12, tzinfo=UTC)
# 2026 to 2029, to the second
instants = st.integers(1_767_312_000, 1_893_456_000).map(lambda s: datetime.fromtimestamp(s, UTC))


@given(at=instants)
def test_trouble_is_trouble_on_a_wedding_day_only(at: datetime) -> None:
    limit = FORM_RULE.wedding_day_threshold_value
    assert limit is not None
    value = trouble_value(FORM_RULE.threshold_value, limit, at, "florist")
    assert limit < value < FORM_RULE.threshold_value


@given(at=instants)
def test_quiet_values_disturb_no_rule(at: datetime) -> None:
    for vendor in VENDORS:
        values = {s.signal.name: s.value for s in samples_at(vendor, at, is_trouble=False)}
        for rule in vendor.rules:
            strictest = rule.wedding_day_threshold_value or rule.threshold_value
            if rule.metric_pattern in values:
                assert values[rule.metric_pattern] < strictest, rule.alert_name


@given(at=instants, seconds=st.integers(1, 100_000))
def test_counters_never_go_back(at: datetime, seconds: int) -> None:
    later = at + timedelta(seconds=seconds)
    before, after = (value_at(VISITS, t, seed="dj", time_zone="UTC") for t in (at, later))
    assert before <= after


@given(at=instants)
def test_nights_are_quiet(at: datetime) -> None:
    night = at.replace(hour=3, minute=0)
    evening = at.replace(hour=20, minute=0)
    assert 0 <= busyness(night, "UTC") < busyness(evening, "UTC") <= 1


def test_only_the_florist_has_trouble() -> None:
    for vendor in VENDORS:
        quiet, trouble = (samples_at(vendor, NOON, is_trouble=t) for t in (False, True))
        differing = [a.signal.name for a, b in zip(quiet, trouble, strict=True) if a != b]
        assert differing == ([FORMS.name] if vendor is STAR else [])


def test_the_scenario_begins_after_a_minute_lasts_five_and_comes_again() -> None:
    scenario = Scenario()
    troubled = [
        minute
        for minute in range(45)
        if scenario.is_trouble(NOON, NOON + timedelta(minutes=minute))
    ]
    assert troubled == [1, 2, 3, 4, 5, 21, 22, 23, 24, 25, 41, 42, 43, 44]
    assert scenario.cycle(NOON, NOON + timedelta(minutes=39)) == 1
    assert not scenario.is_trouble(NOON, NOON - timedelta(minutes=18))


def test_a_scenario_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--every"):
        Scenario(timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=5))


def test_both_protocols_say_that_the_samples_are_simulated() -> None:
    batch = samples_at(STAR, NOON, is_trouble=False)
    for sample in json.loads(json_body(batch))["samples"]:
        assert sample["tags"]["simulated"] == "true"
        assert datetime.fromisoformat(sample["timestamp"]) == NOON
    request = wire.WriteRequest.FromString(
        bytes(cramjam.snappy.decompress_raw(remote_write_body(batch)))
    )
    assert len(request.timeseries) == len(batch)
    for series in request.timeseries:
        labels = [wire.Label.FromString(raw) for raw in series.labels]
        assert {label.name: label.value for label in labels}[b"simulated"] == b"true"
        assert [label.name for label in labels] == sorted(label.name for label in labels)


def test_history_goes_on_where_the_last_run_ended() -> None:
    second = timedelta(seconds=1)
    assert len(history_times(NOON, None, 1)) == 60
    assert history_times(NOON, NOON - timedelta(minutes=3), 6) == [
        NOON - timedelta(minutes=m) - second for m in (2, 1, 0)
    ]
    assert history_times(NOON, NOON - second, 6) == []
    assert history_times(NOON, None, 0) == []
    assert history_times(NOON + 20 * second, None, 1)[-1] == NOON - second


def _sender(answers: list[int | Exception]) -> tuple[Sender, list[list[Any]]]:
    got: list[list[Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        status = answers.pop(0)
        if isinstance(status, Exception):
            raise status
        if status < 300:
            got.append(json.loads(request.content)["samples"])
        return httpx.Response(status, headers={"Retry-After": "0"})

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://product")
    return Sender(STAR, "key", client), got


@pytest.mark.parametrize("trouble", [503, 429, httpx.ConnectError("refused")])
def test_what_cannot_be_sent_is_sent_later_and_once(trouble: int | Exception) -> None:
    sender, got = _sender([trouble, 202])
    first = samples_at(STAR, NOON, is_trouble=False)
    second = samples_at(STAR, NOON + timedelta(seconds=5), is_trouble=False)
    assert not sender.send(first)
    sender._not_before = 0.0
    assert sender.send(second)
    assert [len(batch) for batch in got] == [len(first) + len(second)]
    assert not sender.waiting


def test_what_is_refused_for_good_is_counted_and_not_sent_again() -> None:
    sender, got = _sender([422, 202])
    assert sender.send(samples_at(STAR, NOON, is_trouble=False))
    assert sender.refused_count == len(STAR.signals)
    assert sender.send(samples_at(STAR, NOON, is_trouble=False))
    assert (sender.sent_count, len(got)) == (len(STAR.signals), 1)


def test_further_series_are_spread_over_the_vendors() -> None:
    senders = open_senders("http://product", lambda vendor: vendor.key, extra_series=20)
    extra = [len(s.vendor.signals) - len(v.signals) for s, v in zip(senders, VENDORS, strict=True)]
    assert sum(extra) == 20
    assert max(extra) - min(extra) <= 1
    body = json_body(samples_at(senders[0].vendor, NOON, is_trouble=True))
    assert body.count(b'"load"') == extra[0]
    senders[0].client.close()
