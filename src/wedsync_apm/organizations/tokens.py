"""JSON Web Tokens: Supabase's, and our own of the same shape.

What a token may look like is fixed here and by the configuration, never by the token: the
algorithm is pinned, the key is chosen by us, and a header that brings or names a key is refused.
The library accepts an `exp` that is a string, lives ten years or lies at 1e308; we do not.
"""

import asyncio
import base64
import binascii
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from wedsync_apm.clock import utcnow
from wedsync_apm.config import Settings, load_or_create_secret
from wedsync_apm.errors import ConfigurationError, Unauthorized
from wedsync_apm.organizations.model import (
    ISSUER,
    LARGEST_TOKEN_BYTES,
    LONGEST_TOKEN_SECONDS,
    TOKEN_SECONDS,
    Identity,
)
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

SKEW_SECONDS: Final = 60
"""How far a signer's clock may be ahead of ours."""
_HEADERS: Final = frozenset({"alg", "typ", "kid"})
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_KEEP_KEYS_SECONDS: Final = 600.0
_FETCH_AT_MOST_EVERY_SECONDS: Final = 30.0
_SMALLEST_RSA_BITS: Final = 2048
_TRUST_OLD_KEYS_SECONDS: Final = 3600.0

_CODEC: Final = jwt.PyJWS(algorithms=["HS256", "ES256", "RS256"])
PublicKey = EllipticCurvePublicKey | RSAPublicKey
Fetch = Callable[[], Awaitable[bytes]]


class KeySet:
    """An identity provider's public keys, kept for ten minutes.

    A key that is not known is a reason to fetch anew, at most every 30 seconds: made-up key names
    must not turn into calls. While the provider is away its known keys stay good for an hour.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: dict[str, tuple[str, PublicKey]] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, algorithm: str, kid: str | None) -> PublicKey:
        """The key of that name for that algorithm. Raises Unauthorized if there is none."""
        found = self._look_up(algorithm, kid) if self._is_fresh(_KEEP_KEYS_SECONDS) else None
        if found is None:
            async with self._lock:
                found = self._look_up(algorithm, kid)
                if (found is None or not self._is_fresh(_KEEP_KEYS_SECONDS)) and self._may_fetch():
                    await self._refresh()
                    found = self._look_up(algorithm, kid)
            if not self._is_fresh(_TRUST_OLD_KEYS_SECONDS):
                found = None
        if found is None:
            raise Unauthorized("The token is signed with a key that is not known.")
        return found

    def _is_fresh(self, seconds: float) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at < seconds

    def _may_fetch(self) -> bool:
        return (
            self._tried_at is None or self._clock() - self._tried_at >= _FETCH_AT_MOST_EVERY_SECONDS
        )

    def _look_up(self, algorithm: str, kid: str | None) -> PublicKey | None:
        if kid is None:
            # Without a name only one key can be meant.
            fitting = [key for known, key in self._keys.values() if known == algorithm]
            return fitting[0] if len(fitting) == 1 else None
        known, key = self._keys.get(kid, ("", None))
        return key if known == algorithm else None

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = read_key_set(await self._fetch())
            self._fetched_at = self._clock()
        except Exception as exc:
            log.warning(
                "The identity provider's keys could not be fetched: %s",
                exc,
                extra={"action": "fetch_keys"},
            )


def read_key_set(content: bytes) -> dict[str, tuple[str, PublicKey]]:
    """The usable public keys of a JWKS document by `kid`; others are left out.

    Raises ValueError for a document that is none.
    """
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no list of keys")
    usable: dict[str, tuple[str, PublicKey]] = {}
    for number, entry in enumerate(entries[:50]):
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or "d" in entry:
            continue
        try:
            key = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        kid = str(entry.get("kid", f"#{number}"))
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            usable[kid] = "ES256", key
        elif isinstance(key, RSAPublicKey) and key.key_size >= _SMALLEST_RSA_BITS:
            usable[kid] = "RS256", key
    return usable


@dataclass(frozen=True, slots=True)
class Tokens:
    """Signs and checks tokens for one process."""

    audience: str
    algorithms: tuple[str, ...]
    secret: str | None = None
    """For HS256."""
    keys: KeySet | None = None
    """For ES256 and RS256."""
    is_secret_ours: bool = False
    """Whether nobody else signs with the secret, so that whatever it signed must name us."""

    @property
    def can_issue(self) -> bool:
        """Whether people can sign in here: tokens of ours are signed with the secret."""
        return "HS256" in self.algorithms and self.secret is not None

    def issue(
        self,
        subject: UUID,
        *,
        name: str,
        email: str,
        generation: int,
        at: datetime | None = None,
        seconds: int = TOKEN_SECONDS,
    ) -> str:
        """A signed token of ours, good from `at` (now) for `seconds`."""
        if not self.can_issue or self.secret is None:
            raise ConfigurationError("tokens of our own need HS256 among the JWT algorithms")
        issued = int((at or utcnow()).timestamp())
        return jwt.encode(
            {
                "iss": ISSUER,
                "sub": str(subject),
                "role": "authenticated",
                "aud": self.audience,
                "iat": issued,
                "exp": issued + seconds,
                "name": name,
                "email": email,
                "generation": generation,
            },
            self.secret,
            algorithm="HS256",
        )

    async def verify(self, token: str, *, at: datetime | None = None) -> Identity:
        """The person that a token stands for; asks no database.

        1. Size, shape and header, before anything is computed.
        2. The signature, with the key that we choose for the pinned algorithm.
        3. Every claim that we rely on, its type included.

        Raises Unauthorized with the reason.
        """
        header = _read_header(token)
        algorithm = header.get("alg")
        if algorithm not in self.algorithms:
            raise Unauthorized("The token is signed in a way that is not accepted here.")
        key = await self._key_for(algorithm, header.get("kid"))
        try:
            # Only the signature: the claims are ours to check, more strictly than the library does.
            payload = _CODEC.decode(token, key, algorithms=[algorithm])
            claims = json.loads(payload)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as exc:
            raise Unauthorized("The token's signature is not valid.") from exc
        if not isinstance(claims, dict):
            raise Unauthorized("The token holds no claims.")
        if self.is_secret_ours and algorithm == "HS256" and claims.get("iss") != ISSUER:
            # Else the generation, by which people are signed out, would not be looked at.
            raise Unauthorized("The token was not issued here.")
        return read_claims(claims, self.audience, at or utcnow())

    async def _key_for(self, algorithm: str, kid: str | None) -> str | PublicKey:
        if algorithm == "HS256":
            if self.secret is None:
                raise Unauthorized("The token is signed in a way that is not accepted here.")
            return self.secret
        if self.keys is None:
            raise Unauthorized("The token is signed with a key that is not known.")
        return await self.keys.find(algorithm, kid)


def read_claims(claims: dict[str, Any], audience: str, at: datetime) -> Identity:
    """The identity in claims whose signature was checked. Raises Unauthorized with the reason."""
    issued, expires = (_read_time(claims, name) for name in ("iat", "exp"))
    now = int(at.timestamp())
    if expires <= now:
        raise Unauthorized("The token has expired.")
    if issued > now + SKEW_SECONDS:
        raise Unauthorized("The token is not valid yet.")
    if "nbf" in claims and _read_time(claims, "nbf") > now + SKEW_SECONDS:
        raise Unauthorized("The token is not valid yet.")
    if not 0 < expires - issued <= LONGEST_TOKEN_SECONDS:
        raise Unauthorized("The token is good for longer than a day.")
    found = claims.get("aud")
    audiences = found if isinstance(found, list) else [found]
    if not any(isinstance(one, str) and one == audience for one in audiences):
        raise Unauthorized("The token is meant for somebody else.")
    if claims.get("role") != "authenticated":
        raise Unauthorized("The token's role is not accepted here.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _UUID.fullmatch(subject):
        raise Unauthorized("The token names no user.")
    generation = None
    if claims.get("iss") == ISSUER:
        generation = claims.get("generation")
        if type(generation) is not int or not 0 < generation < 2**31:
            raise Unauthorized("The token carries no generation.")
    email = _read_text(claims.get("email"))
    return Identity(
        subject=UUID(subject),
        kind="user",
        name=_read_text(claims.get("name")) or _name_from_metadata(claims) or email or "member",
        email=email,
        expires_at=datetime.fromtimestamp(expires, UTC),
        generation=generation,
    )


def _read_header(token: str) -> dict[str, str]:
    if len(token) > LARGEST_TOKEN_BYTES:
        raise Unauthorized("The token is too long.")
    if not _COMPACT.fullmatch(token):
        raise Unauthorized("This is neither a token nor an API key.")
    encoded = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError, RecursionError) as exc:
        raise Unauthorized("The token's header cannot be read.") from exc
    if not isinstance(header, dict) or not all(isinstance(v, str) for v in header.values()):
        raise Unauthorized("The token's header cannot be read.")
    # jku, x5u, jwk and x5c bring their own key; crit, b64 and zip change what is checked.
    if header.keys() - _HEADERS or header.get("typ", "JWT").upper() != "JWT":
        raise Unauthorized("The token's header says more than is accepted here.")
    return header


def _read_time(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    # bool is an int in Python; a float or a string would compare as something else elsewhere.
    if type(value) is not int or not 0 < value < 2**40:
        raise Unauthorized(f"The token's {name} is not a time in whole seconds.")
    return value


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    # The name stands in timelines and logs; a database text holds no NUL.
    return "".join(c for c in value if c.isprintable())[:200]


def _name_from_metadata(claims: dict[str, Any]) -> str:
    # Where Supabase keeps what a person calls himself.
    metadata = claims.get("user_metadata")
    if not isinstance(metadata, dict):
        return ""
    return _read_text(metadata.get("full_name")) or _read_text(metadata.get("name"))


def load_tokens(settings: Settings, fetch: Fetch | None = None) -> Tokens:
    """Tokens as the settings want them; the secret is made at the first start where none is given.

    `fetch` gets the document at the JWKS address; it is needed if, and only if, that is set.
    """
    algorithms = settings.jwt_algorithms
    secret = None
    if "HS256" in algorithms:
        secret = settings.jwt_secret or load_or_create_secret(
            settings.data_dir, "jwt_secret", _make_secret
        )
    keys = None
    if settings.jwks_url is not None:
        if fetch is None:
            raise ConfigurationError("the keys at the JWKS address need something that fetches")
        keys = KeySet(fetch)
    elif set(algorithms) - {"HS256"}:
        raise ConfigurationError("ES256 and RS256 need WEDSYNC_APM_JWKS_URL: where the keys are")
    is_ours = secret is not None and settings.jwt_secret is None
    return Tokens(settings.jwt_audience, algorithms, secret, keys, is_secret_ours=is_ours)


def _make_secret() -> str:
    return secrets.token_urlsafe(48)
