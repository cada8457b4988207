"""Sign-in, keys, memberships, the audit log and remembered answers, as the database knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries
from wedsync_apm.organizations.keys import NewKey
from wedsync_apm.organizations.model import Membership
from wedsync_apm.organizations.secrets import WrappedKey
from wedsync_apm.types import KeyScope, OperatorRole, Role

Q = load_queries(__package__)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Login:
    """An account of the standalone sign-in."""

    user_id: UUID
    display_name: str
    password_hash: str
    token_generation: int
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key that is good at this moment."""

    id: UUID
    organization_id: UUID | None
    name: str
    scope: KeyScope
    is_platform: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller belongs."""

    organization_ids: tuple[UUID, ...]
    operator_role: OperatorRole | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered."""

    request_hash: bytes
    status: int
    body: Any


async def find_login(cx: Connection, email: str) -> Login | None:
    """The account of that address, compared without regard to case."""
    row = await (await cx.execute(Q.find_login, {"email": email})).fetchone()
    return Login(**row) if row else None


async def find_sign_in_wait(cx: Connection, bucket: str, most: int) -> int:
    """Seconds to wait before another attempt, after `most` failures in a minute; 0 for none."""
    values = {"bucket": bucket, "most": most}
    row = await (await cx.execute(Q.find_sign_in_wait, values)).fetchone()
    return int(row["seconds"]) if row else 0


async def count_sign_in_failure(cx: Connection, bucket: str, most: int) -> int:
    """Counts one; gives back the seconds to wait, 0 for none."""
    values = {"bucket": bucket, "most": most}
    row = await (await cx.execute(Q.count_sign_in_failure, values)).fetchone()
    return int(row["seconds"]) if row else 0


async def is_token_current(cx: Connection, user_id: UUID, generation: int) -> bool:
    """Whether a token of ours still counts."""
    values = {"user_id": user_id, "generation": generation}
    row = await (await cx.execute(Q.is_token_current, values)).fetchone()
    return bool(row and row["is_current"])


async def find_api_key(cx: Connection, key_hash: bytes) -> StoredKey | None:
    """The good key with that hash."""
    row = await (await cx.execute(Q.find_api_key, {"key_hash": key_hash})).fetchone()
    return StoredKey(**{**row, "scope": KeyScope(row["scope"])}) if row else None


async def touch_api_key(cx: Connection, key_id: UUID) -> None:
    """Notes that the key was used."""
    await cx.execute(Q.touch_api_key, {"key_id": key_id})


async def find_standing(cx: Connection) -> Standing:
    """Where the caller of this transaction belongs."""
    row = await (await cx.execute(Q.find_standing)).fetchone()
    if row is None:  # a select without a table always gives a row
        return Standing((), None)
    role = row["operator_role"]
    return Standing(tuple(row["organization_ids"]), OperatorRole(role) if role else None)


async def find_role(cx: Connection, organization_id: UUID) -> Role | None:
    """The caller's role there."""
    row = await (await cx.execute(Q.find_role, {"organization_id": organization_id})).fetchone()
    return Role(row["role"]) if row and row["role"] else None


async def list_my_organizations(cx: Connection) -> list[Membership]:
    """The caller's organizations by name."""
    return [Membership(**row) async for row in await cx.execute(Q.list_my_organizations)]


async def list_members(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Who belongs there, the newest member first."""
    return await _list(cx, Q.list_members, organization_ids, before, limit)


async def list_api_keys(
    cx: Connection,
    *,
    organization_ids: Sequence[UUID],
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """The keys, newest first."""
    return await _list(cx, Q.list_api_keys, organization_ids, before, limit)


async def create_api_key(
    cx: Connection,
    *,
    organization_id: UUID,
    name: str,
    scope: KeyScope,
    minted: NewKey,
    created_by: UUID,
    expires_at: datetime | None,
) -> Row:
    """Stores a key just made."""
    cursor = await cx.execute(
        Q.create_api_key,
        {
            "organization_id": organization_id,
            "name": name,
            "scope": scope.value,
            "key_hash": minted.key_hash,
            "prefix": minted.prefix,
            "created_by": created_by,
            "expires_at": expires_at,
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 an insert that did not raise gives its row back
    return row


async def find_api_key_by_id(cx: Connection, key_id: UUID) -> Row | None:
    """One key."""
    return await (await cx.execute(Q.find_api_key_by_id, {"id": key_id})).fetchone()


async def revoke_api_key(cx: Connection, key_id: UUID) -> Row | None:
    """Ends it; None if the caller may not, or there is none."""
    return await (await cx.execute(Q.revoke_api_key, {"id": key_id})).fetchone()


async def list_audit_log(
    cx: Connection, *, organization_ids: Sequence[UUID], before_number: int | None, limit: int
) -> list[Row]:
    """What was changed, newest first."""
    cursor = await cx.execute(
        Q.list_audit_log,
        {
            "organization_ids": list(organization_ids),
            "before_number": before_number,
            "limit": limit,
        },
    )
    return await cursor.fetchall()


async def find_answer(
    cx: Connection, *, organization_id: UUID, subject: UUID, key: str
) -> Answer | None:
    """What the first request with this key was answered; waits for one that is under way."""
    values = {"organization_id": organization_id, "subject": subject, "key": key}
    await cx.execute(Q.take_idempotency_lock, values)
    row = await (await cx.execute(Q.find_idempotent_answer, values)).fetchone()
    if row is None:
        return None
    return Answer(bytes(row["request_hash"]), row["response_status"], row["response_body"])


async def record_answer(
    cx: Connection, *, organization_id: UUID, subject: UUID, key: str, answer: Answer
) -> None:
    """Remembers it for a repeat."""
    await cx.execute(
        Q.record_idempotent_answer,
        {
            "organization_id": organization_id,
            "subject": subject,
            "key": key,
            "request_hash": answer.request_hash,
            "response_status": answer.status,
            "response_body": Jsonb(answer.body),
        },
    )


async def find_organization_key(cx: Connection, organization_id: UUID) -> WrappedKey | None:
    """The organization's data key as it is stored; None if it has none yet."""
    cursor = await cx.execute(Q.find_organization_key, {"organization_id": organization_id})
    row = await cursor.fetchone()
    return WrappedKey(bytes(row["wrapped_key"]), row["master_key_id"]) if row else None


async def store_organization_key(
    cx: Connection, organization_id: UUID, key: WrappedKey
) -> WrappedKey:
    """Keeps an organization's first data key; gives back the one that counts from now on."""
    cursor = await cx.execute(
        Q.store_organization_key,
        {
            "organization_id": organization_id,
            "wrapped_key": key.wrapped_key,
            "master_key_id": key.key_id,
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 -- the statement inserts or finds one
    return WrappedKey(bytes(row["wrapped_key"]), row["master_key_id"])


async def list_outdated_organization_keys(
    cx: Connection, key_id: str
) -> list[tuple[UUID, WrappedKey]]:
    """The data keys that are wrapped by another master key than this one."""
    cursor = await cx.execute(Q.list_outdated_organization_keys, {"master_key_id": key_id})
    return [
        (row["organization_id"], WrappedKey(bytes(row["wrapped_key"]), row["master_key_id"]))
        for row in await cursor.fetchall()
    ]


async def rewrap_organization_key(cx: Connection, organization_id: UUID, key: WrappedKey) -> None:
    """Replaces an organization's data key by the same one, wrapped anew."""
    await cx.execute(
        Q.rewrap_organization_key,
        {
            "organization_id": organization_id,
            "wrapped_key": key.wrapped_key,
            "master_key_id": key.key_id,
        },
    )


async def _list(
    cx: Connection,
    query: str,
    organization_ids: Sequence[UUID],
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    before_at, before_id = before or (None, None)
    cursor = await cx.execute(
        query,
        {
            "organization_ids": list(organization_ids),
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        },
    )
    return await cursor.fetchall()
