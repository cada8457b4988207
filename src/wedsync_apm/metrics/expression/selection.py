"""Which series a selector means, and under which labels they are known.

Labels are what the sender sent. A sample of our own protocols has its service's name as the label
`service_name` besides. `organization_id`, which names the tenant of a series that a platform key
sends and is kept apart from its labels, can be matched like a label.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from wedsync_apm.metrics.expression.syntax import BadExpression, Matcher, MatchKind
from wedsync_apm.metrics.expression.vectors import NAME, Labels

ORGANIZATION: Final = "organization_id"
_SERVICE_LABELS: Final = ("service_name", "service", "service.name", "job")
_NO_SERVICE: Final = "default"
_CHOICE: Final = re.compile(r"[\w:/ -]*(?:\|[\w:/ -]*)*")
"""A pattern that only names values."""


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """A series as expressions see it. `ended_ms` are the times at which its sender said that it
    ended."""

    organization_id: UUID
    id: int
    labels: Labels
    ended_ms: Sequence[int]


def read_labels(service_name: str, metric_name: str, tags: str) -> dict[str, str]:
    """The labels of a series whose tags are given as JSON."""
    # SQL lets people write tags that are no text.
    labels = {k: v if isinstance(v, str) else str(v) for k, v in msgspec.json.decode(tags).items()}
    is_sent = any(labels.get(label) == service_name for label in _SERVICE_LABELS)
    if not is_sent and service_name != _NO_SERVICE:
        labels["service_name"] = service_name
    labels[NAME] = metric_name
    return labels


def exact_value(matchers: Sequence[Matcher], label: str) -> str | None:
    """The one value that a label must have; None where there are several or none is said."""
    wanted = [one.value for one in matchers if one.label == label and one.kind is MatchKind.EQUAL]
    return wanted[0] if wanted else None


def possible_values(matchers: Sequence[Matcher], label: str) -> list[str] | None:
    """The few values one of which a label must have; None where they cannot be told."""
    for one in matchers:
        if one.label == label and one.kind is MatchKind.EQUAL:
            return [one.value]
        if one.label == label and one.kind is MatchKind.REGEX and _CHOICE.fullmatch(one.value):
            return one.value.split("|")
    return None


def sure_tags(matchers: Sequence[Matcher]) -> str:
    """The tags, as JSON, that a series must have to fit; not those that it may be known under
    without having them."""
    kept_apart = (NAME, ORGANIZATION, "service_name")
    return msgspec.json.encode(
        {
            one.label: one.value
            for one in matchers
            if one.kind is MatchKind.EQUAL and one.value and one.label not in kept_apart
        }
    ).decode()


def select(series: Sequence[LabelledSeries], matchers: Sequence[Matcher]) -> list[LabelledSeries]:
    """Those that fit all matchers. Raises BadExpression for a regular expression that is none."""
    found = list(series)
    for matcher in matchers:
        values = [_value(one, matcher.label) for one in found]
        if matcher.kind in (MatchKind.EQUAL, MatchKind.NOT_EQUAL):
            fits = {matcher.value}
        else:
            fits = _matching(matcher.value, set(values))
        negated = matcher.kind in (MatchKind.NOT_EQUAL, MatchKind.NOT_REGEX)
        found = [
            one for one, value in zip(found, values, strict=True) if (value in fits) is not negated
        ]
    return found


def with_organization(series: LabelledSeries) -> Labels:
    """Its labels as a platform key sent them."""
    return {ORGANIZATION: str(series.organization_id), **series.labels}


def _value(series: LabelledSeries, label: str) -> str:
    value = series.labels.get(label)
    if value is None:
        return str(series.organization_id) if label == ORGANIZATION else ""
    return value


def _matching(pattern: str, values: set[str]) -> set[str]:
    """Those of the values that a tenant's pattern fits whole. RE2, so that none can run away."""
    if _CHOICE.fullmatch(pattern):
        # what a dashboard's variable of several values sends
        return values.intersection(pattern.split("|"))
    # It takes some thirty megabytes, and most processes are never asked for a pattern.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    candidates = list(values)
    try:
        fits = pc.match_substring_regex(
            pa.array(candidates, pa.string()), pattern=f"^(?:{pattern})$"
        )
    except pa.ArrowInvalid as exc:
        raise BadExpression(str(exc)) from exc
    return {value for value, is_fit in zip(candidates, fits.to_pylist(), strict=True) if is_fit}
