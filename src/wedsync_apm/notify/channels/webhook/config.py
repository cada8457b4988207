"""Where a webhook goes, and the key that signs it. Both are secret: the path often is one."""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.egress import EgressRefused
from wedsync_apm.egress.url import read_url
from wedsync_apm.errors import FieldError, NotValid

_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """The receiver's address, and the key as `whsec_` and base64."""

    url: str = field(repr=False)
    key: str = field(repr=False)

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        return json.dumps({"url": self.url, "key": self.key})


def new_target(url: str, key: str | None = None) -> tuple[str, WebhookTarget]:
    """A new receiver: the address to show (its host), and what to seal; makes a key without one.

    Raises NotValid with the field.
    """
    target = _checked(url, key or _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())
    return read_url(target.url).netloc, target


def configure(address: str, secret: str | None) -> WebhookTarget:
    """The receiver of a contact, from its opened secret. Raises NotValid if it cannot be used."""
    try:
        stored = json.loads(secret or "")
        url, key = str(stored["url"]), str(stored["key"])
    except (ValueError, KeyError, TypeError):
        # Without the cause, which would quote the secret.
        raise NotValid(errors=[FieldError("secret", "is not a webhook address and key")]) from None
    return _checked(url, key)


def _checked(url: str, key: str) -> WebhookTarget:
    try:
        read_url(url)
    except EgressRefused as exc:
        raise NotValid(errors=[FieldError("url", exc.reason)]) from exc
    try:
        size = len(base64.b64decode(key.removeprefix(_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not key.startswith(_PREFIX) or not 24 <= size <= 64:
        raise NotValid(
            errors=[FieldError("key", f"must be {_PREFIX} and 24 to 64 bytes in base64")]
        ) from None
    return WebhookTarget(url, key)
