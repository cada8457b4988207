"""What the labels of a Prometheus series say: whose it is, its service, its name and its tags."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from wedsync_apm.ingest.columns import DEFAULT_SERVICE, SERVICE_LABELS
from wedsync_apm.ingest.model import ORGANIZATION_LABEL

METRIC: Final = -2
ORGANIZATION: Final = -1
PLAIN: Final = len(SERVICE_LABELS)
_ROLES: Final = {
    "__name__": METRIC,
    ORGANIZATION_LABEL: ORGANIZATION,
    **{name: rank for rank, name in enumerate(SERVICE_LABELS)},
}


class Label(NamedTuple):
    """A label, and what its name makes of it."""

    tag: tuple[str, str]
    role: int
    """`METRIC`, `ORGANIZATION`, from 0 the rank of a name among those of services, or `PLAIN`."""


class Named(NamedTuple):
    """What a series is called."""

    organization: str | None
    """What names the tenant of a platform key's series; with another key it is a tag."""
    service_name: str
    metric_name: str
    tags: tuple[tuple[str, str], ...]
    """By name; an empty value means the same as no label at all."""


def label_of(name: str, value: str) -> Label:
    """A label with its role."""
    return Label((name, value), _ROLES.get(name, PLAIN))


def named(labels: Iterable[Label], *, is_platform: bool) -> Named:
    """What labels say that have each name once."""
    organization, service_name, metric_name, rank = None, DEFAULT_SERVICE, "", PLAIN
    tags = []
    for tag, role in labels:
        if role == METRIC:
            metric_name = tag[1]
        elif role == ORGANIZATION and is_platform:
            organization = tag[1]
        elif tag[1]:
            tags.append(tag)
            if 0 <= role < rank:
                service_name, rank = tag[1], role
    return Named(organization, service_name, metric_name, tuple(sorted(tags)))
