"""From a credential to an identity: the one place that every front door asks.

What cannot be right by its shape or its signature is refused without a connection. What the
database said of a key or a token's generation is believed for some seconds; a revocation that goes
through this process, or one that serves beside it, counts at once.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID
from weakref import WeakValueDictionary

from wedsync_apm.db.pool import Connection, Pool, wrap_database_errors
from wedsync_apm.db.tenant import Actor
from wedsync_apm.errors import RateLimited, Unauthorized
from wedsync_apm.organizations import keys, store
from wedsync_apm.organizations.model import TOKEN_SECONDS, Identity
from wedsync_apm.organizations.passwords import LONGEST_PASSWORD, PasswordChecker
from wedsync_apm.organizations.tokens import Tokens
from wedsync_apm.telemetry import Counter

BELIEVE_SECONDS: Final = 5.0
MOST_REMEMBERED: Final = 20_000

REFUSALS = Counter("wedsync_apm_credentials_refused_total", "Credentials refused", ("kind",))
SIGN_INS = Counter("wedsync_apm_sign_ins_total", "Attempts to sign in", ("outcome",))


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A token of ours, just issued."""

    token: str
    identity: Identity
    expires_in: int
    """Seconds."""


def credential_in(headers: Mapping[str, str]) -> str | None:
    """The token or key that a request carries, if any; header names in lower case.

    Raises Unauthorized for an Authorization header of another kind.
    """
    authorization = headers.get("authorization")
    if authorization is None:
        return headers.get("x-api-key") or None
    kind, _, credential = authorization.strip().partition(" ")
    if kind.lower() != "bearer" or not credential.strip():
        raise Unauthorized("Send `Authorization: Bearer <token or API key>`.")
    return credential.strip()


def actor_of(identity: Identity) -> Actor:
    """As whom the database shall see him."""
    return Actor("authenticated", identity.subject, identity.kind, identity.name)


class Revocations(Protocol):
    """What processes that serve together tell each other of keys and sessions that ended."""

    @property
    def revocations(self) -> int:
        """How many there were in all; it only grows."""
        ...

    def note_revocation(self) -> None:
        """One more."""
        ...


class Authenticator:
    """Checks credentials and signs people in, for one process."""

    def __init__(
        self,
        tokens: Tokens,
        pool: Pool,
        *,
        attempts_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        revocations: Revocations | None = None,
    ) -> None:
        self.tokens = tokens
        self._pool = pool
        self._attempts_per_minute = attempts_per_minute
        self._clock = clock
        self._revocations = revocations
        self._seen_revocations = 0
        self._passwords = PasswordChecker()
        self._attempts: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._known_keys: dict[bytes, tuple[float, Identity | None]] = {}
        self._known_tokens: dict[tuple[UUID, int], tuple[float, bool]] = {}
        self._lookups: dict[bytes, asyncio.Task[Identity | None]] = {}

    async def identity_from_headers(self, headers: Mapping[str, str]) -> Identity:
        """Who sends these headers. Raises Unauthorized for nobody."""
        credential = credential_in(headers)
        if credential is None:
            raise Unauthorized("Sign in, or send an API key.")
        return await self.authenticate(credential)

    async def authenticate(self, credential: str) -> Identity:
        """The person or key behind a credential. Raises Unauthorized; DatabaseAway if it cannot
        be known."""
        if (shared := self._revocations) and shared.revocations != self._seen_revocations:
            self._seen_revocations = shared.revocations
            self._forget()
        is_key = credential.startswith(keys.PREFIX)
        try:
            return await (self._check_key(credential) if is_key else self._check_token(credential))
        except Unauthorized:
            REFUSALS.inc(kind="key" if is_key else "token")
            raise

    async def read(self, credential: str) -> Identity:
        """The same, for whoever asks himself whether a person's token was overtaken: what the
        database would say of that is left to him."""
        if credential.startswith(keys.PREFIX):
            return await self.authenticate(credential)
        try:
            return await self.tokens.verify(credential)
        except Unauthorized:
            REFUSALS.inc(kind="token")
            raise

    def forget(self) -> None:
        """What was believed of keys and tokens is asked again, by all processes that serve here:
        something was just revoked."""
        if self._revocations:
            self._revocations.note_revocation()
        self._forget()

    def _forget(self) -> None:
        self._known_keys.clear()
        self._known_tokens.clear()
        # What is being read may be from before it.
        self._lookups.clear()

    async def sign_in(self, *, email: str, password: str, address: str) -> SignedIn:
        """A token for the right password.

        An unknown account costs the same time as a wrong password and gets the same answer.
        Attempts of one address at one account go one after the other, so that many at once cannot
        slip past the count. Raises Unauthorized, or RateLimited.
        """
        if not self.tokens.can_issue:
            raise Unauthorized("People sign in at the identity provider here.")
        account = email.strip().lower()
        bucket = hashlib.sha256(f"{address} {account}".encode()).hexdigest()
        lock = self._attempts.setdefault(bucket, asyncio.Lock())
        async with lock:
            async with self._connection() as cx:
                if wait := await store.find_sign_in_wait(cx, bucket, self._attempts_per_minute):
                    SIGN_INS.inc(outcome="limited")
                    raise RateLimited("Too many wrong passwords; wait a little.", float(wait))
                login = await store.find_login(cx, account)
            # The connection is given back: a hash takes long.
            stored = login.password_hash if login else None
            is_right = len(password) <= LONGEST_PASSWORD and await self._passwords.check(
                stored, password
            )
            if login is None or login.is_disabled or not is_right:
                async with self._connection() as cx:
                    await store.count_sign_in_failure(cx, bucket, self._attempts_per_minute)
                SIGN_INS.inc(outcome="refused")
                raise Unauthorized("The e-mail address or the password is not right.")
        SIGN_INS.inc(outcome="done")
        token = self.tokens.issue(
            login.user_id,
            name=login.display_name,
            email=account,
            generation=login.token_generation,
        )
        return SignedIn(token, await self.tokens.verify(token), TOKEN_SECONDS)

    async def _check_token(self, token: str) -> Identity:
        identity = await self.tokens.verify(token)
        if identity.generation is not None:
            place = identity.subject, identity.generation
            now = self._clock()
            believed = self._known_tokens.get(place)
            if believed is None or believed[0] <= now:
                async with self._connection() as cx:
                    is_current = await store.is_token_current(cx, *place)
                _make_room(self._known_tokens)
                believed = self._known_tokens[place] = now + BELIEVE_SECONDS, is_current
            if not believed[1]:
                raise Unauthorized("The session has ended; sign in again.")
        return identity

    async def _check_key(self, secret: str) -> Identity:
        key_hash = keys.hash_key(secret)
        believed = self._known_keys.get(key_hash)
        if believed is not None and believed[0] > self._clock():
            identity = believed[1]
        elif not keys.is_well_formed(secret):
            raise Unauthorized("This is not an API key.")
        else:
            identity = await self._look_up_key(key_hash)
        if identity is None:
            raise Unauthorized("This API key is not known, or was revoked.")
        return identity

    async def _look_up_key(self, key_hash: bytes) -> Identity | None:
        """Asks once for all who wait: the panels of a dashboard come with the same key at once, and
        one that goes away does not take the answer from the others."""
        lookup = self._lookups.get(key_hash)
        if lookup is None:
            lookup = self._lookups[key_hash] = asyncio.create_task(self._find_key(key_hash))
            lookup.add_done_callback(lambda done: self._end_lookup(key_hash, done))
        return await asyncio.shield(lookup)

    async def _find_key(self, key_hash: bytes) -> Identity | None:
        until = self._clock() + BELIEVE_SECONDS
        found = None
        async with self._connection() as cx:
            key = await store.find_api_key(cx, key_hash)
            if key is not None:
                await store.touch_api_key(cx, key.id)
                found = _identity_of(key)
        if self._lookups.get(key_hash) is asyncio.current_task():
            _make_room(self._known_keys)
            self._known_keys[key_hash] = until, found
        return found

    def _end_lookup(self, key_hash: bytes, done: "asyncio.Task[Identity | None]") -> None:
        if self._lookups.get(key_hash) is done:
            del self._lookups[key_hash]
        if not done.cancelled():
            done.exception()  # whoever waits has it; nobody may be left to

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with wrap_database_errors():
            async with self._pool.connection() as cx:
                yield cx


def _identity_of(key: store.StoredKey) -> Identity:
    return Identity(
        subject=key.id,
        kind="key",
        name=key.name,
        organization_id=key.organization_id,
        scope=key.scope,
        is_platform=key.is_platform,
    )


def _make_room(remembered: dict[Any, Any]) -> None:
    if len(remembered) >= MOST_REMEMBERED:
        remembered.clear()
