"""Attribute values as text: a tag's value is text whatever the attribute's type.

As OpenTelemetry lays down for protocols without attribute types ("AnyValue representation for
non-OTLP protocols"): text as it is, `true` and `false`, numbers as JSON has them, bytes as Base64,
arrays and maps as JSON. The keys of a map are sorted, so that equal maps are the same series.
"""

import base64
import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused

MOST_LEVELS: Final = 16
"""Of arrays and maps in each other."""

LEFT_OUT: Final = ("process.command", "process.command_args", "process.command_line")
"""Resource attributes that are not kept: whole command lines may carry passwords, are often longer
than a tag may be, and tell no two processes apart that `process.pid` does not."""

_encode = msgspec.json.Encoder(order="sorted").encode


def render(value: Any) -> str:
    """An attribute's value, of at most MOST_LEVELS levels; "" for an empty one."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    plain = _plain(value)
    return plain if isinstance(plain, str) else _encode(plain).decode()


def inner(levels: int) -> int:
    """The levels left inside an array or map. Raises Refused where there are none left."""
    if not levels:
        reason = f"are nested more than {MOST_LEVELS} levels deep"
        raise Refused(model.INVALID, "attributes", reason)
    return levels - 1


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return list(map(_plain, value)) if isinstance(value, list) else value


def tags_of(attributes: Iterable[tuple[str, str]], prefix: str = "") -> dict[str, str]:
    """Attributes as tags. Raises Refused for a name that is there twice.

    An attribute without a value is none: Prometheus, for one, cannot tell them apart.
    """
    tags: dict[str, str] = {}
    for name, value in attributes:
        if not name:
            raise Refused(model.INVALID, "attributes", "one has no name")
        if name in tags:
            raise Refused(model.INVALID, f"attribute {name[:64]}", "is there twice")
        tags[name] = value
    return {prefix + name: value for name, value in tags.items() if value}
