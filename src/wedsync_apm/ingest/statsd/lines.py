"""The lines of StatsD and DogStatsD, and nothing but the lines: no socket, no clock, no store.

    name:value[:value…]|type[|@rate][|#tag,key:value…][|T<Unix seconds>][|anything else]
    _sc|name|status[|d:<Unix seconds>][|h:host][|#tags][|m:message]
    _e{<bytes of title>,<bytes of text>}:title|text[|d:…][|h:…][|k:key][|p:low][|t:error][|#tags]

Sources: statsd/statsd docs/metric_types.md, and DataDog/documentation, DogStatsD's datagram format
up to 1.6. Fields that we do not know are skipped, as that format asks.

The two differ in `name:-5|g`: StatsD takes 5 off the gauge, DogStatsD sets it to -5. A line with
fields that only DogStatsD has, tags above all, means the latter; a line without any means what the
listener was told. `+5` is a change in both, and `name:0|g` before `name:-5|g` gives -5 in both.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TYPES: Final = frozenset({"c", "g", "ms", "h", "d", "s"})
DISTRIBUTED: Final = frozenset({"ms", "h", "d"})
"""What becomes figures of a distribution."""
MOST_VALUES: Final = 10_000
"""Of a line; a datagram has no room for more than three times that."""


class UnreadableLine(ValueError):
    """A line that says nothing to us; the text says why, in words that do not repeat the line."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A line of a metric. `values` are numbers, but of a set its members as they came."""

    name: str
    kind: str
    values: tuple[float, ...] = ()
    members: tuple[str, ...] = ()
    is_change: bool = False
    """A gauge that goes up or down by its value."""
    rate: float = 1.0
    tags: tuple[str, ...] = ()
    at_s: int | None = None
    """The sender's own time; such a value is not gathered with others."""


@dataclass(frozen=True, slots=True)
class ServiceCheck:
    """What a service says of itself: 0 OK, 1 warning, 2 critical, 3 unknown."""

    name: str
    status: int
    at_s: int | None = None
    host: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event, its line breaks as such."""

    title: str
    text: str
    at_s: int | None = None
    host: str = ""
    aggregation_key: str = ""
    priority: str = ""
    alert_type: str = ""
    tags: tuple[str, ...] = ()


Line = Measurement | ServiceCheck | SentEvent

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_EVENT: Final = re.compile(rb"_e\{(\d{1,6}),(\d{1,6})\}:", re.ASCII)
_SECONDS: Final = re.compile(r"\d{1,12}", re.ASCII)


def read_datagram(
    datagram: bytes, *, is_dogstatsd: bool = False
) -> Iterator[Line | UnreadableLine]:
    """What a datagram says, line by line; a line that cannot be read comes as the reason."""
    for line in datagram.split(b"\n"):
        if not line or line == b"\r":
            continue
        try:
            yield read_line(line.removesuffix(b"\r"), is_dogstatsd=is_dogstatsd)
        except UnreadableLine as exc:
            yield exc


def read_line(line: bytes, *, is_dogstatsd: bool = False) -> Line:
    """One line without its end. Raises UnreadableLine."""
    if line.startswith(b"_e{"):
        return _event(line)
    text = _text(line)
    if text.startswith("_sc|"):
        return _service_check(text)
    return _measurement(text, is_dogstatsd)


def _measurement(text: str, is_dogstatsd: bool) -> Measurement:
    head, *fields = text.split("|")
    name, colon, packed = head.partition(":")
    if not name or not colon or not fields:
        raise UnreadableLine("is not of the form name:value|type")
    kind = fields[0]
    if kind not in TYPES:
        raise UnreadableLine("has a type other than c, g, ms, h, d and s")
    rate, at_s = 1.0, None
    tags: tuple[str, ...] = ()
    for field in fields[1:]:
        if field.startswith("@"):
            rate = _number(field[1:])
            if not 0 < rate <= 1:
                raise UnreadableLine("has a sample rate that is not above 0 and up to 1")
            continue
        is_dogstatsd = True
        if field.startswith("#"):
            tags = _tags(field)
        elif field.startswith("T") and kind in ("c", "g"):
            at_s = _seconds(field[1:])
    if kind == "s":
        if not packed:
            raise UnreadableLine("has no member of its set")
        return Measurement(name, kind, members=(packed,), tags=tags)
    parts = packed.split(":")
    if len(parts) > MOST_VALUES:
        raise UnreadableLine(f"has more than {MOST_VALUES} values")
    values = tuple(map(_number, parts))
    is_change = kind == "g" and at_s is None and packed[0] in ("+" if is_dogstatsd else "+-")
    if is_change and len(values) > 1:
        raise UnreadableLine("packs several changes of a gauge")
    return Measurement(name, kind, values, is_change=is_change, rate=rate, tags=tags, at_s=at_s)


def _service_check(text: str) -> ServiceCheck:
    # The message comes last and may contain anything.
    parts = text.partition("|m:")[0].split("|")
    if len(parts) < 3 or not parts[1] or parts[2] not in ("0", "1", "2", "3"):
        raise UnreadableLine("is not of the form _sc|name|status, the status being 0 to 3")
    at_s, host = None, ""
    tags: tuple[str, ...] = ()
    for field in parts[3:]:
        if field.startswith("d:"):
            at_s = _seconds(field[2:])
        elif field.startswith("h:"):
            host = field[2:]
        elif field.startswith("#"):
            tags = _tags(field)
    return ServiceCheck(parts[1], int(parts[2]), at_s, host, tags)


def _event(line: bytes) -> SentEvent:
    match = _EVENT.match(line)
    if match is None:
        raise UnreadableLine("is not of the form _e{title length,text length}:title|text")
    # Lengths count bytes; some clients count characters, which is the same for most texts.
    title_end = match.end() + int(match[1])
    text_end = title_end + 1 + int(match[2])
    if line[title_end : title_end + 1] != b"|" or text_end > len(line):
        raise UnreadableLine("has lengths that do not fit its title and text")
    rest = line[text_end:]
    if rest and not rest.startswith(b"|"):
        raise UnreadableLine("has lengths that do not fit its title and text")
    found: dict[str, str] = {}
    at_s = None
    tags: tuple[str, ...] = ()
    for field in _text(rest).split("|")[1:]:
        if field.startswith("#"):
            tags = _tags(field)
        elif field.startswith("d:"):
            at_s = _seconds(field[2:])
        elif field[1:2] == ":":
            found[field[0]] = field[2:]
    return SentEvent(
        title=_unescaped(line[match.end() : title_end]),
        text=_unescaped(line[title_end + 1 : text_end]),
        at_s=at_s,
        host=found.get("h", ""),
        aggregation_key=found.get("k", ""),
        priority=found.get("p", ""),
        alert_type=found.get("t", ""),
        tags=tags,
    )


def _text(line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise UnreadableLine("is not UTF-8") from None
    if "\0" in text:
        raise UnreadableLine("contains a NUL character")
    return text


def _unescaped(part: bytes) -> str:
    return _text(part).replace("\\n", "\n")


def _number(text: str) -> float:
    # Not float() alone, which takes "1_0", " 1", "nan" and digits of every script.
    if _NUMBER.fullmatch(text) is None:
        raise UnreadableLine("has a value that is no number")
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableLine("has a value out of range")
    return value


def _seconds(text: str) -> int:
    if _SECONDS.fullmatch(text) is None:
        raise UnreadableLine("has a time that is no number of seconds")
    return int(text)


def _tags(field: str) -> tuple[str, ...]:
    return tuple(tag for tag in field[1:].split(",") if tag)
