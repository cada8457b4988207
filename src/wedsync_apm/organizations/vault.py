"""The organizations' data keys in the database: found, made at first use, wrapped anew."""

from dataclasses import dataclass
from uuid import UUID

from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.organizations import store
from wedsync_apm.organizations.secrets import DataKey, Keyring, Place


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is stored, and what people see of it."""

    ciphertext: bytes | None = None
    fingerprint: str | None = None


async def seal(pool: Pool, keyring: Keyring, place: Place, secret: str | None) -> Sealed:
    """The secret sealed for its place, over a connection of its own; nothing for None.

    Row-level security does not watch here: whoever calls this has made sure that the caller may
    write for the organization.
    """
    if secret is None:
        return Sealed()
    with wrap_database_errors():
        async with pool.connection() as cx:
            key = await open_data_key(cx, keyring, place.organization_id)
    return Sealed(key.seal(place, secret), key.fingerprint(secret))


async def open_data_key(cx: Connection, keyring: Keyring, organization_id: UUID) -> DataKey:
    """The organization's data key, made if it has none.

    `cx` is the API's or the engine's own login, not a member's transaction; whoever calls this has
    made sure that the caller may write for the organization. Raises NotValid for an organization
    that does not exist, SecretUnreadable without the right master key.
    """
    wrapped = await store.find_organization_key(cx, organization_id)
    if wrapped is None:
        fresh = keyring.new_key(organization_id)
        wrapped = await store.store_organization_key(cx, organization_id, fresh)
    return keyring.open(organization_id, wrapped)


async def rewrap_data_keys(cx: Connection, keyring: Keyring) -> int:
    """Wraps every data key with the keyring's present master key; returns how many changed.

    In the caller's transaction, as the engine's login: all or none. The secrets themselves stay as
    they are. Raises SecretUnreadable if one is under a master key that the keyring has not.
    """
    outdated = await store.list_outdated_organization_keys(cx, keyring.key_id)
    for organization_id, wrapped in outdated:
        fresh = keyring.rewrap(organization_id, wrapped)
        if fresh is not None:
            await store.rewrap_organization_key(cx, organization_id, fresh)
    return len(outdated)
