"""The catalogue of services that vendors depend on, with limits that suit them.

A template with an address is a *shared* service: the platform makes one probe of it for everybody
who adopts it. One without is for an address of the vendor's own.

The addresses are those of the providers' public APIs, called without credentials, so a refusal is
the sign of life: 401 from Stripe means that Stripe works. Limits of the first five are those that
the platform has used for them; the others follow by what they are for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

_REFUSED: Final = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How a service is checked unless somebody says otherwise."""

    key: str
    display_name: str
    service_type: str
    endpoint_url: str | None = None
    """None where the vendor gives the address."""
    example_url: str | None = None
    """What such an address looks like."""
    expected_status_codes: tuple[int, ...] = (200,)
    response_time_threshold_ms: float = 3000.0
    error_rate_threshold: float = 0.02
    availability_threshold: float = 99.5
    check_seconds: float = 300.0
    timeout_seconds: float = 10.0
    wedding_critical: bool = False
    vendor_facing: bool = True
    couple_facing: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether one probe serves everybody."""
        return self.endpoint_url is not None

    def as_values(self) -> dict[str, Any]:
        """As a row of the checks, without its source."""
        return {
            "service_name": self.key,
            "display_name": self.display_name,
            "service_type": self.service_type,
            "expected_status_codes": [*self.expected_status_codes],
            "response_time_threshold_ms": self.response_time_threshold_ms,
            "error_rate_threshold": self.error_rate_threshold,
            "availability_threshold": self.availability_threshold,
            "check_interval": f"{self.check_seconds:g} seconds",
            "timeout_seconds": self.timeout_seconds,
            "wedding_critical": self.wedding_critical,
            "vendor_facing": self.vendor_facing,
            "couple_facing": self.couple_facing,
        }


_ALL: Final = (
    Template(
        key="stripe_payments",
        display_name="Stripe payments",
        service_type="payment",
        endpoint_url="https://api.stripe.com/v1/charges",
        expected_status_codes=(401,),
        response_time_threshold_ms=2000,
        error_rate_threshold=0.001,
        availability_threshold=99.99,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="resend_email",
        display_name="E-mail by Resend",
        service_type="email",
        endpoint_url="https://api.resend.com/emails",
        expected_status_codes=(401, 403),
        response_time_threshold_ms=3000,
        error_rate_threshold=0.01,
        availability_threshold=99.9,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="twilio_sms",
        display_name="Text messages by Twilio",
        service_type="sms",
        endpoint_url="https://api.twilio.com/2010-04-01/Accounts.json",
        expected_status_codes=(401,),
        response_time_threshold_ms=5000,
        error_rate_threshold=0.02,
        availability_threshold=99.5,
        check_seconds=60,
        wedding_critical=True,
        vendor_facing=False,
        couple_facing=True,
    ),
    Template(
        key="supabase_api",
        display_name="Supabase",
        service_type="storage",
        endpoint_url="https://api.supabase.com/v1/projects",
        expected_status_codes=(401,),
        response_time_threshold_ms=1000,
        error_rate_threshold=0.005,
        availability_threshold=99.95,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="google_calendar",
        display_name="Google Calendar",
        service_type="calendar",
        endpoint_url="https://www.googleapis.com/calendar/v3/users/me/calendarList",
        expected_status_codes=_REFUSED,
        response_time_threshold_ms=3000,
        error_rate_threshold=0.05,
        availability_threshold=99.0,
    ),
    Template(
        key="apple_calendar",
        display_name="Apple Calendar",
        service_type="calendar",
        endpoint_url="https://caldav.icloud.com/",
        expected_status_codes=_REFUSED,
        error_rate_threshold=0.05,
        availability_threshold=99.0,
    ),
    Template(
        key="openai",
        display_name="OpenAI",
        service_type="ai",
        endpoint_url="https://api.openai.com/v1/models",
        expected_status_codes=(401,),
        response_time_threshold_ms=10000,
        error_rate_threshold=0.05,
        availability_threshold=99.0,
        timeout_seconds=30,
    ),
    Template(
        key="google_places",
        display_name="Google Places",
        service_type="maps",
        endpoint_url="https://maps.googleapis.com/maps/api/place/details/json",
    ),
    Template(
        key="weather",
        display_name="Weather (OpenWeather)",
        service_type="weather",
        endpoint_url="https://api.openweathermap.org/data/2.5/weather",
        expected_status_codes=(400, 401),
        couple_facing=True,
    ),
    Template(
        key="whatsapp",
        display_name="WhatsApp",
        service_type="sms",
        endpoint_url="https://graph.facebook.com/v19.0/me",
        expected_status_codes=(400, 401),
        response_time_threshold_ms=5000,
        couple_facing=True,
    ),
    Template(
        key="outlook",
        display_name="Outlook mail and calendar",
        service_type="calendar",
        endpoint_url="https://graph.microsoft.com/v1.0/me",
        expected_status_codes=(401,),
        error_rate_threshold=0.05,
        availability_threshold=99.0,
    ),
    Template(
        key="square_payments",
        display_name="Square payments",
        service_type="payment",
        endpoint_url="https://connect.squareup.com/v2/locations",
        expected_status_codes=(401,),
        response_time_threshold_ms=2000,
        error_rate_threshold=0.001,
        availability_threshold=99.95,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="paypal_payments",
        display_name="PayPal payments",
        service_type="payment",
        endpoint_url="https://api-m.paypal.com/v1/identity/oauth2/userinfo",
        expected_status_codes=(400, *_REFUSED),
        response_time_threshold_ms=2000,
        error_rate_threshold=0.001,
        availability_threshold=99.95,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    *(
        Template(
            key=key,
            display_name=name,
            service_type="crm",
            endpoint_url=url,
            # Their front doors may turn a program away, and are there all the same.
            expected_status_codes=(200, 403),
            response_time_threshold_ms=5000,
            error_rate_threshold=0.05,
            availability_threshold=99.0,
        )
        for key, name, url in (
            ("tave", "Tave", "https://tave.com/"),
            ("honeybook", "HoneyBook", "https://www.honeybook.com/"),
            ("dubsado", "Dubsado", "https://www.dubsado.com/"),
            ("light_blue", "Light Blue", "https://www.lightbluesoftware.com/"),
            ("studio_ninja", "Studio Ninja", "https://www.studioninja.co/"),
        )
    ),
    Template(
        key="vercel",
        display_name="Vercel hosting",
        service_type="hosting",
        endpoint_url="https://api.vercel.com/v2/user",
        expected_status_codes=_REFUSED,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="cloudflare",
        display_name="Cloudflare",
        service_type="hosting",
        endpoint_url="https://www.cloudflare.com/cdn-cgi/trace",
        response_time_threshold_ms=1000,
        availability_threshold=99.9,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    *(
        Template(
            key=key,
            display_name=name,
            service_type="analytics",
            endpoint_url=url,
            expected_status_codes=codes,
            response_time_threshold_ms=5000,
            error_rate_threshold=0.05,
            availability_threshold=99.0,
        )
        for key, name, url, codes in (
            ("posthog", "PostHog", "https://eu.i.posthog.com/_health", (200,)),
            ("sentry", "Sentry", "https://sentry.io/api/0/", (200, 401)),
            ("bugsnag", "Bugsnag", "https://api.bugsnag.com/user", (401,)),
        )
    ),
    Template(
        key="website",
        display_name="Your website",
        service_type="http",
        example_url="https://www.example.com/",
        response_time_threshold_ms=500,
        error_rate_threshold=0.01,
        availability_threshold=99.9,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="supabase_project",
        display_name="Your Supabase project",
        service_type="storage",
        example_url="https://<project>.supabase.co/auth/v1/health",
        expected_status_codes=(200, 401),
        response_time_threshold_ms=1000,
        error_rate_threshold=0.005,
        availability_threshold=99.95,
        check_seconds=60,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="redis",
        display_name="Redis",
        service_type="cache",
        example_url="tcp://redis.example.com:6379",
        response_time_threshold_ms=500,
        check_seconds=60,
    ),
    Template(
        key="certificate",
        display_name="Certificate of your website",
        service_type="tls",
        example_url="tls://www.example.com",
        check_seconds=3600,
        wedding_critical=True,
        couple_facing=True,
    ),
    Template(
        key="domain",
        display_name="Domain name",
        service_type="dns",
        example_url="dns:www.example.com?type=A",
        check_seconds=300,
        wedding_critical=True,
        couple_facing=True,
    ),
)
TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType({one.key: one for one in _ALL})
"""By key."""
