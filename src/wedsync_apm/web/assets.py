"""Static files under names that carry their content's hash, worked out once at start."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from wedsync_apm.dashboards.model import COLUMNS, MOST_HEIGHT, ROWS
from wedsync_apm.web.words import say

PREFIX: Final = "/static/"

_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
_BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    "app.css": ("css/app.css", "vendor/uPlot.min.css"),
    "weddings.css": ("css/weddings.css",),
    "watching.css": ("css/watching.css",),
    "drills.css": ("css/drills.css",),
    "started.css": ("css/started.css",),
    "reach.css": ("css/reach.css",),
    "ladders.css": ("css/reach.css", "css/ladders.css"),
    "live.js": ("js/live.js", "js/shell.js"),
    "line.js": ("js/line.js",),
    "phone.js": ("js/phone.js",),
    "phone.css": ("css/phone.css",),
    "card.css": ("css/card.css",),
    "calendar.js": ("js/calendar.js",),
    "boards.css": ("css/boards.css",),
    "board_editor.js": ("js/board_editor.js",),
    "rule.css": ("css/rule.css",),
    "rule.js": ("js/rule.js",),
    "chart.js": ("js/chart.js",),
    "htmx.js": ("vendor/htmx.min.js",),
    "uplot.js": ("vendor/uPlot.iife.min.js",),
    "icon.svg": ("icon.svg",),
    "maskable.svg": ("icons/maskable.svg",),
    "icon-192.png": ("icons/icon-192.png",),
    "icon-512.png": ("icons/icon-512.png",),
    "maskable-512.png": ("icons/maskable-512.png",),
    "apple-180.png": ("icons/apple-180.png",),
    "badge-96.png": ("icons/badge-96.png",),
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
    status_css: str
    status_hash: str

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


def grid_places(columns: int, rows: int) -> str:
    """Classes for where a panel lies on the wide grid: a page may have no style of its own."""
    rules = [
        *(f".x{n}{{grid-column-start:{n + 1}}}" for n in range(columns)),
        *(f".w{n}{{grid-column-end:span {n}}}" for n in range(1, columns + 1)),
        *(f".y{n}{{grid-row-start:{n + 1}}}" for n in range(rows)),
        *(f".h{n}{{grid-row-end:span {n}}}" for n in range(1, MOST_HEIGHT + 1)),
    ]
    return f"@media (min-width:1024px){{{''.join('.board>' + one for one in rules)}}}"


@cache
def load() -> Assets:
    """Read, join and name every file."""
    root = files(__package__) / "static"
    bodies = {
        name: b"\n".join(_read(root, part) for part in parts) for name, parts in _BUNDLES.items()
    }
    bodies["boards.css"] += grid_places(COLUMNS, ROWS).encode()
    by_name = {name: _asset(name, body) for name, body in bodies.items()}
    colours = _read(root, "css/tokens.css").decode()
    by_name["app.webmanifest"] = _asset("app.webmanifest", make_manifest(by_name, colours))
    tokens = with_system_theme(colours)
    critical = minify_css(tokens + _read(root, "css/critical.css").decode())
    ack = minify_css(_accent_only(tokens) + _read(root, "css/ack.css").decode())
    status = minify_css(_by_device(tokens) + _read(root, "css/status.css").decode())
    return Assets(
        by_name=by_name,
        by_url={asset.url: asset for asset in by_name.values()},
        critical_css=critical,
        critical_hash=_csp_hash(critical),
        ack_css=ack,
        ack_hash=_csp_hash(ack),
        status_css=status,
        status_hash=_csp_hash(status),
    )


def _asset(name: str, body: bytes) -> Asset:
    stem, _, kind = name.rpartition(".")
    digest = hashlib.sha256(body).hexdigest()[:12]
    return Asset(
        url=f"{PREFIX}{stem}.{digest}.{kind}",
        media_type=_TYPES[kind],
        body=body,
        gzipped=gzip.compress(body, 9, mtime=0),
    )


def make_manifest(files_by_name: Mapping[str, Asset], tokens: str) -> bytes:
    """What a phone installs (W3C Web App Manifest), its colours those of the light theme."""

    def colour(token: str) -> str:
        found = re.search(rf"--{token}: (\S+);", tokens)
        if found is None:
            raise ValueError(f"tokens.css has no --{token}")
        return found[1]

    def icon(name: str, sizes: str, purpose: str) -> dict[str, str]:
        asset = files_by_name[name]
        return {"src": asset.url, "sizes": sizes, "type": asset.media_type, "purpose": purpose}

    return json.dumps(
        {
            "id": "/",
            "name": say("product"),
            "short_name": say("product"),
            "description": say("sign_in.promise"),
            "lang": "en-GB",
            "dir": "ltr",
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": colour("bg"),
            "theme_color": colour("accent"),
            "icons": [
                icon("icon-192.png", "192x192", "any"),
                icon("icon-512.png", "512x512", "any"),
                icon("maskable-512.png", "512x512", "maskable"),
                icon("icon.svg", "any", "any"),
                icon("maskable.svg", "any", "maskable"),
            ],
            "shortcuts": [
                {"name": say("nav.incidents"), "url": "/incidents"},
                {"name": say("nav.weddings"), "url": "/weddings"},
                {"name": say("phone.test"), "url": "/phone"},
            ],
        },
        ensure_ascii=False,
    ).encode()


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _accent_only(tokens: str) -> str:
    """The few tokens that the one-tap page needs, light and as the device asks."""
    found = re.findall(r"--(?:accent|on-accent|focus): #[0-9A-Fa-f]{6};", tokens)
    light, dark = "".join(found[:3]), "".join(found[3:6])
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _by_device(tokens: str) -> str:
    """The tokens of a page without a choice of its own: as the device asks; it has no chart."""
    blocks = dict(re.findall(r':root\[data-theme="(\w+)"\]\s*\{(.*?)\}', tokens, re.DOTALL))
    light = re.search(r":root \{(.*?)\}", tokens, re.DOTALL)
    if light is None:
        raise ValueError("tokens.css does not begin with the light theme")
    text = (
        f":root{{{light[1]}}}@media (prefers-color-scheme:dark){{:root{{{blocks['dark']}}}}}"
        f"@media (prefers-contrast:more){{:root{{{blocks['sunlight']}}}}}"
    )
    return re.sub(r"--s[1-6]: #[0-9A-Fa-f]{6};\s*", "", text)


def _read(root: Traversable, path: str) -> bytes:
    body = root.joinpath(*path.split("/")).read_bytes()
    if path.startswith("js/"):
        # What is said to whoever reads the source is not sent.
        return re.sub(rb"(?m)^ *//.*\n", b"", body)
    if path.startswith("css/"):
        return minify_css(body.decode()).encode() if path != "css/tokens.css" else body
    return body
