"""Views into HTML bytes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from wedsync_apm.web import assets, say, words
from wedsync_apm.web.icons import ICONS
from wedsync_apm.web.views.shell import Bare, Shell
from wedsync_apm.web.views.wedding import WeddingCard

EXTRAS = (
    ("started", "/start"),
    ("dashboards", "/dashboards"),
    ("oncall", "/on-call"),
    ("ladders", "/ladders"),
    ("contacts", "/contacts"),
    ("device", "/phone"),
    ("drills", "/drills"),
    ("rules", "/rules"),
    ("inbox", "/inbox"),
    ("silences", "/silences"),
    ("checks", "/checks"),
    ("heartbeats", "/heartbeats"),
    ("statuspage", "/status-page"),
    ("freeze", "/freeze"),
    ("guard", "/platform/guard"),
    ("database", "/platform/database"),
    ("report", "/platform/report"),
    ("backups", "/platform/backups"),
    ("tenants", "/platform/tenants"),
)
"""The pages beside the bar's five; More lists them on a phone."""


class Sprite:
    """The icons that one page has used, so that it carries no other."""

    def __init__(self) -> None:
        self.used: dict[str, None] = {}

    def icon(self, name: str, size: str = "") -> Markup:
        """Draw an icon; raises KeyError for a name we do not have."""
        if name not in ICONS:
            raise KeyError(name)
        self.used[name] = None
        extra = f" {size}" if size else ""
        return Markup('<svg class="i{}" aria-hidden="true"><use href="#i-{}"/></svg>').format(
            extra, name
        )

    def symbols(self) -> Markup:
        """The definitions of all icons used so far."""
        return Markup("").join(
            Markup('<symbol id="i-{}" viewBox="0 0 24 24">{}</symbol>').format(
                name,
                Markup(ICONS[name]),  # noqa: S704 our own drawing
            )
            for name in self.used
        )


def spark(values: Sequence[float | None], width: int = 72, height: int = 24) -> Markup:
    """A small line of the recent course without axes; gaps stay gaps; nothing for < 2 values."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    low, high = min(0.0, *known), max(known)
    span = (high - low) or 1.0
    path, pen = [], "M"
    last: tuple[float, float] | None = None
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x = 2 + index * (width - 6) / (len(values) - 1)
        y = height - 2 - (value - low) / span * (height - 5)
        path.append(f"{pen}{x:.0f} {y:.1f}")
        pen, last = "L", (x, y)
    x, y = last or (0.0, 0.0)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" aria-hidden="true"><path d="{}" fill="none" '
        'stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/>'
        '<circle cx="{:.0f}" cy="{:.1f}" r="2" fill="currentColor"/></svg>'
    ).format(width, height, "".join(path), x, y)


def moment(at: datetime, text: object, how: str = "") -> Markup:
    """A time element. `how` lets the script word it relatively: in, ago, for."""
    if how:
        return Markup('<time datetime="{}" data-rel="{}">{}</time>').format(
            at.isoformat(timespec="seconds"), how, text
        )
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), text)


@pass_context
def _clock(context: Context, at: datetime, how: str = "", zone: str | None = None) -> Markup:
    shell = context["shell"]
    return moment(at, say.when(at, shell.at, zone or shell.zone), how)


def _venue(
    at: datetime, wedding: WeddingCard, how: str = "", after: datetime | None = None
) -> Markup:
    first = after or wedding.phases[0].begins
    return moment(at, say.venue_clock(at, first, wedding.zone), how)


@pass_context
def _ahead(context: Context, at: datetime, zone: str | None = None) -> str:
    shell = context["shell"]
    return say.ahead(at, shell.at, zone or shell.zone)


@pass_context
def _since(context: Context, at: datetime) -> Markup:
    return moment(at, say.length(context["shell"].at - at), "for")


def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("wedsync_apm.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    files = assets.load()
    env.globals.update(
        say=words.say,
        words=words.WORDS,
        asset=files.url,
        critical=Markup(files.critical_css),  # noqa: S704 our own style sheet
        ack_css=Markup(files.ack_css),  # noqa: S704 our own style sheet
        status_css=Markup(files.status_css),  # noqa: S704 our own style sheet
        extras=EXTRAS,
        spark=spark,
        clock=_clock,
        ahead=_ahead,
        venue=_venue,
        since=_since,
    )
    env.filters.update(cap=say.sentence)
    return env


ENVIRONMENT = _environment()


def render(template: str, shell: Shell | Bare, page: object, *, is_part: bool = False) -> bytes:
    """The HTML of a page, or with `is_part` only its main element for a live refresh."""
    sprite = Sprite()
    values: dict[str, Any] = {
        "shell": shell,
        "page": page,
        "icon": sprite.icon,
        "sprite": sprite,
        "is_part": is_part,
    }
    return ENVIRONMENT.get_template(template).render(values).encode()
