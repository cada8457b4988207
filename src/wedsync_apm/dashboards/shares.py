"""Links by which somebody without a login sees one dashboard, signed by us.

A link names a key of the organization's that only reads and whose secret nobody has: the database
sees its bearer as that key, and lets him into this organization alone, as a viewer, until the key
ends or is revoked. The link itself opens one dashboard, with its variables as they were when it was
shared; nothing that its bearer sends widens that.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from wedsync_apm.config import Settings, load_or_create_secret
from wedsync_apm.dashboards.model import Document
from wedsync_apm.dashboards.variables import choose
from wedsync_apm.db.nouns import Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.tenant import Actor
from wedsync_apm.errors import FieldError, NotFound, NotValid
from wedsync_apm.organizations import store as organizations
from wedsync_apm.organizations.keys import make_key
from wedsync_apm.types import KeyScope

LONGEST: Final = timedelta(days=366)
USUAL: Final = timedelta(days=30)
LONGEST_TOKEN: Final = 4000
NAME: Final = "Shared link"
MOST_ORIGINS: Final = 5
# Nothing that could be two, a pattern, or the end of a header's part: a name or an IPv4 address.
_ORIGIN: Final = re.compile(
    r"https://(?=.{1,253}(?::|\Z))[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    r"(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+(?::[1-9][0-9]{0,4})?"
    r"|http://(?:localhost|127\.0\.0\.1)(?::[1-9][0-9]{0,4})?"
)


class Share(msgspec.Struct, frozen=True, array_like=True):
    """What a link says: whose eyes, which dashboard, the variables, and until when (Unix s)."""

    key_id: UUID
    dashboard_id: UUID
    variables: dict[str, str]
    expires_at: int
    origins: tuple[str, ...] = ()
    """The websites that may show it within their pages."""

    @property
    def actor(self) -> Actor:
        """Its bearer, as the database meets him."""
        return Actor("authenticated", self.key_id, "key", NAME)


def sign(key: bytes, share: Share) -> str:
    """The link's token: what it says, and our signature under it."""
    said = msgspec.json.encode(share)
    return f"{_text(said)}.{_text(_signature(key, said))}"


def read(key: bytes, token: str, now: datetime) -> Share:
    """What a token says. Raises NotFound for one that is not ours, or over."""
    try:
        if len(token) > LONGEST_TOKEN:
            raise NotFound
        said, _, signature = token.partition(".")
        raw = _bytes(said)
        if not hmac.compare_digest(_bytes(signature), _signature(key, raw)):
            raise NotFound
        share = msgspec.json.decode(raw, type=Share)
    except (binascii.Error, ValueError, msgspec.DecodeError) as exc:
        raise NotFound from exc
    if now.timestamp() >= share.expires_at:
        raise NotFound
    return share


async def share_dashboard(
    cx: Connection,
    settings: Settings,
    row: Row,
    document: Document,
    *,
    subject: UUID,
    expires_at: datetime,
    asked: Mapping[str, str],
    origins: Sequence[str] = (),
) -> tuple[str, UUID]:
    """A new link's token, and the key whose revoking ends it.

    Raises Forbidden where the caller may make no keys, and NotValid for variables too long and for
    `origins` that are none.
    """
    embedders = read_origins(origins)
    variables = choose(document.variables, asked)
    made = await organizations.create_api_key(
        cx,
        organization_id=row["organization_id"],
        name=f"{NAME}: {row['name']}"[:200],
        scope=KeyScope.READ,
        # nobody ever sees its secret: only our signature opens anything with it
        minted=make_key(KeyScope.READ),
        created_by=subject,
        expires_at=expires_at,
    )
    share = Share(made["id"], row["id"], variables, int(expires_at.timestamp()), embedders)
    token = sign(share_key(settings), share)
    if len(token) > LONGEST_TOKEN:
        raise NotValid(errors=[FieldError("variables", "are too long for a link")])
    return token, made["id"]


def read_origins(given: Sequence[str]) -> tuple[str, ...]:
    """The websites that are named, each once. Raises NotValid for what is no origin: a page's
    address, a pattern, anything but https (on one's own machine http)."""
    found = tuple(dict.fromkeys(one.strip().lower().rstrip("/") for one in given if one.strip()))
    wrong = [one for one in found if not _ORIGIN.fullmatch(one)]
    if wrong:
        reason = f"{wrong[0][:80]!r} is no website's address such as https://www.example.com"
        raise NotValid(errors=[FieldError("origins", reason)])
    if len(found) > MOST_ORIGINS:
        raise NotValid(errors=[FieldError("origins", f"are more than {MOST_ORIGINS}")])
    return found


def share_key(settings: Settings) -> bytes:
    """What links are signed with; made once."""
    return _share_key(settings.data_dir)


@cache
def _share_key(data_dir: Path) -> bytes:
    secret = load_or_create_secret(data_dir, "share_key", lambda: secrets.token_urlsafe(32))
    return secret.encode()


def _signature(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, b"dashboard share 1\n" + said, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
