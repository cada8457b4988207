"""What a check is like where nobody says otherwise, and what cannot be made."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from wedsync_apm.api.health_checks import HealthCheckInput
from wedsync_apm.checks.wanted import DEFAULTS, check_wanted, verify_address
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.egress.policy import Address
from wedsync_apm.errors import NotValid

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_pages_and_the_api_leave_the_same_to_chance() -> None:
    bare = HealthCheckInput(service_name="x", display_name="x")
    left_open = msgspec.to_builtins(bare)
    assert {k: v for k, v in left_open.items() if not k.endswith("_name")} == dict(DEFAULTS)


@pytest.mark.parametrize(
    ("wrong", "interval", "window", "field"),
    [
        ({"endpoint_url": None}, MINUTE, HOUR, "endpoint_url"),
        ({"source_metric": "a.b"}, MINUTE, HOUR, "endpoint_url"),
        ({"endpoint_url": "https://"}, MINUTE, HOUR, "endpoint_url"),
        ({"endpoint_url": None, "source_metric": "nodot"}, MINUTE, HOUR, "source_metric"),
        ({"endpoint_url": None, "source_metric": ".latency"}, MINUTE, HOUR, "source_metric"),
        ({"endpoint_url": None, "shared_key": "website"}, MINUTE, HOUR, "shared_key"),
        ({}, timedelta(seconds=4), HOUR, "check_interval"),
        ({}, MINUTE, timedelta(days=8), "judged_over"),
        ({"error_rate_critical": 0.01}, MINUTE, HOUR, "error_rate_critical"),
        (
            {"availability_warning": 90.0, "availability_critical": 91.0},
            MINUTE,
            HOUR,
            "availability_critical",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(
    wrong: dict[str, Any], interval: timedelta, window: timedelta, field: str
) -> None:
    fine = {**DEFAULTS, "endpoint_url": "https://www.example.com/"}
    check_wanted(fine, MINUTE, HOUR)
    with pytest.raises(NotValid) as refused:
        check_wanted(fine | wrong, interval, window)
    assert [one.field for one in refused.value.errors] == [field]


async def find_nothing(host: str, port: int) -> list[Address]:
    raise OSError(host, port)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("http://soon.example/", True),
        ("http://soon.example:8443/", True),
        ("http://soon.example:22/", False),
        ("tcp://soon.example:5432", True),
        ("tcp://soon.example:9", False),
        ("http://ours.example:9/", True),
    ],
)
async def test_the_port_is_judged_though_the_name_cannot_be_found_yet(
    url: str, is_taken: bool
) -> None:
    policy = EgressPolicy(hosts=frozenset({("ours.example", None)}))
    egress = EgressClient(policy, resolve=find_nothing)
    try:
        if is_taken:
            await verify_address(egress, url)
            return
        with pytest.raises(NotValid) as refused:
            await verify_address(egress, url)
        assert refused.value.errors[0].field == "endpoint_url"
        assert "is not one of" in refused.value.errors[0].reason
    finally:
        await egress.aclose()
