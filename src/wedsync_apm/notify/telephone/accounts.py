"""The operator's accounts with a provider of Twilio's kind, and the addresses it calls us at."""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from wedsync_apm.config import Settings
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.notify.telephone.numbers import is_number
from wedsync_apm.organizations.secrets import Keyring

BASE_URL: Final = "https://api.twilio.com"
PATH: Final = "/api/v1/webhooks/twilio"
_SID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_TOKEN: Final = re.compile(r"(status|voice|digits)\.([0-9a-f]{32})\.([A-Za-z0-9_-]{22})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `sender` is a number of its own or, for texts, a name; a messaging service
    chooses the number of a text itself."""

    name: str
    account_sid: str
    auth_token: str = field(repr=False)
    sender: str | None
    messaging_service_sid: str | None
    base_url: str

    @property
    def endpoint(self) -> str:
        """The operator's exception that lets calls to it through."""
        return urlsplit(self.base_url).netloc

    @property
    def can_text(self) -> bool:
        """Whether a text has a sender."""
        return bool(self.sender or self.messaging_service_sid)

    @property
    def can_call(self) -> bool:
        """Whether a call has one: it needs a number."""
        return self.sender is not None and is_number(self.sender)

    def url(self, noun: str) -> str:
        """The address of a noun of the account: Messages or Calls."""
        return f"{self.base_url}/2010-04-01/Accounts/{self.account_sid}/{noun}.json"

    def headers(self) -> dict[str, str]:
        """Who we are."""
        pair = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        return {"Authorization": f"Basic {pair}", "Accept": "application/json"}

    def has_signed(self, signature: str, url: str, fields: Sequence[tuple[str, str]]) -> bool:
        """Whether that is the account's signature of a form that came to `url`.

        HMAC-SHA1, by the account's token, of the address and of each field's name and value, by
        name, as Twilio's documentation on securing requests has it.
        """
        # The same field twice is signed once each, in the order of the values.
        text = url + "".join(name + value for name, value in sorted(set(fields)))
        ours = hmac.new(self.auth_token.encode(), text.encode("utf-8", "replace"), sha1).digest()
        given = signature.encode("ascii", "replace")
        return hmac.compare_digest(base64.b64encode(ours), given)


@dataclass(frozen=True, slots=True)
class Telephone:
    """The accounts in the order in which they are tried, and our own side of the line.

    `public_url` is None where the provider cannot reach us: texts go out without receipts then,
    and calls do not, because what they say is fetched from here.
    """

    accounts: tuple[Account, ...]
    public_url: str | None
    keyring: Keyring

    def callback(self, what: str, delivery_id: UUID) -> str | None:
        """The signed address for what comes of a message: status, voice or digits."""
        if self.public_url is None:
            return None
        return f"{self.public_url}{PATH}/{callback_token(self.keyring, what, delivery_id)}"


def callback_token(keyring: Keyring, what: str, delivery_id: UUID) -> str:
    """What only we can make of a message's id and a purpose."""
    return f"{what}.{delivery_id.hex}.{keyring.token(f'telephone {what}', delivery_id)}"


def read_callback_token(keyring: Keyring, token: str) -> tuple[str, UUID] | None:
    """The purpose and the message of a token; None for one that is not ours."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    what, delivery_id = found[1], UUID(found[2])
    if not hmac.compare_digest(callback_token(keyring, what, delivery_id), token):
        return None
    return what, delivery_id


def read_telephone(settings: Settings, keyring: Keyring) -> Telephone | None:
    """The accounts of the settings; None without any.

    Raises ConfigurationError, without the secret, for an account that cannot be used.
    """
    accounts = (
        _account(
            "Twilio",
            "",
            account_sid=settings.twilio_account_sid,
            auth_token=settings.twilio_auth_token,
            sender=settings.twilio_from,
            messaging_service_sid=settings.twilio_messaging_service_sid,
            base_url=settings.twilio_base_url,
        ),
        _account(
            "the second account",
            "_2",
            account_sid=settings.twilio_account_sid_2,
            auth_token=settings.twilio_auth_token_2,
            sender=settings.twilio_from_2,
            messaging_service_sid=settings.twilio_messaging_service_sid_2,
            base_url=settings.twilio_base_url_2,
        ),
    )
    present = tuple(account for account in accounts if account is not None)
    return Telephone(present, settings.public_url, keyring) if present else None


def _account(
    name: str,
    suffix: str,
    *,
    account_sid: str | None,
    auth_token: str | None,
    sender: str | None,
    messaging_service_sid: str | None,
    base_url: str | None,
) -> Account | None:
    if account_sid is None and auth_token is None:
        return None
    prefix = "WEDSYNC_APM_TWILIO_"
    if not account_sid or not auth_token:
        missing = "AUTH_TOKEN" if account_sid else "ACCOUNT_SID"
        raise ConfigurationError(f"{prefix}{missing}{suffix} is missing")
    if not _SID.fullmatch(account_sid):
        raise ConfigurationError(f"{prefix}ACCOUNT_SID{suffix} is no account's SID")
    if not (sender or messaging_service_sid):
        raise ConfigurationError(
            f"{prefix}FROM{suffix} or {prefix}MESSAGING_SERVICE_SID{suffix} must say who texts"
        )
    base = (base_url or BASE_URL).rstrip("/")
    return Account(name, account_sid, auth_token, sender, messaging_service_sid, base)
