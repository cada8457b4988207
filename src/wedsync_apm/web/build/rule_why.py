"""Why a rule says what it says, in the vendor's words. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from wedsync_apm.clock import to_datetime
from wedsync_apm.incidents.model import Incident
from wedsync_apm.rules.limits import LimitSource, is_looser
from wedsync_apm.rules.live import SeriesWindow
from wedsync_apm.rules.model import AlertRule, RuleKind
from wedsync_apm.rules.store import Verdict
from wedsync_apm.rules.verdict import Standing, State
from wedsync_apm.rules.words import reason_of
from wedsync_apm.web import say
from wedsync_apm.web.build.rule_preview import Reader, phase_words, rule_unit, series_words
from wedsync_apm.web.views.incident import Fact
from wedsync_apm.web.views.rule import Happening, Instance
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

MOST_SAMPLES: Final = 5
_STATES: Final[dict[State, Kind]] = {
    State.OK: "ok",
    State.PENDING: "warn",
    State.FIRING: "crit",
    State.NO_DATA: "crit",
    State.KEEPING: "warn",
    State.FLAPPING: "warn",
}


def build_instance(
    rule: AlertRule,
    verdict: Verdict,
    samples: Sequence[tuple[datetime, float]],
    reader: Reader,
    *,
    unit: str | None,
    is_known: bool,
) -> Instance:
    """One instance: its state now, and why. `unit` is that of its series; what nobody judges any
    more is not known."""
    standing = verdict.standing
    return Instance(
        key=verdict.instance_key,
        name=verdict_words(verdict),
        status=_status(rule, standing, is_known=is_known),
        since=words("why.since", time=reader.clock(standing.changed_at)),
        why=why_words(rule, standing, rule_unit(rule, unit), reader),
        samples=tuple(
            (reader.clock(at), reader.figure(value, unit))
            for at, value in samples[: -MOST_SAMPLES - 1 : -1]
        ),
        technical=technical(rule, verdict) if reader.is_engineer else (),
    )


def _status(rule: AlertRule, standing: Standing, *, is_known: bool) -> Status:
    if not rule.is_active:
        return Status("none", words("rule.off"))
    if not is_known:
        return Status("none", words("why.unknown"))
    if standing.state is State.OK and standing.gap is not None:
        return Status("none", words("why.state.silent"))
    return Status(_STATES[standing.state], words(f"why.state.{standing.state.value}"))


def verdict_words(verdict: Verdict) -> str:
    """What tells one instance from the others."""
    if verdict.series is not None:
        one = verdict.series
        return series_words(one.service_name, one.metric_name, one.tags)
    if verdict.labels:
        return ", ".join(f"{tag} {value or '-'}" for tag, value in verdict.labels.items())
    return say.sentence(words("rule.grouping.all"))


def why_words(
    rule: AlertRule, standing: Standing, unit: str | None, reader: Reader
) -> tuple[str, ...]:
    """The value, the limit and where that comes from, the wedding, and what it was judged by."""
    lines: list[str] = []
    if standing.value is None:
        gap = standing.gap.value if standing.gap else "absent"
        lines.append(words(f"why.gap.{gap}"))
    elif rule.rule_kind is RuleKind.COMPOSITE:
        lines.append(words("why.count", n=int(standing.value)))
    else:
        lines.append(words("why.value", figure=reader.figure(standing.value, unit)))
    lines.append(limit_words(rule, standing, unit, reader))
    if standing.sample_count and rule.rule_kind is not RuleKind.COMPOSITE:
        lines.append(
            words("why.samples", n=standing.sample_count, window=say.length(rule.evaluation_window))
        )
    if standing.state is State.PENDING and standing.pending_since:
        lines.append(words("why.pending", length=say.length(rule.for_duration)))
    if standing.state is State.KEEPING:
        lines.append(words("why.keeping", length=say.length(rule.keep_firing_for)))
    return tuple(lines)


def limit_words(rule: AlertRule, standing: Standing, unit: str | None, reader: Reader) -> str:
    """The limit, and why this one."""
    limit = standing.limit
    gaps = {
        "side": words(f"why.side.{rule.comparison_operator.name.lower()}"),
        "limit": reader.figure(limit.value, unit),
        "normal": reader.figure(rule.threshold_value, unit),
        "phase": phase_words(limit.phase) if limit.phase else "",
    }
    if limit.source is LimitSource.RULE:
        return words("why.limit_phase" if limit.phase else "why.limit", **gaps)
    looser = words("why.limit_looser") if is_looser(rule, limit) else ""
    return words(f"why.limit_{limit.source.value}", **gaps) + looser


def technical(rule: AlertRule, verdict: Verdict) -> tuple[Fact, ...]:
    """The same for engineers."""
    standing = verdict.standing
    shown = (
        ("instance_key", verdict.instance_key),
        ("series_id", str(verdict.series.id) if verdict.series else ""),
        ("state", standing.state.value),
        ("threshold_source", standing.limit.source.value),
        ("phase", standing.limit.phase or ""),
        ("evaluated_at", standing.evaluated_at.isoformat(timespec="milliseconds")),
        ("pending_since", _iso(standing.pending_since)),
        ("firing_since", _iso(standing.firing_since)),
        ("reason", reason_of(rule, standing)),
    )
    return tuple(Fact(name, value, True) for name, value in shown if value)


def _iso(at: datetime | None) -> str:
    return at.isoformat(timespec="milliseconds") if at else ""


def newest_samples(windows: Iterable[SeriesWindow]) -> list[tuple[datetime, float]]:
    """The samples of some series, oldest first."""
    found = [
        (at, value)
        for window in windows
        for at, value in zip(window.samples.times_ms, window.samples.values, strict=True)
    ]
    return [(to_datetime(at), value) for at, value in sorted(found)]


def build_history(incidents: Iterable[Incident], reader: Reader) -> tuple[Happening, ...]:
    """What the rule has told, newest first."""
    return tuple(
        Happening(
            f"/incidents/{one.id}",
            one.headline,
            reader.clock(one.detected_at),
            words("why.lasted", length=say.length(one.resolved_at - one.detected_at))
            if one.resolved_at and not one.is_live
            else words("why.going"),
            not one.is_live,
        )
        for one in incidents
    )
