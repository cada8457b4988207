"""Who asks, and what that lets him try; the database decides what he gets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from wedsync_apm.types import KeyScope

ISSUER = "wedsync-apm"
"""`iss` of the tokens that we sign ourselves; only these carry a generation."""

TOKEN_SECONDS = 12 * 3600
"""How long a token of ours is good."""

LONGEST_TOKEN_SECONDS = 24 * 3600
"""No token may be good for longer, whoever signed it."""

LARGEST_TOKEN_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """A checked credential: a person's token, or an API key."""

    subject: UUID
    kind: Literal["user", "key"]
    name: str
    email: str = ""
    expires_at: datetime | None = None
    generation: int | None = None
    """Of a token of ours; None for a token that an identity provider signed, and for a key."""
    organization_id: UUID | None = None
    """Of a key; None for a person and for a platform key."""
    scope: KeyScope | None = None
    is_platform: bool = False

    @property
    def may_send_samples(self) -> bool:
        """Whether this is a key for sending samples; an admin key may do everything."""
        return self.scope in (KeyScope.INGEST, KeyScope.ADMIN)

    @property
    def only_sends_samples(self) -> bool:
        """Whether nothing but sending samples is allowed."""
        return self.scope is KeyScope.INGEST


@dataclass(frozen=True, slots=True)
class Membership:
    """One of the caller's organizations, and his role there."""

    organization_id: UUID
    name: str
    time_zone: str
    vendor_type: str
    help_line: str | None
    role: str
