"""The catalogue: complete, whole sentences, and in the vendor's tongue where a vendor reads it."""

import re
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest
from markupsafe import Markup

from wedsync_apm.health.model import Outcome
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.notify.model import State
from wedsync_apm.types import Channel, IncidentStatus, Role, ServiceStatus
from wedsync_apm.web.render import EXTRAS
from wedsync_apm.web.views.shell import THEMES
from wedsync_apm.web.words import WORDS, say
from wedsync_apm.weddings.model import Phase

EVENT_KINDS = (
    "opened", "acknowledged", "investigating", "resolved", "closed", "reopened", "expired",
    "merged", "repeated", "seen", "note", "escalated", "exhausted", "delivery", "update",
)  # fmt: skip
BY_PEOPLE = {
    "opened", "acknowledged", "investigating", "resolved", "closed", "reopened", "seen",
}  # fmt: skip
WEB = Path(str(files("wedsync_apm.web")))
SOURCES = [*WEB.rglob("*.html"), *(p for p in WEB.rglob("*.py") if p.name != "words.py")]
# Keys put together from data, by their beginning and what may follow.
BUILT: dict[str, set[str]] = {
    "nav.": {"today", "incidents", "weddings", "charts", "more", *(key for key, _ in EXTRAS)},
    "more.": {f"{key}_note" for key, _ in EXTRAS},
    "theme.": set(THEMES),
    "error.": {
        f"{status}.{part}"
        for status in (401, 403, 404, 409, 413, 422, 429, 500, 503)
        for part in ("title", "body", "do")
    },
    "status.": {one.value for one in ServiceStatus},
    "phase.": {*(one.value for one in Phase), "day"},
    "incident.": {one.value for one in IncidentStatus},
    "incident.engineer.": {one.value for one in IncidentStatus},
    "delivery.": {one.value for one in State},
    "channel.": {one.value for one in Channel},
    "role.": {one.value for one in Role},
    "function.": {one.value for one in Aggregation},
    "report.": {one.value for one in Outcome},
    "event.": {
        f"{kind}{ending}"
        for kind in EVENT_KINDS
        for ending in (("", "_by") if kind in BY_PEOPLE else ("",))
    },
    "": {"database.title", "report.title"},
}


def used_keys() -> set[str]:
    """Every key that a template or module names in full."""
    found: set[str] = set()
    for path in SOURCES:
        text = path.read_text()
        found |= set(re.findall(r"""(?:\bsay\(|words\[)\s*["']([\w.#]+)["']""", text))
        found |= set(re.findall(r"""\bsay\(["']([\w.]+)["'] if""", text))
    return found


def test_every_key_used_exists() -> None:
    known = set(WORDS) | {key.partition("#")[0] for key in WORDS}
    assert used_keys() - known - {key for key in used_keys() if key.endswith(".")} == set()


def test_every_key_built_from_data_exists() -> None:
    wanted = {start + end for start, ends in BUILT.items() for end in ends}
    assert wanted - set(WORDS) == set()


def test_every_key_is_used() -> None:
    text = "\n".join(path.read_text() for path in SOURCES)
    built = {start + end for start, ends in BUILT.items() for end in ends}
    unused = {
        key
        for key in (key.partition("#")[0] for key in WORDS)
        if f'"{key}"' not in text and f"'{key}'" not in text and key not in built
    }
    assert unused == set()


def test_plurals_come_in_pairs() -> None:
    ones = {key.removesuffix("#one") for key in WORDS if key.endswith("#one")}
    others = {key.removesuffix("#other") for key in WORDS if key.endswith("#other")}
    assert ones == others
    assert say("today.problems", n=1) == "1 problem"
    assert say("today.problems", n=3) == "3 problems"


def test_gaps_are_escaped_once() -> None:
    assert say("call.whom", name="<b>&") == "Call &lt;b&gt;&amp;"
    assert say("call.whom", name=Markup("<b>x</b>")) == "Call <b>x</b>"


def test_missing_key_and_gap_are_loud() -> None:
    with pytest.raises(KeyError):
        say("no.such.key")
    with pytest.raises(KeyError):
        say("call.whom")


def test_gaps_have_names() -> None:
    for key, words in WORDS.items():
        gaps = [name for _, name, _, _ in Formatter().parse(words) if name is not None]
        assert all(gap.isidentifier() for gap in gaps), key


NEVER = re.compile(
    r"\b(p95|p99|latency|threshold|endpoint|5xx|tenant|acknowledge\w*|escalat\w*|node|RLS|critical|"
    r"severity|oops|unfortunately|please|sorry)\b|!",
    re.IGNORECASE,
)


def test_vendors_never_read_these() -> None:
    for_engineers = ("engineer.", "incident.engineer.", "report.", "database.", "charts.p95")
    bad = {
        key: words
        for key, words in WORDS.items()
        if NEVER.search(words) and not key.startswith(for_engineers)
    }
    assert bad == {}
