"""Envelope encryption of the secrets that organizations give us: webhook keys, Slack addresses.

Each organization has a data key of its own, stored only wrapped by the platform's master key. A
secret is sealed with the data key, and the seal is bound to the organization, table, column and row
in which it stands: copied anywhere else, by a bug or by hand, it does not open. Deleting an
organization's wrapped key makes all its secrets unreadable for good, in every backup too.

Rotating the master key wraps the data keys anew and touches no secret.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wedsync_apm.config import Settings, load_or_create_secret, stored_secret
from wedsync_apm.errors import ConfigurationError, WedSyncError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"


class SecretUnreadable(WedSyncError):
    """A stored secret does not open with the keys that are there."""

    title = "Secret not readable"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret stands. What is sealed for one place opens in no other."""

    organization_id: UUID
    table: str
    column: str
    row_id: UUID

    @property
    def _binding(self) -> bytes:
        return _join("secret", self.organization_id.hex, self.table, self.column, self.row_id.hex)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored; `key_id` names the master key that opens it."""

    wrapped_key: bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class DataKey:
    """An organization's key, in the open: keep it no longer than the work at hand."""

    organization_id: UUID
    _key: bytes = field(repr=False)

    def seal(self, place: Place, secret: str) -> bytes:
        """The secret's ciphertext for `place`, different each time."""
        self._check(place)
        return _seal(self._key, secret.encode(), place._binding)

    def unseal(self, place: Place, sealed: bytes) -> str:
        """The secret again. Raises SecretUnreadable if it was sealed for another place or key."""
        self._check(place)
        return _unseal(self._key, sealed, place._binding).decode()

    def fingerprint(self, secret: str) -> str:
        """Twelve characters by which people tell two secrets apart; says nothing about them.

        Keyed, so that a short secret cannot be guessed from it and two organizations with the same
        secret do not show the same fingerprint.
        """
        digest = hmac.new(self._key, _join("fingerprint", secret), hashlib.sha256)
        return digest.hexdigest()[:12]

    def token(self, purpose: str, subject: UUID) -> str:
        """A 128-bit token that only this organization's key can make, the same each time, also
        after the master key has changed: for addresses that people give to other systems."""
        digest = hmac.new(self._key, _join("token", purpose, subject.hex), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()

    def _check(self, place: Place) -> None:
        if place.organization_id != self.organization_id:
            raise SecretUnreadable("This secret belongs to another organization's key.")


class Keyring:
    """The master key, and those before it that may still be in use until a rotation is through."""

    def __init__(self, master_key: bytes, previous: Sequence[bytes] = ()) -> None:
        for key in (master_key, *previous):
            if len(key) != KEY_BYTES:
                raise ConfigurationError(f"A master key has {KEY_BYTES} bytes, not {len(key)}")
        self.key_id: Final = _key_id(master_key)
        self._keys = {_key_id(key): key for key in (*previous, master_key)}

    def __repr__(self) -> str:
        return f"Keyring({self.key_id})"

    def new_key(self, organization_id: UUID) -> WrappedKey:
        """A fresh random data key for an organization, wrapped."""
        return self._wrap(organization_id, secrets.token_bytes(KEY_BYTES))

    def open(self, organization_id: UUID, wrapped: WrappedKey) -> DataKey:
        """The organization's data key. Raises SecretUnreadable without the right master key."""
        return DataKey(organization_id, self._unwrap(organization_id, wrapped))

    def rewrap(self, organization_id: UUID, wrapped: WrappedKey) -> WrappedKey | None:
        """The same data key under the present master key; None if it is so already."""
        if wrapped.key_id == self.key_id:
            return None
        return self._wrap(organization_id, self._unwrap(organization_id, wrapped))

    def token(self, purpose: str, subject: UUID) -> str:
        """A 128-bit token that only this installation can make, the same each time.

        Made again instead of stored: the database keeps nothing but its hash.
        """
        key = self._keys[self.key_id]
        digest = hmac.new(key, _join("token", purpose, subject.hex), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()

    def code(self, purpose: str, subject: UUID) -> str:
        """Six digits that only this installation can make, the same each time."""
        key = self._keys[self.key_id]
        digest = hmac.new(key, _join("code", purpose, subject.hex), hashlib.sha256).digest()
        return f"{int.from_bytes(digest[:16]) % 1_000_000:06d}"

    def code_hash(self, purpose: str, subject: UUID, code: str) -> bytes:
        """What the database may know of a code: without the master key it says nothing."""
        key = self._keys[self.key_id]
        return hmac.new(
            key, _join("code hash", purpose, subject.hex, code), hashlib.sha256
        ).digest()

    def subkey(self, purpose: str, key_id: str) -> bytes:
        """A key for one purpose, made from the master key of that id.

        Raises SecretUnreadable where that is none of ours.
        """
        master = self._keys.get(key_id)
        if master is None:
            raise SecretUnreadable(f"There is no master key {key_id} here.")
        return hmac.new(master, _join("subkey", purpose), hashlib.sha256).digest()

    def _wrap(self, organization_id: UUID, data_key: bytes) -> WrappedKey:
        binding = _join("data key", organization_id.hex)
        return WrappedKey(_seal(self._keys[self.key_id], data_key, binding), self.key_id)

    def _unwrap(self, organization_id: UUID, wrapped: WrappedKey) -> bytes:
        master = self._keys.get(wrapped.key_id)
        if master is None:
            raise SecretUnreadable(
                f"The secrets were stored under the master key {wrapped.key_id}; "
                f"this process has {self.key_id}."
            )
        return _unseal(master, wrapped.wrapped_key, _join("data key", organization_id.hex))


def load_keyring(settings: Settings) -> Keyring:
    """The keyring of this installation; makes a master key in the data folder where none is set.

    Raises ConfigurationError when the stored key cannot be used.
    """
    if settings.master_key is not None:
        return Keyring(settings.master_key)
    load_or_create_secret(
        settings.data_dir,
        "master_key",
        lambda: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode(),
    )
    return keyring_of(settings)


def keyring_of(settings: Settings) -> Keyring:
    """The same where a key must be there already: one that was made now would open nothing.

    Raises ConfigurationError where there is none.
    """
    if settings.master_key is not None:
        return Keyring(settings.master_key)
    stored = stored_secret(settings.data_dir, "master_key")
    if stored is None:
        raise ConfigurationError(
            f"There is no master key in {settings.data_dir}. Set WEDSYNC_APM_MASTER_KEY, or "
            "…_FILE, to the one of the installation."
        )
    try:
        return Keyring(base64.b64decode(stored, validate=True))
    except binascii.Error as exc:
        raise ConfigurationError(f"The master key in {settings.data_dir} is no base64") from exc


def _key_id(master_key: bytes) -> str:
    return hashlib.sha256(b"wedsync-apm master key\0" + master_key).hexdigest()[:16]


def _join(*parts: str) -> bytes:
    # Lengths before the parts: ("a", "bc") and ("ab", "c") must not read the same.
    return b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))


def _seal(key: bytes, plain: bytes, binding: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, plain, _VERSION + binding)


def _unseal(key: bytes, sealed: bytes, binding: bytes) -> bytes:
    nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
        raise SecretUnreadable
    try:
        return AESGCM(key).decrypt(nonce, rest, _VERSION + binding)
    except InvalidTag:
        # Without the cause: there is nothing in it but the knowledge that it failed.
        raise SecretUnreadable from None
