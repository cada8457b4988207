"""Whether a check that somebody wants can be made."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from wedsync_apm.checks.targets import Target, read_target
from wedsync_apm.checks.templates import TEMPLATES
from wedsync_apm.egress import EgressClient, EgressFailed, EgressRefused
from wedsync_apm.errors import FieldError, NotValid

SHORTEST_INTERVAL: Final = timedelta(seconds=5)
LONGEST_INTERVAL: Final = timedelta(days=1)
SHORTEST_WINDOW: Final = timedelta(minutes=5)
LONGEST_WINDOW: Final = timedelta(days=7)
LOOK_UP_SECONDS: Final = 1.0
"""So long a name may take while somebody waits for his form; every call looks it up anew."""


def check_wanted(values: Mapping[str, Any], interval: timedelta, window: timedelta) -> None:
    """Raises NotValid for what cannot be looked at, or is held to limits in the wrong order."""
    sources = [values.get(name) for name in ("endpoint_url", "source_metric", "shared_key")]
    if sources.count(None) != 2:
        reason = "give either an endpoint_url, or a source_metric, or a shared_key"
        raise NotValid(errors=[FieldError("endpoint_url", reason)])
    url, source, key = sources
    if source is not None and not all(source.partition(".")):
        reason = "names a service and its metric: checkout.latency_ms"
        raise NotValid(errors=[FieldError("source_metric", reason)])
    if key is not None and not ((template := TEMPLATES.get(key)) and template.is_shared):
        raise NotValid(errors=[FieldError("shared_key", "is no shared service of the catalogue")])
    if url is not None:
        try:
            read_target(url)
        except EgressRefused as exc:
            raise NotValid(errors=[FieldError("endpoint_url", exc.reason)]) from exc
    if not SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
        reason = "must be between 5 seconds and 1 day"
        raise NotValid(errors=[FieldError("check_interval", reason)])
    if not SHORTEST_WINDOW <= window <= LONGEST_WINDOW:
        reason = "must be between 5 minutes and 7 days"
        raise NotValid(errors=[FieldError("judged_over", reason)])
    errors, worse = values.get("error_rate_threshold"), values.get("error_rate_critical")
    if errors is not None and worse is not None and worse < errors:
        reason = "must not be stricter than error_rate_threshold"
        raise NotValid(errors=[FieldError("error_rate_critical", reason)])
    warning, critical = values.get("availability_warning"), values.get("availability_critical")
    if warning is not None and critical is not None and critical > warning:
        reason = "must not be stricter than availability_warning"
        raise NotValid(errors=[FieldError("availability_critical", reason)])


async def verify_address(egress: EgressClient, url: str | None) -> None:
    """Says while people type that an address leads where it may not; every call judges it again,
    for names change. One that cannot be found yet may be found later. Raises NotValid."""
    if url is None:
        return
    target: Target | None = None
    try:
        target = read_target(url)
        if target.host:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await egress.addresses(target.host, target.port, ports=target.ports)
    except EgressRefused as exc:
        raise NotValid(errors=[FieldError("endpoint_url", exc.reason)]) from exc
    except (EgressFailed, TimeoutError):
        if (
            target is None
            or (why := egress.port_refusal(target.host, target.port, target.ports)) is None
        ):
            return
        raise NotValid(errors=[FieldError("endpoint_url", why)]) from None


DEFAULTS: Final[Mapping[str, Any]] = {
    "service_type": "http",
    "endpoint_url": None,
    "source_metric": None,
    "shared_key": None,
    "wedding_critical": False,
    "vendor_facing": True,
    "couple_facing": False,
    "check_interval": "1m",
    "timeout_seconds": 10.0,
    "expected_status_codes": [200],
    "body_contains": None,
    "body_lacks": None,
    "dns_expected": [],
    "certificate_days": 14,
    "response_time_threshold_ms": 5000.0,
    "error_rate_threshold": 0.05,
    "availability_threshold": 99.0,
    "judged_over": "1h",
    "error_rate_critical": None,
    "availability_warning": None,
    "availability_critical": None,
    "failures_to_confirm": 2,
    "recoveries_to_confirm": 2,
    "opens_incidents": True,
    "depends_on": [],
    "is_active": True,
}
"""What a check is like where nobody says otherwise."""
