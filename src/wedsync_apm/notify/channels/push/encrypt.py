"""Encrypts a push message for one browser: RFC 8291, in one record of RFC 8188 (`aes128gcm`).

The push service in between sees sizes and times, and nothing else.
"""

import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wedsync_apm.notify.vapid import CURVE, point_of

_RECORD_BYTES: Final = 4096
LONGEST: Final = 3993  # bytes of plain text; push services need take no more than 4,096 in all


def encrypt(
    plain: bytes,
    receiver: bytes,
    auth: bytes,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of the call. `receiver` is the browser's public key, `auth` its secret.

    `key` and `salt` are fresh for each message; only a test gives others. Raises ValueError for a
    message that is too long or a key that is none.
    """
    if len(plain) > LONGEST:
        raise ValueError(f"a push message has at most {LONGEST} bytes")
    key = key or ec.generate_private_key(CURVE)
    salt = salt or secrets.token_bytes(16)
    sender = point_of(key.public_key())
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, receiver))
    secret = _derive(shared, auth, b"WebPush: info\0" + receiver + sender, 32)
    content_key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + _RECORD_BYTES.to_bytes(4, "big") + bytes([len(sender)]) + sender
    # 2 ends the last record; there is only one.
    return header + AESGCM(content_key).encrypt(nonce, plain + b"\x02", None)


def _derive(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(secret)
