"""What a person's own device may keep of our pages, told to the worker in it by headers.

The worker keeps a page only if `X-Wedsync-Keep` says until when, and only together with others of
the same `X-Wedsync-Reader`: who reads, at which business, in which role. As soon as an answer names
another reader, or nobody, everything of the one before is deleted.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.organizations.model import Membership
from wedsync_apm.web.session import Web

KEPT: Final = timedelta(hours=48)
"""For how long the last known state of a page is worth more than none."""
READER: Final = "x-wedsync-reader"
KEEP: Final = "x-wedsync-keep"
NOBODY: Final[Mapping[str, str]] = {READER: "nobody"}
"""Of an answer to somebody who is not signed in, or belongs nowhere any more."""
NOT_KEPT: Final[Mapping[str, str]] = {KEEP: "0"}
"""Of an answer that takes back what was kept at its address."""


def reader_of(web: Web, subject: UUID, membership: Membership) -> str:
    """The reader as the worker tells one from another; says nothing to anybody else."""
    person = _mark(web, "person", subject.hex)
    place = _mark(web, "place", subject.hex, membership.organization_id.hex, membership.role)
    return f"{person}.{place}"


def keep_headers(reader: str, until: datetime | None) -> dict[str, str]:
    """For the answer to a reader; kept until then, or not at all."""
    headers = {READER: reader}
    if until is not None:
        headers[KEEP] = str(round(until.timestamp() * 1000))
    return headers


def _mark(web: Web, *parts: str) -> str:
    signed = hmac.new(web.form_key, "\0".join(("reader", *parts)).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(signed.digest()[:12]).decode()
