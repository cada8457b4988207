"""Where a Slack message goes: an incoming webhook, whose address is the secret, or by a bot."""

import json
import re
from dataclasses import dataclass, field
from typing import Final

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels.fields import Given, NewTarget, checked_url, needed

API_URL: Final = "https://slack.com/api"
FIELDS: Final = ("url", "bot_token", "channel_id", "signing_secret")
_TOKEN: Final = re.compile(r"xox[a-z]-[A-Za-z0-9-]{10,250}")
# By id: a name may be given to another channel tomorrow.
_CHANNEL: Final = re.compile(r"[CGDU][A-Z0-9]{6,30}")
_SIGNING: Final = re.compile(r"[0-9a-zA-Z]{16,100}")


@dataclass(frozen=True, slots=True)
class SlackTarget:
    """The incoming webhook's address; or, with a `token`, the address of the Web API and a channel.

    Only with a `signing_secret` can a tap on a button be believed, so only then there are buttons.
    """

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    channel_id: str = ""
    signing_secret: str = field(default="", repr=False)

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        if not self.token and not self.signing_secret:
            return self.url
        return json.dumps(
            {
                "url": self.url,
                "token": self.token,
                "channel_id": self.channel_id,
                "signing_secret": self.signing_secret,
            }
        )


def new_target(url: str) -> tuple[str, SlackTarget]:
    """A new incoming webhook: the address to show (its host), what to seal. Raises NotValid."""
    target = SlackTarget(url)
    return checked_url(url), target


def read_fields(given: Given) -> NewTarget:
    """`url` of an incoming webhook, or `bot_token` and `channel_id`; `signing_secret` brings
    buttons. Raises NotValid with the field."""
    if given.get("bot_token"):
        channel_id = needed(given, "channel_id", "a Slack bot")
        target = SlackTarget(
            given.get("url", API_URL),
            given["bot_token"],
            channel_id,
            given.get("signing_secret", ""),
        )
    else:
        target = SlackTarget(
            needed(given, "url", "slack"), signing_secret=given.get("signing_secret", "")
        )
    _check(target)
    return NewTarget(target.channel_id or checked_url(target.url), target.secret)


def fields_of(target: SlackTarget) -> Given:
    """The fields that make this receiver."""
    return {
        "url": target.url,
        "bot_token": target.token,
        "channel_id": target.channel_id,
        "signing_secret": target.signing_secret,
    }


def configure(address: str, secret: str | None) -> SlackTarget:
    """The receiver of a contact, from its opened secret. Raises NotValid if it cannot be used."""
    try:
        target = _stored(secret or "")
    except (ValueError, KeyError, TypeError):
        # Without the cause, which would quote the secret.
        raise NotValid(errors=[FieldError("secret", "is no Slack receiver")]) from None
    _check(target)
    return target


def _stored(secret: str) -> SlackTarget:
    if not secret.startswith("{"):
        return SlackTarget(secret)
    stored = json.loads(secret)
    return SlackTarget(
        str(stored["url"]),
        str(stored["token"]),
        str(stored["channel_id"]),
        str(stored["signing_secret"]),
    )


def _check(target: SlackTarget) -> None:
    checked_url(target.url)
    for name, value, pattern, reason in (
        ("bot_token", target.token, _TOKEN, "must be a bot's token, as xoxb-…"),
        ("channel_id", target.channel_id, _CHANNEL, "must be a channel's id, as C024BE91L"),
        ("signing_secret", target.signing_secret, _SIGNING, "must be the app's signing secret"),
    ):
        if value and not pattern.fullmatch(value):
            raise NotValid(errors=[FieldError(name, reason)])
    if bool(target.token) != bool(target.channel_id):
        raise NotValid(errors=[FieldError("channel_id", "goes with bot_token")])
