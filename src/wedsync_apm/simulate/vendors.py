"""The demo's cast. None of these businesses and people exist."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from wedsync_apm.administration.furnish import Check
from wedsync_apm.bootstrap import named_id
from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.model import Operator, RuleDraft
from wedsync_apm.simulate.curves import Signal
from wedsync_apm.simulate.planner import Venue
from wedsync_apm.types import OperatorRole, Role, Severity


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in. `button` puts a button on the sign-in page."""

    key: str
    name: str
    email: str
    note: str
    role: Role = Role.OWNER
    operator: OperatorRole | None = None
    button: str | None = None

    @property
    def id(self) -> UUID:
        """The same in every demo."""
        return named_id("person", self.email)


@dataclass(frozen=True, slots=True)
class Vendor:
    """One business: who works there, what it depends on, what its website sends."""

    key: str
    name: str
    vendor_type: str
    time_zone: str
    help_line: str
    venues: tuple[Venue, ...]
    couples: tuple[tuple[str, str], ...]
    people: tuple[Person, ...]
    signals: tuple[Signal, ...]
    checks: tuple[Check, ...]
    rules: tuple[RuleDraft, ...]
    protocol: Literal["json", "remote write"] = "json"

    @property
    def id(self) -> UUID:
        """The same in every demo."""
        return named_id("organization", self.key)


SIMULATED: Final = {"simulated": "true"}

FORMS = Signal("wedding_forms", "form_submission_time", "ms", 380)
PHOTOS = Signal("wedding_photos", "photo_upload_time", "ms", 1700)
PAYMENTS = Signal("wedding_payments", "payment_processing_time", "ms", 820)
MESSAGES = Signal("client_communications", "communication_response_time", "ms", 540)
GALLERY = Signal("wedding_galleries", "gallery_load_time", "ms", 900)
TIMELINE = Signal("wedding_timeline", "sync_time", "ms", 60)
PAGE = Signal("web_vitals", "lcp", "ms", 1450, "gauge", 0.3)
VISITS = Signal("website", "requests_total", "1", 4.0, "counter")
FAILURES = Signal("website", "error_rate", "%", 0.25, "gauge", 0.6, 0.25)

FORM_RULE: Final = RuleDraft(
    alert_name="Order form is slow",
    description="How long it takes until an enquiry or order is sent, averaged over a minute.",
    metric_pattern="wedding_forms.form_submission_time",
    comparison_operator=Operator.ABOVE,
    threshold_value=5000,
    clear_threshold_value=1600,
    wedding_day_threshold_value=2000,
    evaluation_window=timedelta(minutes=1),
    for_duration=timedelta(seconds=20),
    severity=Severity.WARNING,
    wedding_day_severity=Severity.CRITICAL,
    vendor_text={
        "subject": "Your order form",
        "problem": "takes long to send",
        "what_to_do": [
            "Take orders and questions for today by phone until it is over.",
            "You need not change anything on your website.",
        ],
    },
)


def _slow(  # noqa: PLR0917 - a table row reads better without names
    signal: Signal, name: str, limit: float, wedding_limit: float, subject: str, problem: str
) -> RuleDraft:
    return RuleDraft(
        alert_name=name,
        description="Averaged over five minutes.",
        metric_pattern=signal.name,
        comparison_operator=Operator.ABOVE,
        threshold_value=limit,
        clear_threshold_value=wedding_limit * 0.9,
        wedding_day_threshold_value=wedding_limit,
        for_duration=timedelta(minutes=1),
        vendor_text={"subject": subject, "problem": problem},
    )


PAYMENT_RULE: Final = _slow(
    PAYMENTS, "Payments are slow", 4000, 2000, "Your payments", "take long to go through"
)
PHOTO_RULE: Final = _slow(
    PHOTOS, "Photo uploads are slow", 9000, 4500, "Photo uploads", "take long"
)
GALLERY_RULE: Final = _slow(GALLERY, "Gallery is slow", 4000, 2000, "Your gallery", "opens slowly")
MESSAGE_RULE: Final = _slow(
    MESSAGES, "Messages are slow", 3000, 1500, "Messages to your couples", "go out slowly"
)
TIMELINE_RULE: Final = _slow(
    TIMELINE, "Timeline is slow", 500, 250, "The timeline of the day", "is slow to update"
)
ERROR_RULE: Final = replace(
    _slow(
        FAILURES, "Website has errors", 5, 2, "Your website", "answers some visitors with errors"
    ),
    aggregation=Aggregation.MAX,
    for_duration=timedelta(minutes=2),
)

FORM_CHECK = Check(
    "wedding_forms",
    "Order form",
    "forms",
    source_metric=FORMS.name,
    wedding_critical=True,
    couple_facing=True,
    check_seconds=15,
    response_time_threshold_ms=2000,
)
PAYMENT_CHECK = replace(
    FORM_CHECK,
    service_name="wedding_payments",
    display_name="Payments",
    service_type="payment",
    source_metric=PAYMENTS.name,
    response_time_threshold_ms=4000,
)
PHOTO_CHECK = replace(
    FORM_CHECK,
    service_name="wedding_photos",
    display_name="Photo upload",
    service_type="storage",
    source_metric=PHOTOS.name,
    response_time_threshold_ms=9000,
)
GALLERY_CHECK = replace(
    FORM_CHECK,
    service_name="wedding_galleries",
    display_name="Gallery",
    service_type="storage",
    source_metric=GALLERY.name,
    response_time_threshold_ms=4000,
    wedding_critical=False,
)
MESSAGE_CHECK = replace(
    FORM_CHECK,
    service_name="client_communications",
    display_name="Messages",
    service_type="email",
    source_metric=MESSAGES.name,
    response_time_threshold_ms=3000,
)
TIMELINE_CHECK = replace(
    FORM_CHECK,
    service_name="wedding_timeline",
    display_name="Timeline of the day",
    service_type="calendar",
    source_metric=TIMELINE.name,
    response_time_threshold_ms=400,
)

KENT = Venue("Hawthorn Barn, Kent", "Europe/London")
SINGAPORE = Venue("The Orchid Conservatory, Singapore", "Asia/Singapore")
HUDSON = Venue("Larkspur Hall, Hudson Valley", "America/New_York")

# These two work in two businesses or in none; everybody else stands with his own.
CLAIRE = Person(
    "planner",
    "Claire Dubois",
    "claire@maple-and-moon.example",
    "planner; also a member at the florist's",
    button="Wedding planner, in two businesses",
)
OPERATORS: Final = (
    Person(
        "oncall",
        "Nadia Petrova",
        "nadia@platform.example",
        "on-call engineer of the platform",
        operator=OperatorRole.ONCALL,
        button="On-call engineer",
    ),
    Person(
        "dba",
        "Sam Okafor",
        "sam@platform.example",
        "database administrator of the platform",
        operator=OperatorRole.DBA,
        button="DBA",
    ),
)

VENDORS: Final = (
    Vendor(
        "florist",
        "Juniper & Sage Flowers",
        "florist",
        "Europe/London",
        "+44 1632 960101",
        # A florist who travels: some venue of these three is in its wedding day at any hour.
        (KENT, SINGAPORE, HUDSON),
        (
            ("Amelia Hart & Rohan Mehta", "A & R"),
            ("Beth Lowe & Dan Price", "B & D"),
            ("Grace Obi & Finn Carter", "G & F"),
        ),
        (
            Person(
                "florist",
                "Rosa Whitlock",
                "rosa@juniper-and-sage.example",
                "florist with a wedding today (owner)",
                button="Florist with a wedding today",
            ),
            Person(
                "florist-admin",
                "Tom Ashby",
                "tom@juniper-and-sage.example",
                "florist (admin)",
                Role.ADMIN,
            ),
            Person(
                "florist-viewer",
                "Ines Correia",
                "ines@juniper-and-sage.example",
                "florist, sees initials only (viewer)",
                Role.VIEWER,
            ),
        ),
        (FORMS, PAYMENTS, MESSAGES, GALLERY, PAGE, VISITS, FAILURES),
        (FORM_CHECK, PAYMENT_CHECK, MESSAGE_CHECK, GALLERY_CHECK),
        (FORM_RULE, PAYMENT_RULE, MESSAGE_RULE, GALLERY_RULE, ERROR_RULE),
    ),
    Vendor(
        "photographer",
        "Tidewater Light Photography",
        "photographer",
        "America/New_York",
        "+1 555 0102",
        (HUDSON,),
        (("Noah Fields & Ruth Adler", "N & R"), ("Jo Park & Sky Lane", "J & S")),
        (Person("photographer", "Marcus Bell", "marcus@tidewater-light.example", "photographer"),),
        (replace(PHOTOS, level=2100), GALLERY, replace(FORMS, level=420), PAYMENTS, PAGE, VISITS),
        (PHOTO_CHECK, GALLERY_CHECK, PAYMENT_CHECK),
        (PHOTO_RULE, GALLERY_RULE, PAYMENT_RULE),
    ),
    Vendor(
        "venue",
        "Hawthorn Barn",
        "venue",
        "Europe/London",
        "+44 1632 960103",
        (KENT,),
        (("Ada Moss & Leo Finch", "A & L"), ("Mia Rowe & Kit Shaw", "M & K")),
        (
            Person("venue", "Priya Nair", "priya@hawthorn-barn.example", "venue (owner)"),
            Person(
                "venue-member",
                "Jack Dunn",
                "jack@hawthorn-barn.example",
                "venue (member)",
                Role.MEMBER,
            ),
        ),
        (TIMELINE, replace(FORMS, level=350), PAYMENTS, MESSAGES, VISITS, FAILURES),
        (TIMELINE_CHECK, FORM_CHECK, PAYMENT_CHECK),
        (TIMELINE_RULE, PAYMENT_RULE, ERROR_RULE),
        "remote write",
    ),
    Vendor(
        "caterer",
        "Saffron Table Catering",
        "catering",
        "Asia/Kolkata",
        "+91 22 5550 0104",
        (Venue("Lotus Courtyard, Mumbai", "Asia/Kolkata"),),
        (("Anika Sen & Dev Rao", "A & D"),),
        (Person("caterer", "Anika Rao", "anika@saffron-table.example", "caterer"),),
        (replace(FORMS, level=460), MESSAGES, PAYMENTS, TIMELINE, VISITS),
        (FORM_CHECK, MESSAGE_CHECK, PAYMENT_CHECK),
        (FORM_RULE, MESSAGE_RULE, PAYMENT_RULE),
    ),
    Vendor(
        "dj",
        "Nachtfalter DJ-Kollektiv",
        "dj",
        "Europe/Berlin",
        "+49 30 23125 105",
        (Venue("Alte Gärtnerei, Potsdam", "Europe/Berlin"),),
        (("Lena Vogt & Timo Kern", "L & T"),),
        (Person("dj", "Lukas Brandt", "lukas@nachtfalter.example", "DJ"),),
        (TIMELINE, MESSAGES, PAGE, VISITS),
        (TIMELINE_CHECK, MESSAGE_CHECK),
        (TIMELINE_RULE, MESSAGE_RULE),
    ),
    Vendor(
        "planner",
        "Maple & Moon Planning",
        "planning",
        "America/Toronto",
        "+1 555 0106",
        (Venue("Birchwater Lodge, Muskoka", "America/Toronto"),),
        (("Sofia Grant & Omar Aziz", "S & O"), ("Elle Ford & Max Hale", "E & M")),
        (CLAIRE,),
        (TIMELINE, FORMS, MESSAGES, PAYMENTS, PAGE, VISITS),
        (TIMELINE_CHECK, FORM_CHECK, MESSAGE_CHECK),
        (TIMELINE_RULE, MESSAGE_RULE),
    ),
    Vendor(
        "cake",
        "Sugar Magnolia Cakes",
        "cake",
        "Australia/Sydney",
        "+61 2 5550 0107",
        (Venue("Bluegum Chapel, Hunter Valley", "Australia/Sydney"),),
        (("Zoe Tran & Will Abbott", "Z & W"),),
        (Person("cake", "Hannah Lim", "hannah@sugar-magnolia.example", "cake maker"),),
        (replace(FORMS, level=400), PAYMENTS, MESSAGES, VISITS),
        (FORM_CHECK, PAYMENT_CHECK),
        (FORM_RULE, PAYMENT_RULE),
    ),
    Vendor(
        "videographer",
        "Southern Cross Films",
        "videographer",
        "Pacific/Auckland",
        "+64 9 555 0108",
        (Venue("Kōwhai Point, Waiheke", "Pacific/Auckland"),),
        (("Aroha Ngata & Sam Kelly", "A & S"),),
        (Person("videographer", "Wiremu Hale", "wiremu@southern-cross.example", "videographer"),),
        (replace(PHOTOS, level=2600), GALLERY, MESSAGES, VISITS, FAILURES),
        (PHOTO_CHECK, GALLERY_CHECK),
        (PHOTO_RULE, GALLERY_RULE, ERROR_RULE),
        "remote write",
    ),
)

STAR: Final = VENDORS[0]
"""Whose couple marries today."""
