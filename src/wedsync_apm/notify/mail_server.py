"""The operator's mail server, from the setting SMTP_URL."""

import ssl
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Literal
from urllib.parse import unquote, urlsplit

from wedsync_apm.errors import ConfigurationError

Security = Literal["tls", "starttls", "if offered"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in, and as whom.

    `security`: TLS from the start, STARTTLS or nothing, or STARTTLS where the server offers it.
    Credentials never travel in the open, so the last one goes with no user name.
    """

    host: str
    port: int
    security: Security
    sender: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Another trust store than the system's."""
    total_seconds: float = 20.0
    """How long handing in one mail may take, from the look-up to the server's yes."""

    @property
    def endpoint(self) -> str:
        """The operator's exception that lets calls to this server through."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def domain(self) -> str:
        """What message ids end with and the greeting names."""
        return parseaddr(self.sender)[1].rpartition("@")[2] or "localhost"


def read_mail_server(url: str | None, sender: str, setting: str = "SMTP_URL") -> MailServer | None:
    """The server of `smtp://user:password@host:587` or `smtps://…:465`; None without a URL.

    Raises ConfigurationError, without the URL, for what cannot be used.
    """
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ConfigurationError(f"WEDSYNC_APM_{setting} must be smtp://host:port or smtps://host")
    if "@" not in parseaddr(sender)[1]:
        raise ConfigurationError(f"WEDSYNC_APM_MAIL_FROM is no e-mail address: {sender!r}")
    username = unquote(parts.username) if parts.username else None
    security: Security = "if offered" if username is None else "starttls"
    if parts.scheme == "smtps":
        security = "tls"
    return MailServer(
        host=parts.hostname,
        port=parts.port or {"tls": 465, "starttls": 587, "if offered": 25}[security],
        security=security,
        sender=sender,
        username=username,
        password=unquote(parts.password) if parts.password else None,
    )
