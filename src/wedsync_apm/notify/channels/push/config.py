"""A browser's subscription: where its push service takes messages, and the keys to encrypt to."""

import json
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels.fields import Given, NewTarget, checked_url, needed
from wedsync_apm.notify.message import Tools
from wedsync_apm.notify.vapid import CURVE, decode

FIELDS: Final = ("url", "p256dh", "auth")
NO_KEY: Final = "Web push is not set up here, so this stays here and went to nobody."


@dataclass(frozen=True, slots=True)
class PushTarget:
    """One subscription. Whoever knows the address and the keys can write to the browser."""

    url: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        return json.dumps({"url": self.url, "p256dh": self.p256dh, "auth": self.auth})


def read_fields(given: Given) -> NewTarget:
    """`url`, `p256dh` and `auth` of a PushSubscription. Raises NotValid with the field."""
    target = PushTarget(*(needed(given, name, "web push") for name in FIELDS))
    _check(target)
    return NewTarget(checked_url(target.url), target.secret)


def configure(address: str, secret: str | None) -> PushTarget:
    """The subscription of a contact, from its opened secret. Raises NotValid if it is none."""
    try:
        stored = json.loads(secret or "")
        target = PushTarget(*(str(stored[name]) for name in FIELDS))
    except (ValueError, KeyError, TypeError):
        # Without the cause, which would quote the secret.
        raise NotValid(errors=[FieldError("secret", "is no push subscription")]) from None
    _check(target)
    return target


def unready(tools: Tools) -> str | None:
    """Why nothing can be pushed at all; None when it can."""
    return NO_KEY if tools.vapid is None else None


def _check(target: PushTarget) -> None:
    checked_url(target.url)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, decode(target.p256dh))
    except ValueError:
        reason = "must be the browser's public key in base64url"
        raise NotValid(errors=[FieldError("p256dh", reason)]) from None
    try:
        size = len(decode(target.auth))
    except ValueError:
        size = 0
    if size != 16:
        raise NotValid(errors=[FieldError("auth", "must be 16 bytes in base64url")])
