"""Rules to begin with, by what a vendor does: nobody should have to invent his first ones.

They watch the names that the platform's own services send. A rule whose samples never come says
nothing and costs nothing. On a wedding day what a guest waits for keeps the promise of half a
second; what takes longer by nature is watched twice as closely.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.model import Operator, RuleDraft, RuleKind
from wedsync_apm.rules.selectors import Match, TagSelector
from wedsync_apm.types import Severity

PROMISE_MS: Final = 500.0
"""How long a guest may have to wait on a wedding day."""


def _slow(
    name: str, metric: str, *, limit_ms: float, wedding_ms: float, words: Mapping[str, object]
) -> RuleDraft:
    return RuleDraft(
        alert_name=name,
        description="The mean of five minutes, for a minute.",
        metric_pattern=metric,
        comparison_operator=Operator.ABOVE,
        threshold_value=limit_ms,
        clear_threshold_value=limit_ms * 0.8,
        for_duration=timedelta(minutes=1),
        wedding_day_threshold_value=wedding_ms,
        wedding_day_severity=Severity.CRITICAL,
        vendor_text=words,
    )


_FORM: Final = _slow(
    "Order form is slow",
    "wedding_forms.form_submission_time",
    limit_ms=2 * PROMISE_MS,
    wedding_ms=PROMISE_MS,
    words={
        "subject": "Your order form",
        "problem": "is slow",
        "still_works": "Orders still arrive",
        "what_to_do": ["Take urgent orders by phone until it is over."],
    },
)
_WEBSITE: Final = _slow(
    "Website is slow",
    "web_vitals.ttfb",
    limit_ms=2 * PROMISE_MS,
    wedding_ms=PROMISE_MS,
    words={"subject": "Your website", "problem": "opens slowly"},
)
_PAYMENTS: Final = _slow(
    "Payments are slow",
    "wedding_payments.payment_processing_time",
    limit_ms=4000,
    wedding_ms=2000,
    words={
        "subject": "Your payments",
        "problem": "take long to go through",
        "what_to_do": ["Note what is paid by hand, and check it against your account later."],
    },
)
_MESSAGES: Final = _slow(
    "Messages are slow",
    "client_communications.communication_response_time",
    limit_ms=3000,
    wedding_ms=1500,
    words={
        "subject": "Messages to your couples",
        "problem": "go out slowly",
        "what_to_do": ["Call about anything that cannot wait."],
    },
)
_PHOTOS: Final = _slow(
    "Photo uploads are slow",
    "wedding_photos.photo_upload_time",
    limit_ms=10_000,
    wedding_ms=5000,
    words={
        "subject": "Photo uploads",
        "problem": "take long",
        "still_works": "Photos that are uploaded stay safe",
        "what_to_do": ["Keep the cards. You can upload again when it is over."],
    },
)
_GALLERY: Final = _slow(
    "Gallery is slow",
    "wedding_galleries.gallery_load_time",
    limit_ms=4000,
    wedding_ms=2000,
    words={"subject": "Your gallery", "problem": "opens slowly"},
)
_TIMELINE: Final = _slow(
    "Timeline is slow",
    "wedding_timeline.sync_time",
    limit_ms=2 * PROMISE_MS,
    wedding_ms=PROMISE_MS,
    words={
        "subject": "The timeline of the day",
        "problem": "is slow to update",
        "what_to_do": ["Agree changes by phone, and write them down."],
    },
)
_SERVICES: Final = _slow(
    "A service answers slowly",
    "service_health.*",
    limit_ms=5000,
    wedding_ms=2500,
    words={"subject": "One of your services", "problem": "answers slowly"},
)
_ERRORS: Final = RuleDraft(
    alert_name="Visitors see errors",
    description="The worst minute of five, in percent.",
    metric_pattern="*.error_rate",
    comparison_operator=Operator.ABOVE,
    threshold_value=5.0,
    clear_threshold_value=2.0,
    aggregation=Aggregation.MAX,
    for_duration=timedelta(minutes=2),
    wedding_day_threshold_value=1.0,
    wedding_day_severity=Severity.CRITICAL,
    vendor_text={"subject": "Your website", "problem": "answers some visitors with errors"},
)

_PROMISE: Final = RuleDraft(
    alert_name="Guests wait longer than promised",
    description="What 19 of 20 answers of all services together stay under, over five minutes.",
    metric_pattern="*.response_time",
    group_by=(),
    comparison_operator=Operator.ABOVE,
    threshold_value=PROMISE_MS,
    clear_threshold_value=PROMISE_MS * 0.8,
    aggregation=Aggregation.P95,
    for_duration=timedelta(minutes=2),
    wedding_day_threshold_value=PROMISE_MS / 2,
    wedding_day_severity=Severity.CRITICAL,
    vendor_text={"subject": "Your pages", "problem": "answer more slowly than promised"},
)
_FAILED_PAYMENTS: Final = RuleDraft(
    alert_name="Payments fail",
    description="Failed payments as a share of all, over a quarter of an hour.",
    rule_kind=RuleKind.RATIO,
    metric_pattern="wedding_payments.payment_processing_time",
    tag_selectors=(TagSelector("success", Match.EQUAL, ("false",)),),
    denominator_pattern="wedding_payments.payment_processing_time",
    comparison_operator=Operator.ABOVE,
    threshold_value=0.05,
    aggregation=Aggregation.COUNT,
    evaluation_window=timedelta(minutes=15),
    wedding_day_threshold_value=0.01,
    wedding_day_severity=Severity.CRITICAL,
    vendor_text={
        "subject": "Your payments",
        "problem": "fail more often than usual",
        "what_to_do": ["Offer another way to pay until it is over."],
    },
)
_STORAGE: Final = RuleDraft(
    alert_name="Photo storage will be full",
    description="Where the line of six hours is at the end of the next wedding, in percent.",
    rule_kind=RuleKind.DEADLINE,
    metric_pattern="*.storage_used_percent",
    comparison_operator=Operator.AT_LEAST,
    threshold_value=95.0,
    evaluation_window=timedelta(hours=6),
    wedding_day_threshold_value=90.0,
    wedding_day_severity=Severity.CRITICAL,
    vendor_text={
        "subject": "Your photo storage",
        "problem": "will be full before your next wedding is over",
        "what_to_do": ["Move or delete what you no longer need."],
    },
)

_PERCENT: Final = frozenset({_ERRORS.metric_pattern, _STORAGE.metric_pattern})


def unit_sent(draft: RuleDraft) -> str:
    """The unit in which the platform's own services send what a rule to begin with watches."""
    if draft.rule_kind is RuleKind.RATIO:
        return "ratio"
    return "%" if draft.metric_pattern in _PERCENT else "ms"


_EVERYONE: Final = (_WEBSITE, _ERRORS, _SERVICES, _PROMISE)
STARTER_RULES: Final[Mapping[str, tuple[RuleDraft, ...]]] = {
    "florist": (_FORM, _PAYMENTS, _FAILED_PAYMENTS, _MESSAGES, *_EVERYONE),
    "photographer": (_PHOTOS, _GALLERY, _STORAGE, _PAYMENTS, _FAILED_PAYMENTS, *_EVERYONE),
    "videographer": (_PHOTOS, _GALLERY, _STORAGE, _MESSAGES, *_EVERYONE),
    "venue": (_FORM, _TIMELINE, _PAYMENTS, _FAILED_PAYMENTS, _MESSAGES, *_EVERYONE),
    "caterer": (_FORM, _MESSAGES, _PAYMENTS, _FAILED_PAYMENTS, *_EVERYONE),
    "cake": (_FORM, _PAYMENTS, _FAILED_PAYMENTS, *_EVERYONE),
    "dj": (_TIMELINE, _MESSAGES, *_EVERYONE),
    "planner": (_TIMELINE, _FORM, _MESSAGES, *_EVERYONE),
    "celebrant": (_TIMELINE, _MESSAGES, *_EVERYONE),
}


def starter_rules(vendor_type: str) -> tuple[RuleDraft, ...]:
    """The rules for a vendor of this type, whatever its case; for an unknown one what all share."""
    return STARTER_RULES.get(vendor_type.strip().lower(), _EVERYONE)
