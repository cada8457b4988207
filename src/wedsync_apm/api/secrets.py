"""Sealing what organizations entrust to us, before it goes into the database."""

from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.db.pool import Connection, wrap_database_errors
from wedsync_apm.errors import Forbidden
from wedsync_apm.organizations import store
from wedsync_apm.organizations.secrets import Place
from wedsync_apm.organizations.vault import open_data_key
from wedsync_apm.types import Role


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is stored, and what people see of it."""

    ciphertext: bytes | None = None
    fingerprint: str | None = None


async def require_admin(cx: Connection, organization_id: UUID) -> None:
    """Raises Forbidden unless the caller may write for the organization.

    Sealing happens outside of his transaction, where row-level security does not watch.
    """
    if await store.find_role(cx, organization_id) not in (Role.OWNER, Role.ADMIN):
        raise Forbidden("Only an owner or admin may change this.")


async def seal(request: ApiRequest, place: Place, secret: str | None) -> Sealed:
    """The secret sealed for its place; nothing for None. Ask `require_admin` before."""
    if secret is None:
        return Sealed()
    services = request.services
    with wrap_database_errors():
        async with services.pool.connection() as cx:
            key = await open_data_key(cx, services.keyring, place.organization_id)
    return Sealed(key.seal(place, secret), key.fingerprint(secret))
