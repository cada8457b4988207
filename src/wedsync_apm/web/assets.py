"""Static files under names that carry their content's hash, worked out once at start."""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

PREFIX: Final = "/static/"

_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
_BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    "app.css": ("css/app.css", "vendor/uPlot.min.css"),
    "live.js": ("js/live.js",),
    "chart.js": ("js/chart.js",),
    "htmx.js": ("vendor/htmx.min.js",),
    "uplot.js": ("vendor/uPlot.iife.min.js",),
    "icon.svg": ("icon.svg",),
    "app.webmanifest": ("app.webmanifest",),
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent: immutable, for its name changes with its content."""

    url: str
    media_type: str
    body: bytes
    gzipped: bytes


@dataclass(frozen=True, slots=True)
class Assets:
    """All files by name and by URL, and the style sheet that goes inline with its CSP hash."""

    by_name: Mapping[str, Asset]
    by_url: Mapping[str, Asset]
    critical_css: str
    critical_hash: str
    ack_css: str
    ack_hash: str

    def url(self, name: str) -> str:
        """Where to get the file called `name`."""
        return self.by_name[name].url


def minify_css(text: str) -> str:
    """The same rules without comments and needless white space."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"\s*([{};,>])\s*", r"\1", text).replace(": ", ":").replace(";}", "}").strip()


def with_system_theme(tokens: str) -> str:
    """The tokens plus what the device asks for: the dark block again where the system is dark.

    Written once in tokens.css and derived here, so that the two copies cannot differ.
    """
    out = [tokens]
    for theme, query in (
        ("dark", "prefers-color-scheme:dark"),
        ("sunlight", "prefers-contrast:more"),
    ):
        block = re.search(rf':root\[data-theme="{theme}"\]\s*\{{(.*?)\}}', tokens, re.DOTALL)
        if block is None:
            raise ValueError(f"tokens.css has no block for the theme {theme}")
        out.append(f'@media ({query}){{:root[data-theme="system"]{{{block[1]}}}}}')
    return "\n".join(out)


@cache
def load() -> Assets:
    """Read, join and name every file."""
    root = files(__package__) / "static"
    by_name: dict[str, Asset] = {}
    for name, parts in _BUNDLES.items():
        body = b"\n".join(_read(root, part) for part in parts)
        stem, _, kind = name.rpartition(".")
        digest = hashlib.sha256(body).hexdigest()[:12]
        by_name[name] = Asset(
            url=f"{PREFIX}{stem}.{digest}.{kind}",
            media_type=_TYPES[kind],
            body=body,
            gzipped=gzip.compress(body, 9, mtime=0),
        )
    tokens = with_system_theme(_read(root, "css/tokens.css").decode())
    critical = minify_css(tokens + _read(root, "css/critical.css").decode())
    ack = minify_css(_accent_only(tokens) + _read(root, "css/ack.css").decode())
    return Assets(
        by_name=by_name,
        by_url={asset.url: asset for asset in by_name.values()},
        critical_css=critical,
        critical_hash=_csp_hash(critical),
        ack_css=ack,
        ack_hash=_csp_hash(ack),
    )


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _accent_only(tokens: str) -> str:
    """The few tokens that the one-tap page needs, light and as the device asks."""
    found = re.findall(r"--(?:accent|on-accent|focus): #[0-9A-Fa-f]{6};", tokens)
    light, dark = "".join(found[:3]), "".join(found[3:6])
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _read(root: Traversable, path: str) -> bytes:
    body = root.joinpath(*path.split("/")).read_bytes()
    if path.startswith("css/"):
        return minify_css(body.decode()).encode() if path != "css/tokens.css" else body
    return body
