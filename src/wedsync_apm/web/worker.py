"""The service worker as it is sent: with its version, the files of its shell and its words in it.

Its version is the hash of everything that it brings along, so that a new one is told by a new text
and by nothing else. The address never changes, and browsers ask for it past their caches.
"""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Final

from wedsync_apm.web import assets
from wedsync_apm.web.render import render
from wedsync_apm.web.views.shell import Bare
from wedsync_apm.web.words import say

PATH: Final = "/worker.js"
SHELL: Final = (
    "app.css",
    "card.css",
    "phone.css",
    "live.js",
    "line.js",
    "htmx.js",
    "phone.js",
    "icon.svg",
)
_PLACE: Final = "const BUILD = {};"
_WORDS: Final = ("news", "take", "answer", "unsent", "lost", "lost_body")
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def offline_page() -> bytes:
    """What is shown without a signal where nothing was kept. It knows nothing of anybody."""
    return render("offline.html", Bare(_NO_TIME, "system"), None)


@cache
def script() -> bytes:
    """The worker's text. Raises ValueError if its source has no place for what is put in."""
    source = files(__package__).joinpath("static", "js", "worker.js").read_text()
    if _PLACE not in source:
        raise ValueError("worker.js has no place for what it is built with")
    known = assets.load()
    build = {
        "shell": [known.url(name) for name in SHELL],
        "icon": known.url("icon-192.png"),
        "badge": known.url("badge-96.png"),
        "words": {name: say(f"worker.{name}") for name in _WORDS},
    }
    whole = source + json.dumps(build) + offline_page().decode()
    build["version"] = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return source.replace(_PLACE, f"const BUILD = {json.dumps(build)};").encode()
