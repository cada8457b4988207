"""How a file of a backup lies at its destination: compressed, then sealed, chunk by chunk.

    magic (8) | id of the master key (8) | salt (16) | chunk | chunk | …
    chunk: length (4, big-endian) | AES-256-GCM of its zstd frame, tag included

Each file has a key of its own, made from the master key, the file's name and the salt, so that the
chunks' numbers may be their nonces: a chunk that was moved, repeated or left out, or that stands in
another file, does not open. The last one says in its nonce that it is the last, so a file that was
cut short is known for one. Nothing is given to the caller before it has been proven.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

import cramjam
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wedsync_apm.errors import WedSyncError
from wedsync_apm.organizations.secrets import Keyring, SecretUnreadable

MAGIC: Final = b"WSAPMBK1"
CHUNK_BYTES: Final = 1024 * 1024
"""Of the plain file; the last chunk has fewer, or none."""
LEVEL: Final = 3
_SALT_BYTES: Final = 16
_HEADER_BYTES: Final = len(MAGIC) + 8 + _SALT_BYTES
# What zstd makes longer, it makes longer by less than a 256th; the tag has 16 bytes.
_MOST_BYTES: Final = CHUNK_BYTES + CHUNK_BYTES // 128 + 1024


class BackupUnreadable(WedSyncError):
    """A file of a backup is not what was written."""

    title = "Backup not readable"


class Sink(Protocol):
    """What is written to: a file, or a socket's file."""

    def write(self, data: bytes, /) -> object:
        """Takes all of it, or raises OSError."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was written, for the manifest. The checksum is that of the sealed bytes, so that a
    copy can be compared by whoever has no key."""

    sha256: str
    bytes: int
    plain_bytes: int


class Sealer:
    """Seals what is written to it. A file without `finish` has no last chunk and never opens."""

    def __init__(self, out: Sink, keyring: Keyring, name: str) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self._bytes = self.plain_bytes = self._chunks = 0
        self._rest = bytearray()
        salt = secrets.token_bytes(_SALT_BYTES)
        self._cipher = _cipher(keyring, keyring.key_id, name, salt)
        self._header = MAGIC + bytes.fromhex(keyring.key_id) + salt
        self._put(self._header)

    def write(self, data: bytes) -> int:
        """Takes some more of the plain file."""
        self.plain_bytes += len(data)
        self._rest += data
        # The last chunk is kept back: only `finish` knows that it is the last.
        while len(self._rest) > CHUNK_BYTES:
            self._put_chunk(bytes(self._rest[:CHUNK_BYTES]), is_last=False)
            del self._rest[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> Sealed:
        """Writes the last chunk."""
        self._put_chunk(bytes(self._rest), is_last=True)
        return Sealed(self._digest.hexdigest(), self._bytes, self.plain_bytes)

    def _put_chunk(self, plain: bytes, *, is_last: bool) -> None:
        frame = bytes(cramjam.zstd.compress(plain, level=LEVEL))
        sealed = self._cipher.encrypt(_nonce(self._chunks, is_last), frame, self._header)
        self._chunks += 1
        self._put(len(sealed).to_bytes(4, "big") + sealed)

    def _put(self, data: bytes) -> None:
        self._out.write(data)
        self._digest.update(data)
        self._bytes += len(data)


def unseal(source: BinaryIO, keyring: Keyring, name: str) -> Iterator[bytes]:
    """The plain file, chunk by chunk, each proven before it is given.

    Raises BackupUnreadable for whatever is not exactly what was written under this name, at the
    latest at its end: what was given before is true, but not yet known to be all.
    """
    header = _read(source, _HEADER_BYTES)
    if header[: len(MAGIC)] != MAGIC:
        raise BackupUnreadable(f"{name} is no file of a backup.")
    salt = header[-_SALT_BYTES:]
    cipher = _cipher(keyring, header[len(MAGIC) : -_SALT_BYTES].hex(), name, salt)
    number = 0
    while True:
        length = int.from_bytes(_read(source, 4), "big")
        if length > _MOST_BYTES:
            raise BackupUnreadable(f"{name} is damaged in chunk {number}.")
        sealed = _read(source, length)
        frame, is_last = _open(cipher, sealed, number, header)
        if frame is None:
            raise BackupUnreadable(f"{name} is damaged in chunk {number}.")
        plain = bytearray(CHUNK_BYTES)
        written = cramjam.zstd.decompress_into(frame, plain)
        if written:
            yield bytes(plain[:written])
        if is_last:
            break
        number += 1
    if source.read(1):
        raise BackupUnreadable(f"{name} goes on behind its end.")


def read_all(source: BinaryIO, keyring: Keyring, name: str) -> bytes:
    """The whole of a small file."""
    return b"".join(unseal(source, keyring, name))


def sign(keyring: Keyring, name: str, text: bytes, key_id: str | None = None) -> str:
    """Says that whoever has the master key wrote this text under this name."""
    key = _subkey(keyring, key_id or keyring.key_id)
    return hmac.new(key, b"text\0" + name.encode() + b"\0" + text, hashlib.sha256).hexdigest()


def _open(cipher: AESGCM, sealed: bytes, number: int, header: bytes) -> tuple[bytes | None, bool]:
    for is_last in (False, True):
        try:
            return cipher.decrypt(_nonce(number, is_last), sealed, header), is_last
        except InvalidTag:
            continue
    return None, False


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _subkey(keyring: Keyring, key_id: str) -> bytes:
    try:
        return keyring.subkey("backup", key_id)
    except SecretUnreadable as exc:
        raise BackupUnreadable(
            f"This backup was sealed under the master key {key_id}; the one given here is "
            f"{keyring.key_id}. Set WEDSYNC_APM_MASTER_KEY, or …_FILE, to the right one."
        ) from exc


def _cipher(keyring: Keyring, key_id: str, name: str, salt: bytes) -> AESGCM:
    key = _subkey(keyring, key_id)
    return AESGCM(hmac.new(key, b"file\0" + salt + name.encode(), hashlib.sha256).digest())


def _read(source: BinaryIO, length: int) -> bytes:
    data = source.read(length)
    if len(data) != length:
        raise BackupUnreadable("The file ends in the middle: it was cut short.")
    return data
