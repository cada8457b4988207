"""Sealing what organizations entrust to us, before it goes into the database."""

from uuid import UUID

from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.db.pool import Connection
from wedsync_apm.errors import Forbidden
from wedsync_apm.organizations import store, vault
from wedsync_apm.organizations.secrets import Place
from wedsync_apm.organizations.vault import Sealed
from wedsync_apm.types import Role


async def require_admin(cx: Connection, organization_id: UUID) -> None:
    """Raises Forbidden unless the caller may write for the organization.

    Sealing happens outside of his transaction, where row-level security does not watch.
    """
    if await store.find_role(cx, organization_id) not in (Role.OWNER, Role.ADMIN):
        raise Forbidden("Only an owner or admin may change this.")


async def seal(request: ApiRequest, place: Place, secret: str | None) -> Sealed:
    """The secret sealed for its place; nothing for None. Ask `require_admin` before."""
    return await vault.seal(request.services.pool, request.services.keyring, place, secret)
