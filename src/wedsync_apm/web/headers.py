"""The headers of every page: nothing but our own files may run, nobody may frame us."""

from collections.abc import Mapping, Sequence
from typing import Final

from wedsync_apm.web.assets import load

_COMMON: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "vary": "Cookie, HX-Request, Accept-Encoding",
}


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src {script}; style-src 'self' {style}; img-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


PAGE_HEADERS: Final[Mapping[str, str]] = {
    **_COMMON,
    "content-security-policy": _policy(load().critical_hash, "'self'"),
}
SHARED_HEADERS: Final[Mapping[str, str]] = {
    **PAGE_HEADERS,
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
}
"""Of a dashboard that is opened by a link."""


def embedded_in(origins: Sequence[str]) -> Mapping[str, str]:
    """Those headers for a page that these websites may show within theirs; nobody, without any."""
    if not origins:
        return SHARED_HEADERS
    said = {name: one for name, one in SHARED_HEADERS.items() if name != "x-frame-options"}
    policy = said["content-security-policy"]
    named = f"frame-ancestors {' '.join(origins)}"
    return {**said, "content-security-policy": policy.replace("frame-ancestors 'none'", named)}


ACK_HEADERS: Final[Mapping[str, str]] = {
    **_COMMON,
    "referrer-policy": "no-referrer",
    "content-security-policy": _policy(load().ack_hash, "'none'"),
}
STATUS_HEADERS: Final[Mapping[str, str]] = {
    **_COMMON,
    "referrer-policy": "no-referrer",
    "vary": "Accept-Encoding",
    "content-security-policy": _policy(load().status_hash, "'none'"),
}
"""Of the pages that everybody may read: no cookie goes in or out."""
WORKER_HEADERS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; connect-src 'self'",
    "service-worker-allowed": "/",
    "vary": "Accept-Encoding",
}
"""Of the worker, which may call us and nobody else, and is never an old one."""
ASSET_HEADERS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "cache-control": "public, max-age=31536000, immutable",
    "vary": "Accept-Encoding",
}
