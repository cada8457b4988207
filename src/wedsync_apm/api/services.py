"""What the handlers work with, put together by the composition root."""

import asyncio
from dataclasses import dataclass

from wedsync_apm.api.published import Published
from wedsync_apm.config import Settings
from wedsync_apm.db.pool import Pool
from wedsync_apm.egress import EgressClient
from wedsync_apm.live.hub import Hub
from wedsync_apm.organizations.identity import Authenticator
from wedsync_apm.organizations.secrets import Keyring


@dataclass(frozen=True, slots=True)
class Services:
    """One per process."""

    settings: Settings
    pool: Pool
    authenticator: Authenticator
    hub: Hub
    keyring: Keyring
    reporting: asyncio.Lock
    """Held while the database is being measured: one at a time."""
    egress: EgressClient
    """Calls on behalf of tenants."""
    published: Published
    """What processes that serve together know of each other."""
