"""What a rule would have done, in words, as a table and as a drawing. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from markupsafe import Markup

from wedsync_apm.rules.aggregate import Aggregation
from wedsync_apm.rules.limits import (
    WEDDING_FACTOR,
    WINDOW,
    WITHOUT_FACTORS,
    WeddingWindow,
    default_factor,
    grade_of,
    is_looser,
    resolve_limit,
    usual_factor,
    whole_of,
)
from wedsync_apm.rules.model import GRADES, GUARDS, PHASES, RuleDraft, RuleKind
from wedsync_apm.rules.past import Past
from wedsync_apm.rules.replay import Replay
from wedsync_apm.rules.verdict import Standing
from wedsync_apm.web import say
from wedsync_apm.web.build.rule_drawing import Ink, Span, declared_windows, draw, limit_steps
from wedsync_apm.web.build.rule_text import write_number
from wedsync_apm.web.views.rule_form import Firing, Near, Nears, PreviewView, Typed
from wedsync_apm.web.words import say as words

MOST_LINES: Final = 4
MOST_NAMED: Final = 3
MOST_ROWS: Final = 10
OFTEN: Final = 10
"""Times a week: more is a hint that the limit is too tight."""
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Look:
    """A range of the past, and its name in words."""

    key: str
    start: datetime
    end: datetime
    range: str
    is_shorter: bool = False
    """Whether it is less than was asked for."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: his clock, his tongue, and the platform's factor for wedding days."""

    now: datetime
    zone: str
    is_engineer: bool
    factor: float = WEDDING_FACTOR

    def figure(self, value: float | None, unit: str | None) -> str:
        """A figure in the reader's tongue."""
        return (say.figure if self.is_engineer else say.plain_figure)(value, unit)

    def mark(self, value: float | None, unit: str | None) -> str:
        """The same on an axis, where nothing is 0 and not "under" something."""
        return say.figure(value, unit) if value == 0 else self.figure(value, unit)

    def clock(self, at: datetime) -> str:
        """A moment as people say it: today 13:05, this week Sat 14:12, before that its date."""
        if timedelta(0) <= self.now - at < 6 * DAY:
            return say.venue_clock(at, self.now, self.zone)
        return say.when(at, self.now, self.zone)


_UNITS: Final[Mapping[RuleKind, str | None]] = {
    RuleKind.CHANGE: "%",
    RuleKind.RATIO: "ratio",
    RuleKind.BURN_RATE: None,
    RuleKind.COMPOSITE: None,
}


def rule_unit(rule: RuleDraft, unit: str | None) -> str | None:
    """The unit of a rule's number, from that of its series."""
    if rule.rule_kind in _UNITS:
        return _UNITS[rule.rule_kind]
    if rule.rule_kind is RuleKind.THRESHOLD and rule.aggregation is Aggregation.COUNT:
        return None
    if rule.rule_kind is RuleKind.THRESHOLD and rule.aggregation is Aggregation.RATE:
        return f"{unit}/s" if unit and unit != "1" else "/s"
    return unit


def limit_unit(rule: RuleDraft, unit: str | None) -> str | None:
    """The unit by which the engine tightens a limit: that of the series, for the plain kind."""
    return unit if rule.rule_kind is RuleKind.THRESHOLD else None


def spans_of(replays: Iterable[Replay], start: datetime, end: datetime) -> tuple[Span, ...]:
    """When somebody would have been told: the instances of a rule share one problem, so that what
    overlaps counts once."""
    found = sorted(
        (
            max(alarm.begin.evaluated_at, start),
            alarm.end.evaluated_at if alarm.end else end,
        )
        for one in replays
        for alarm in one.alarms
    )
    merged: list[Span] = []
    for begins, ends in found:
        if merged and begins <= merged[-1].ends:
            merged[-1] = Span(merged[-1].begins, max(merged[-1].ends, ends))
        else:
            merged.append(Span(begins, ends))
    return tuple(merged)


def first_of(replays: Iterable[Replay], span: Span) -> tuple[Replay, Standing]:
    """The instance that began a span, with the verdict that did."""
    begun = [
        (one, alarm.begin)
        for one in replays
        for alarm in one.alarms
        if alarm.begin.evaluated_at <= span.ends
        and (alarm.end is None or alarm.end.evaluated_at >= span.begins)
    ]
    return min(begun, key=lambda found: found[1].evaluated_at)


def phase_words(phase: str) -> str:
    """What a phase is called on a chart and in a sentence."""
    return words(f"phase.{phase}") if phase in PHASES[:5] else words(f"rule.phase.{phase}")


def build_preview(found: Past, look: Look, reader: Reader) -> PreviewView:
    """The sentence, the table and the drawing of what a rule would have done."""
    rule = found.rule
    series_unit = next((one.unit for one in found.series.values() if one.unit), None)
    unit = rule_unit(rule, series_unit)

    def figure(value: float | None) -> str:
        return reader.figure(value, unit)

    first = first_measured(found.replays)
    begins = look.start
    if first is not None and first - look.start > (look.end - look.start) / 2:
        begins = max(look.start, first - (look.end - first) / 20)
    told = spans_of(found.replays, look.start, look.end)
    drawn = _drawn(found.replays)
    is_measured = any(
        point.value is not None for one in found.replays for point in one.points
    ) or bool(told)
    sentence = words("rule.would_nothing", range=look.range)
    if is_measured:
        sentence = _sentence(rule, told, look, reader)
    drawing = None
    if is_measured and look.end > look.start:
        drawing = draw(
            rule,
            [(instance_words(found, one), points_of(one)) for one in drawn],
            limit_steps(
                rule,
                (*found.weddings, *(declared_windows(drawn[0].points) if drawn else ())),
                begins,
                look.end,
                factor=reader.factor,
                unit=drawn[0].subject.unit if drawn else limit_unit(rule, series_unit),
            ),
            told,
            Ink(
                reader.zone,
                lambda value: reader.mark(value, unit),
                phase_words,
                sentence,
                is_share=unit in ("%", "percent", "ratio"),
            ),
        )
    others = found.instance_count - len(drawn)
    return PreviewView(
        sentence=sentence,
        caption=words("rule.chart", zone=reader.zone),
        hint=_hint(
            found, told, look, figure, reader.clock(first) if first and begins > look.start else ""
        ),
        drawing=drawing,
        others=words("rule.chart_others", n=others) if others > 0 and drawing else "",
        firings=tuple(
            _firing(found, span, look, reader, figure) for span in reversed(told[-MOST_ROWS:])
        ),
        more=words("rule.firing_more", n=len(told) - MOST_ROWS) if len(told) > MOST_ROWS else "",
    )


def _drawn(replays: Sequence[Replay]) -> list[Replay]:
    """Those that would have told somebody, then those with the most to show."""
    measured = [one for one in replays if any(point.value is not None for point in one.points)]
    return sorted(measured, key=lambda one: (-len(one.alarms), -len(one.points)))[:MOST_LINES]


def instance_words(found: Past, one: Replay) -> str:
    """What tells one instance from the others."""
    instance = one.subject.instance
    if instance.labels:
        return ", ".join(value or "-" for value in instance.labels.values())
    if instance.key.startswith("series:") and len(instance.series_ids) == 1:
        series = found.series.get(instance.series_ids[0])
        if series is not None:
            return series_words(series.service_name, series.metric_name, series.tags)
    return words("rule.grouping.all")


def series_words(service: str, metric: str, tags: Mapping[str, Any]) -> str:
    """A series as people name it."""
    name = f"{say.sentence(say.noun(service))}, {say.noun(metric)}"
    return (
        f"{name} ({', '.join(f'{tag} {value}' for tag, value in tags.items())})" if tags else name
    )


def _sentence(rule: RuleDraft, told: Sequence[Span], look: Look, reader: Reader) -> Markup:
    if not told:
        return words("rule.would_none", range=look.range)
    if not rule.opens_incident:
        return words("rule.would_silent", n=len(told), range=look.range)
    times = ", ".join(
        words(
            "rule.firing_times",
            time=reader.clock(span.begins),
            length=length_words(span, look),
        )
        for span in told[-MOST_NAMED:]
    )
    if len(told) > MOST_NAMED:
        times = words("rule.would_more", times=times, more=len(told) - MOST_NAMED)
    return words("rule.would", n=len(told), range=look.range, times=times)


def length_words(span: Span, look: Look) -> str:
    """How long it lasted, or that it goes on."""
    if span.ends >= look.end:
        return words("rule.firing_going")
    return say.length(span.ends - span.begins)


def points_of(one: Replay) -> tuple[Standing, ...]:
    """The verdicts that were kept, and the newest."""
    last = one.last
    if last is None or (one.points and one.points[-1].evaluated_at >= last.evaluated_at):
        return one.points
    return (*one.points, last)


def first_measured(replays: Iterable[Replay]) -> datetime | None:
    """When the first value of those kept was."""
    return min(
        (p.evaluated_at for one in replays for p in one.points if p.value is not None),
        default=None,
    )


def _hint(found: Past, told: Sequence[Span], look: Look, figure: Any, since: str) -> str:
    rule = found.rule
    parts: list[str] = []
    if len(told) > OFTEN * max((look.end - look.start) / (7 * DAY), 1 / 7):
        parts.append(words("rule.would_hint_often"))
    if not told:
        near = nearest(rule, found.replays)
        if near is not None:
            parts.append(words("rule.would_hint_never", figure=figure(near)))
    if since:
        parts.append(words("rule.would_since", time=since))
    if look.is_shorter:
        parts.append(words("rule.would_shorter"))
    return " ".join(parts)


def nearest(rule: RuleDraft, replays: Iterable[Replay]) -> float | None:
    """The value that came nearest to its limit of those kept; None where nothing was measured."""
    values = [p.value for one in replays for p in one.points if p.value is not None]
    if not values:
        return None
    return max(values) if rule.comparison_operator.is_upper else min(values)


def _firing(found: Past, span: Span, look: Look, reader: Reader, figure: Any) -> Firing:
    replay, begin = first_of(found.replays, span)
    phase = begin.limit.phase
    is_moved = phase is not None and begin.limit.value != found.rule.threshold_value
    why: str = words("rule.firing_nothing")
    if begin.value is not None:
        why = words(
            "rule.firing_why",
            value=figure(begin.value),
            limit=figure(begin.limit.value),
            phase=words("rule.firing_phase", phase=phase_words(phase))
            if phase is not None and is_moved
            else "",
        )
    if found.instance_count > 1:
        why = f"{instance_words(found, replay)}: {why}"
    return Firing(reader.clock(span.begins), length_words(span, look), why)


def build_nears(rule: RuleDraft | None, typed: Typed, unit: str | None, reader: Reader) -> Nears:
    """The graded table: what holds how near to a wedding, and why; `unit` is that of the series.
    Without a rule that can be read it has the fields and no figures."""

    def row(key: str | None) -> Near:
        name, figure, source = key or "rule", "", ""
        grade = grade_of(name)
        usual = default_factor(grade, reader.factor)
        if rule is not None:
            window = WeddingWindow(name, None, reader.now, reader.now + DAY, 0) if key else None
            limit = resolve_limit(rule, window, factor=reader.factor, unit=limit_unit(rule, unit))
            figure = reader.figure(limit.value, rule_unit(rule, unit))
            by = "" if limit.factor is None else f"{limit.factor:.3g}"
            source = words(f"rule.near_from.{limit.source.value}", factor=by)
            if is_looser(rule, limit):
                source = words("rule.near_looser", source=source)
            whole = whole_of(rule, limit_unit(rule, unit))
            usual = usual_factor(rule, grade, reader.factor, whole)
        return Near(
            name,
            words(f"rule.near.{name}"),
            figure,
            source,
            typed.texts.get(f"near_{name}", ""),
            typed.texts.get(f"factor_{name}", ""),
            write_number(usual) if key else "",
            takes_factor=rule is None or rule.rule_kind not in WITHOUT_FACTORS,
        )

    ordinary = row(None)
    grades = tuple(row(key) for key in GRADES)
    day = grades[GRADES.index(WINDOW)]
    sentence: str = ""
    if rule is not None:
        window = WeddingWindow(WINDOW, None, reader.now, reader.now + DAY, 0)
        limit = resolve_limit(rule, window, factor=reader.factor, unit=limit_unit(rule, unit))
        key = "rule.near_same" if day.limit == ordinary.limit else "rule.near_sentence"
        if is_looser(rule, limit):
            key = "rule.near_sentence_looser"
        sentence = words(key, first=ordinary.limit, last=day.limit)
    return Nears((ordinary, *grades), tuple(row(key) for key in (*PHASES, *GUARDS)), sentence)
