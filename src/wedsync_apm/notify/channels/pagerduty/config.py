"""The integration that events go to, and the secret that its webhooks are signed with."""

import json
import re
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels.fields import Given, NewTarget, checked_url, needed

EVENTS_URL: Final = "https://events.pagerduty.com/v2/enqueue"
FIELDS: Final = ("routing_key", "webhook_secret", "url")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{20,64}")


@dataclass(frozen=True, slots=True)
class PagerDutyTarget:
    """An Events API v2 integration. Without `webhook_secrets` nothing is heard from there; two
    are good while one takes the other's place."""

    routing_key: str = field(repr=False)
    url: str = EVENTS_URL
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        return json.dumps(
            {
                "routing_key": self.routing_key,
                "url": self.url,
                "webhook_secrets": list(self.webhook_secrets),
            }
        )


def read_fields(given: Given) -> NewTarget:
    """`routing_key`; `url` for another service region; `webhook_secret`, two with a space between
    while one takes the other's place. Raises NotValid with the field."""
    target = PagerDutyTarget(
        needed(given, "routing_key", "PagerDuty"),
        given.get("url", EVENTS_URL),
        tuple(given.get("webhook_secret", "").split()),
    )
    _check(target)
    return NewTarget(checked_url(target.url), target.secret)


def fields_of(target: PagerDutyTarget) -> Given:
    """The fields that make this integration."""
    return {
        "routing_key": target.routing_key,
        "url": target.url,
        "webhook_secret": " ".join(target.webhook_secrets),
    }


def configure(address: str, secret: str | None) -> PagerDutyTarget:
    """The integration of a contact, from its opened secret. Raises NotValid if it is none."""
    try:
        stored = json.loads(secret or "")
        target = PagerDutyTarget(
            str(stored["routing_key"]),
            str(stored["url"]),
            tuple(str(one) for one in stored["webhook_secrets"]),
        )
    except (ValueError, KeyError, TypeError):
        # Without the cause, which would quote the secret.
        raise NotValid(errors=[FieldError("secret", "is no PagerDuty integration")]) from None
    _check(target)
    return target


def _check(target: PagerDutyTarget) -> None:
    if not _KEY.fullmatch(target.routing_key):
        reason = "must be the integration key of an Events API v2 integration"
        raise NotValid(errors=[FieldError("routing_key", reason)])
    checked_url(target.url)
    if len(target.webhook_secrets) > 2 or any(
        not 16 <= len(one) <= 200 for one in target.webhook_secrets
    ):
        reason = "must be one or two secrets of 16 to 200 characters"
        raise NotValid(errors=[FieldError("webhook_secret", reason)])
