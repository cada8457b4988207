"""How push services know us: one key pair of this installation (VAPID, RFC 8292)."""

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Final, Self
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wedsync_apm.config import Settings, load_or_create_secret
from wedsync_apm.errors import ConfigurationError

CURVE: Final = ec.SECP256R1()
_LIFETIME: Final = timedelta(hours=12)  # of at most 24


@dataclass(frozen=True, slots=True)
class Vapid:
    """The key that signs, and whom a push service can write to about us (`mailto:` or https)."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    subject: str

    @classmethod
    def read(cls, text: str, subject: str) -> Self:
        """From the private key's 32 bytes in base64url. Raises ConfigurationError, without them."""
        try:
            number = int.from_bytes(decode(text), "big")
            return cls(ec.derive_private_key(number, CURVE), subject)
        except ValueError:
            raise ConfigurationError(
                "WEDSYNC_APM_VAPID_PRIVATE_KEY must be the 32 bytes of a P-256 key in base64url"
            ) from None

    @property
    def public_key(self) -> str:
        """What a browser subscribes with (`applicationServerKey`), in base64url."""
        return encode(point_of(self.key.public_key()))

    def authorization(self, endpoint: str, at: datetime) -> str:
        """The header for a call to one push service."""
        parts = urlsplit(endpoint)
        token = jwt.encode(
            {
                "aud": f"{parts.scheme}://{parts.netloc}",
                "exp": int((at + _LIFETIME).timestamp()),
                "sub": self.subject,
            },
            self.key,
            algorithm="ES256",
        )
        return f"vapid t={token}, k={self.public_key}"


def read_vapid(settings: Settings) -> Vapid:
    """The key pair of the settings, or the one that this installation made for itself."""
    text = settings.vapid_private_key or load_or_create_secret(
        settings.data_dir, "vapid_private_key", new_private_key
    )
    subject = settings.vapid_subject or f"mailto:{parseaddr(settings.mail_from)[1]}"
    return Vapid.read(text, subject)


def new_private_key() -> str:
    """A fresh private key in base64url."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return encode((1 + secrets.randbelow(order - 1)).to_bytes(32, "big"))


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key's 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encode(raw: bytes) -> str:
    """base64url without padding, as everything around web push has it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes again, padded or not. Raises ValueError for what is no base64url."""
    plain = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise ValueError("no base64url") from exc
