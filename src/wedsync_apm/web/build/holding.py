"""What holds back, in words: matchers, times of the wall, and the forms' lines. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup

from wedsync_apm.silences.model import seen_mark
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.holding import InTheWay, Match, MatcherField, Preview
from wedsync_apm.web.words import say as words

FEWEST_LINES: Final = 2
MOST_LINES: Final = 20
WALL_FORMAT: Final = "%Y-%m-%dT%H:%M"
_PLAIN: Final = re.compile(r"[\w .@/-]+(\|[\w .@/-]+)*")
Names = Mapping[str, str]
"""What people call a service."""
Couples = Mapping[UUID, str]

LABELS: Final = (
    ("service", "match.label.service"),
    ("rule", "match.label.rule"),
    ("metric", "match.label.metric"),
    ("severity", "match.label.severity"),
)
OPERATORS: Final = ("=", "!=", "=~", "!~")


def label_choices(fields: Iterable[MatcherField]) -> tuple[tuple[str, str], ...]:
    """What a line can be about: the fixed labels, and the tags that are there already."""
    tags = sorted({one.label for one in fields if one.label.startswith("tag.")})
    known = tuple((name, str(words(key))) for name, key in LABELS)
    return (*known, *((tag, tag.removeprefix("tag.")) for tag in tags))


def operator_choices() -> tuple[tuple[str, str], ...]:
    """How a line compares."""
    return tuple((one, str(words(f"match.operator.{one}"))) for one in OPERATORS)


def what_words(matchers: Sequence[Mapping[str, str]], names: Names) -> str:
    """What it is about: ‘Checkout’, what is info or warning."""
    if not matchers:
        return words("match.everything")
    return Markup(", ").join(_matcher_words(one, names) for one in matchers)


def _matcher_words(one: Mapping[str, str], names: Names) -> str:
    label, operator, value = one["label"], one["operator"], one["value"]
    if operator in ("=~", "!~"):
        values = value.split("|") if _PLAIN.fullmatch(value) else []
        what = (
            _any_of([_named(label, each, names) for each in values])
            if values
            else _named(label, words("match.fits", value=value), {})
        )
    else:
        what = _named(label, value, names)
    return words("match.not", what=what) if operator.startswith("!") else what


def _named(label: str, value: str, names: Names) -> str:
    if label.startswith("tag."):
        return words("match.tag", tag=label.removeprefix("tag."), value=value)
    shown = names.get(value, value) if label == "service" else value
    return words(f"match.{label}", value=shown)


def _any_of(several: Sequence[str]) -> str:
    if len(several) == 1:
        return several[0]
    return words("match.or", first=Markup(", ").join(several[:-1]), last=several[-1])


def fields_of(matchers: Iterable[Mapping[str, str]]) -> tuple[MatcherField, ...]:
    """The lines of a form as matchers stand."""
    return tuple(MatcherField(m["label"], m["operator"], m["value"]) for m in matchers)


def with_spare(fields: Sequence[MatcherField]) -> tuple[MatcherField, ...]:
    """The lines with an empty one at the end, without a script's help."""
    missing = max(FEWEST_LINES - len(fields), 1 if len(fields) < MOST_LINES else 0)
    return (*fields, *(MatcherField("service") for _ in range(missing)))


def read_fields(sent: Any) -> tuple[MatcherField, ...]:
    """The lines as typed, without the empty ones. A tag is named in the box of the label."""
    labels, operators, values = (
        [str(one).strip() for one in sent.getall(name, [])]
        for name in ("label", "operator", "value")
    )
    lines = zip(labels, operators, values, strict=False)
    return tuple(
        MatcherField(label[:132], operator if operator in OPERATORS else "=", value[:1024])
        for label, operator, value in list(lines)[:MOST_LINES]
        if value
    )


def matchers_of(fields: Iterable[MatcherField]) -> list[dict[str, str]]:
    """The lines as the rooms take them."""
    return [{"label": f.label, "operator": f.operator, "value": f.value} for f in fields]


def read_wall(text: str, zone: str) -> datetime | None:
    """A day and time by the clock on the wall, as browsers send it; None for anything else.

    A time that comes twice is the first one; one that never comes is as long after midnight.
    """
    try:
        wall = datetime.strptime(text[:16], WALL_FORMAT)  # noqa: DTZ007 the wall has no zone
    except ValueError:
        return None
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def wall(at: datetime, zone: str) -> str:
    """An instant as a form's day and time."""
    return at.astimezone(ZoneInfo(zone)).strftime(WALL_FORMAT)


def in_the_way(rows: Iterable[Row], couples: Couples, zone: str) -> tuple[InTheWay, ...]:
    """The weddings by name where the reader may know them, else by initials."""
    found: list[InTheWay] = []
    for row in rows:
        wedding_id = UUID(str(row["wedding_id"]))
        begins = row["starts_at"]
        if isinstance(begins, str):
            begins = datetime.fromisoformat(begins)
        couple = couples.get(wedding_id) or row["initials"] or words("wedding.unnamed")
        when = say.day(begins, zone) if begins else str(words("wedding.day_hidden"))
        found.append(InTheWay(str(couple), when, bool(row.get("is_approved", False))))
    return tuple(found)


def build_preview(
    *,
    matchers: Sequence[Mapping[str, str]],
    matched: Sequence[Row],
    weddings: Sequence[Row],
    couples: Couples,
    zone: str,
    warning: str,
    spans: tuple[str, ...] = (),
) -> Preview:
    """What matchers mean right now, and the weddings in the way."""
    incidents = [row for row in matched if row["kind"] == "incident"]
    rules = [row for row in matched if row["kind"] == "rule"]
    about = (
        words("silence.preview.rules", n=len(rules)) if rules else words("silence.preview.no_rule")
    )
    sentence = (
        words(
            "silence.preview.now",
            incidents=words("silence.preview.incidents", n=len(incidents)),
            rules=about,
        )
        if incidents
        else words("silence.preview.nothing", rules=about)
    )
    return Preview(
        sentence=sentence,
        incidents=tuple(Match(row["title"], f"/incidents/{row['id']}") for row in incidents),
        rules=tuple(Match(row["title"], f"/rules/{row['id']}") for row in rules),
        rules_note="" if all(row["is_whole"] for row in rules) else words("silence.preview.some"),
        weddings=in_the_way(weddings, couples, zone),
        warning=warning,
        mark=seen_mark(matchers, [row["wedding_id"] for row in weddings]),
        spans=spans,
    )
