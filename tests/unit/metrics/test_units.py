"""Units that metrics' names say."""

import pytest

from wedsync_apm.metrics.units import unit_in_name, unit_to_show


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("http_request_duration_seconds", "s"),
        ("http_request_duration_seconds_sum", "s"),
        ("process_cpu_seconds_total", "s"),
        ("request_duration_seconds_max", "s"),
        ("node_memory_MemFree_bytes", "bytes"),
        ("node_network_receive_bytes_total", "bytes"),
        ("disk_used_ratio", "ratio"),
        ("cpu_percent", "%"),
        ("cpu.usage.pct", "%"),
        ("system.cpu.%", "%"),
        ("duration_ms", "ms"),
        ("responseTimeMs", "ms"),
        ("response.time.milliseconds", "ms"),
        ("checkout_ms.p95", "ms"),
        ("checkout_ms_p99", "ms"),
        ("sync_time_ms.mean", "ms"),
        ("gc_pause_nanoseconds", "ns"),
        ("request_latency_us", "us"),
        ("jvm.gc.duration.sec", "s"),
        ("lookup_time_s", "s"),
        ("room_temperature_celsius", "°C"),
        ("received_bytes_per_second", "bytes/s"),
        ("queue_wait_minutes", "min"),
        ("certificate_left_days", "d"),
        # these count, or say nothing
        ("http_requests_total", None),
        ("http_request_duration_seconds_bucket", None),
        ("http_request_duration_seconds_count", None),
        ("build_info", None),
        ("orders_total", None),
        ("requests_per_second", None),
        ("load1", None),
        ("response_time", None),
        ("items", None),
        ("users_us", None),
        ("errors_s", None),
        ("beams", None),
        ("", None),
        ("_", None),
        # moments, not lengths of time
        ("process_start_time_seconds", None),
        ("last_backup_timestamp_seconds", None),
        ("certificate_expiry_seconds", None),
        ("http_requests_created", None),
    ],
)
def test_what_a_name_says(name: str, unit: str | None) -> None:
    assert unit_in_name(name) == unit


def test_what_was_declared_wins() -> None:
    assert unit_to_show("s", "took_ms") == "s"
    assert unit_to_show("", "took_ms") == ""
    assert unit_to_show(None, "took_ms") == "ms"
    assert unit_to_show(None, "took") is None
