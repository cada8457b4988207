"""The grammar of Influx line protocol: where a line ends, what it consists of, what a value is.

`measurement[,tag=value…] field=value[,field=value…] [time]`; a backslash before a comma, an equals
sign or a space makes it part of a name; text stands in double quotes and may hold ends of lines.
Every expression is possessive: no input makes it go back and try again.
"""

import re
from collections.abc import Iterator
from typing import Final

_FALSE: Final = frozenset((b"f", b"F", b"false", b"False", b"FALSE"))
_TRUE: Final = frozenset((b"t", b"T", b"true", b"True", b"TRUE"))
_QUOTE, _DIGIT_9, _I, _U = b'"9iu'

_SERIES = re.compile(rb"(?:[^\\ ]++|\\.|\\\Z)*+", re.DOTALL)
_PART = re.compile(rb"(?:[^\\,]++|\\.|\\\Z)*+", re.DOTALL)
_TAG = re.compile(rb"((?:[^\\=]++|\\.)*+)=(.*)", re.DOTALL)
_FIELD = re.compile(
    rb"(?P<name>(?:[^\\,= ]++|\\.)*+)="
    rb'(?P<value>"(?:[^"\\]++|\\.)*+"|[^," ]*+)(?P<end>,|\Z|(?= ))',
    re.DOTALL,
)
_STRING_END = re.compile(rb'(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPED_IN_NAME = re.compile(rb"\\([, ])")
_ESCAPED = re.compile(rb"\\([,= ])")


def split_lines(body: bytes) -> Iterator[bytes]:
    """The lines of a body; an end of line inside of a quoted text is part of the text."""
    if b'"' not in body:
        yield from body.split(b"\n")
        return
    start = 0
    while start <= len(body):
        stop = _end_of_line(body, start)
        yield body[start:stop]
        start = stop + 1


def _end_of_line(body: bytes, start: int) -> int:
    first = stop = _find_end(body, start)
    if body.find(b'"', start, stop) < 0:
        return stop
    # Quotes mean something only in the values, after the measurement and its tags.
    series = _SERIES.match(body, start, stop)
    position = series.end() if series else start
    while True:
        opening = body.find(b'="', position, stop)
        if opening < 0:
            return stop
        string = _STRING_END.match(body, opening + 2)
        if string is None:
            return first
        position = string.end()
        if position > stop:
            stop = _find_end(body, position)


def _find_end(body: bytes, start: int) -> int:
    stop = body.find(b"\n", start)
    return len(body) if stop < 0 else stop


class IsText(Exception):
    """The field is a text."""


class NotFields(Exception):
    """What follows the measurement is no list of fields."""


def split_line(line: bytes, most: int) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Measurement with tags, fields, and time (empty where there is none), all still escaped.

    Reads at most one field more than `most`. Raises NotFields.
    """
    series = _SERIES.match(line)
    start = series.end() if series else 0
    key = line[:start]
    while line[start : start + 1] == b" ":
        start += 1
    fields: list[tuple[bytes, bytes]] = []
    more = True
    while more:
        field = _FIELD.match(line, start)
        if field is None:
            raise NotFields
        fields.append((field["name"], field["value"]))
        start, more = field.end(), field["end"] == b"," and len(fields) <= most
    return key, fields, line[start:].strip(b" ")


def value_of(raw: bytes) -> float:
    """The value of a field. Raises IsText for a text, and ValueError for what is none."""
    last = raw[-1] if raw else _U
    if b"_" in raw:  # to Python the 1_000 of its own source is a number
        if raw[:1] == b'"':
            raise IsText
        raise ValueError
    if last <= _DIGIT_9 and last != _QUOTE:
        return float(raw)
    if last == _QUOTE:
        raise IsText
    if last == _I:
        number = int(raw[:-1])
        if -(2**63) <= number < 2**63:
            return float(number)
    elif last == _U:
        number = int(raw[:-1])
        if 0 <= number < 2**64:
            return float(number)
    elif raw in _TRUE:
        return 1.0
    elif raw in _FALSE:
        return 0.0
    raise ValueError


def split_series(key: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The measurement and the tags, still escaped; what is no tag has no value."""
    measurement, *tags = _split(key)
    pairs = []
    for tag in tags:
        match = _TAG.match(tag)
        pairs.append((match[1], match[2]) if match else (tag, b""))
    return measurement, pairs


def _split(key: bytes) -> list[bytes]:
    """The measurement and the tags, at the commas that are not escaped."""
    if b"\\" not in key:
        return key.split(b",")
    parts, start = [], 0
    while start <= len(key):
        part = _PART.match(key, start)
        stop = part.end() if part else len(key)
        parts.append(key[start:stop])
        start = stop + 1
    return parts


def measurement_text(raw: bytes) -> str:
    """Raises UnicodeDecodeError."""
    return (_ESCAPED_IN_NAME.sub(rb"\1", raw) if b"\\" in raw else raw).decode()


def text(raw: bytes) -> str:
    """Of a tag's name or value, or a field's name. Raises UnicodeDecodeError."""
    return (_ESCAPED.sub(rb"\1", raw) if b"\\" in raw else raw).decode()
