"""Where a webhook goes, and the key that signs it. Both are secret: the path often is one."""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Self

from wedsync_apm.egress.url import read_url
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels.fields import Given, NewTarget, checked_url, needed

FIELDS: Final = ("url", "signing_key")
OVERLAP: Final = timedelta(hours=24)
"""For how long the key before signs too, so that the receiver can change over in his own time."""
_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """The receiver's address, and the key as `whsec_` and base64."""

    url: str = field(repr=False)
    key: str = field(repr=False)
    previous_key: str | None = field(default=None, repr=False)
    previous_until: datetime | None = None

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        stored = {"url": self.url, "key": self.key}
        if self.previous_key is not None and self.previous_until is not None:
            stored |= {
                "previous_key": self.previous_key,
                "previous_until": self.previous_until.isoformat(),
            }
        return json.dumps(stored)

    def keys(self, at: datetime) -> tuple[str, ...]:
        """The keys that sign at a moment, the present one first."""
        if self.previous_key is None or self.previous_until is None or at >= self.previous_until:
            return (self.key,)
        return self.key, self.previous_key

    def rotated(self, at: datetime) -> Self:
        """The same receiver with a fresh key; the present one signs too for `OVERLAP`."""
        return replace(self, key=new_key(), previous_key=self.key, previous_until=at + OVERLAP)


def new_key() -> str:
    """A fresh key of 32 random bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def new_target(url: str, key: str | None = None) -> tuple[str, WebhookTarget]:
    """A new receiver: the address to show (its host), and what to seal; makes a key without one.

    Raises NotValid with the field.
    """
    target = _checked(WebhookTarget(url, key or new_key()))
    return read_url(target.url).netloc, target


def read_fields(given: Given) -> NewTarget:
    """`url`, and `signing_key` if it is not to be made. Raises NotValid with the field."""
    signing_key = given.get("signing_key")
    host, target = new_target(needed(given, "url", "a webhook"), signing_key)
    return NewTarget(host, target.secret, None if signing_key else target.key)


def configure(address: str, secret: str | None) -> WebhookTarget:
    """The receiver of a contact, from its opened secret. Raises NotValid if it cannot be used."""
    try:
        stored = json.loads(secret or "")
        until = stored.get("previous_until")
        target = WebhookTarget(
            str(stored["url"]),
            str(stored["key"]),
            stored.get("previous_key"),
            datetime.fromisoformat(until) if until else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without the cause, which would quote the secret.
        raise NotValid(errors=[FieldError("secret", "is not a webhook address and key")]) from None
    return _checked(target)


def _checked(target: WebhookTarget) -> WebhookTarget:
    checked_url(target.url)
    try:
        size = len(base64.b64decode(target.key.removeprefix(_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not target.key.startswith(_PREFIX) or not 24 <= size <= 64:
        raise NotValid(
            errors=[FieldError("key", f"must be {_PREFIX} and 24 to 64 bytes in base64")]
        ) from None
    return target
