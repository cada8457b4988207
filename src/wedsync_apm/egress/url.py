"""Reads the addresses that people give us."""

from urllib.parse import SplitResult, urlsplit

from wedsync_apm.egress.errors import EgressRefused
from wedsync_apm.egress.policy import plain_host


def read_url(url: str) -> SplitResult:
    """The parts of an address that may be called, with a plain host and no fragment.

    Raises EgressRefused for anything but http and https, for credentials in the address (they
    would be stored and logged as part of it) and for what cannot be read.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise EgressRefused("the address cannot be read") from exc
    if parts.scheme not in ("http", "https"):
        raise EgressRefused("the address must begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise EgressRefused("an address may not hold a user name or password")
    host = readable_host(parts.hostname or "")
    shown = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=shown if port is None else f"{shown}:{port}", fragment="")


def readable_host(host: str) -> str:
    """The host in its plain form. Raises EgressRefused when it is none."""
    try:
        return plain_host(host)
    except ValueError as exc:
        raise EgressRefused(str(exc)) from exc


def port_of(target: SplitResult) -> int:
    """The port that is called, written or implied."""
    return target.port or (443 if target.scheme == "https" else 80)


def origin_of(target: SplitResult) -> tuple[str, str | None, int]:
    """Scheme, host and port: what a caller's headers are meant for."""
    return target.scheme, target.hostname, port_of(target)
