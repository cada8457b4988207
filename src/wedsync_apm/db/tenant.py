"""The only way into a tenant: one transaction with the caller's role and claims.

The role and the claims are local to the transaction, so that nothing is left behind for the next
borrower of the connection, a transaction-mode pooler included.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking. `subject` is the user's or the API key's id; None only for `anon`."""

    role: Literal["anon", "authenticated"]
    subject: UUID | None
    kind: Literal["user", "key", "anonymous"] = "user"
    name: str = ""

    def claims(self) -> dict[str, Any]:
        """What `auth.jwt()` sees in the database."""
        claims: dict[str, Any] = {"role": self.role, "kind": self.kind}
        if self.subject is not None:
            claims["sub"] = str(self.subject)
        if self.name:
            # what timelines and the audit log call him
            claims["name"] = self.name
        return claims


ANONYMOUS = Actor("anon", None, "anonymous")


@asynccontextmanager
async def tenant_tx(pool: Pool, actor: Actor) -> AsyncIterator[Connection]:
    """A connection inside one transaction as `actor`; commits at the end, rolls back on an error.

    Raises our errors for the driver's, those of the body and of the commit included.
    """
    with wrap_database_errors():
        async with pool.connection() as cx, cx.transaction():
            # A GUC cannot choose the role by itself: `set_config('role', …)` does what SET LOCAL
            # ROLE does, takes a parameter, and costs no round trip of its own.
            await cx.execute(
                Q.enter_tenant, {"role": actor.role, "claims": json.dumps(actor.claims())}
            )
            yield cx
