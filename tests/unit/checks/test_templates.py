"""The catalogue of services that vendors depend on."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from wedsync_apm.checks.model import DueCheck, Seen, judge, limits_of
from wedsync_apm.checks.templates import TEMPLATES
from wedsync_apm.types import ServiceStatus

AT = datetime(2026, 6, 20, 13, 0, tzinfo=UTC)
DEPENDED_ON = {
    "stripe_payments", "resend_email", "twilio_sms", "supabase_api", "google_calendar",
    "apple_calendar", "openai", "google_places", "weather", "whatsapp", "outlook",
    "square_payments", "paypal_payments", "tave", "honeybook", "dubsado", "light_blue",
    "studio_ninja", "vercel", "cloudflare", "redis", "posthog", "bugsnag", "sentry",
}  # fmt: skip


def test_every_service_that_vendors_depend_on_is_there() -> None:
    assert set(TEMPLATES) >= DEPENDED_ON
    own = {key for key in DEPENDED_ON if not TEMPLATES[key].is_shared}
    assert own == {"redis"}, "everything else is one provider's, and is probed once"


@pytest.mark.parametrize(
    ("key", "limits"),
    [
        ("stripe_payments", (True, True, True, 2000, 0.001, 99.99, 60)),
        ("resend_email", (True, True, True, 3000, 0.01, 99.9, 60)),
        ("twilio_sms", (True, False, True, 5000, 0.02, 99.5, 60)),
        ("supabase_api", (True, True, True, 1000, 0.005, 99.95, 60)),
        ("google_calendar", (False, True, False, 3000, 0.05, 99.0, 300)),
    ],
)
def test_the_platforms_own_limits(key: str, limits: tuple[float, ...]) -> None:
    one = TEMPLATES[key]
    faces = (one.wedding_critical, one.vendor_facing, one.couple_facing)
    shares = (one.error_rate_threshold, one.availability_threshold)
    assert (*faces, one.response_time_threshold_ms, *shares, one.check_seconds) == limits


@pytest.mark.parametrize("key", sorted(key for key, one in TEMPLATES.items() if one.is_shared))
def test_what_is_expected_of_a_service_is_its_sign_of_life(key: str) -> None:
    one = TEMPLATES[key]
    check = DueCheck(
        id=UUID(int=1),
        organization_id=UUID(int=2),
        service_name=key,
        display_name=one.display_name,
        expected_status_codes=one.expected_status_codes,
        response_time_threshold_ms=one.response_time_threshold_ms,
        scheduled_at=AT,
        claimed_until=AT,
    )
    limits = limits_of(check, 0.5, is_wedding=False)

    def status(code: int) -> ServiceStatus:
        seen = Seen(response_time_ms=one.response_time_threshold_ms, http_status=code)
        return judge(check, seen, limits, AT).status

    assert {status(code) for code in one.expected_status_codes} == {ServiceStatus.HEALTHY}
    assert status(500) is ServiceStatus.CRITICAL
    if 404 not in one.expected_status_codes:
        assert status(404) is ServiceStatus.WARNING
