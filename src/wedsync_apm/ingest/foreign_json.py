"""JSON of clients that were written for somebody else's server.

Python's `json` writes NaN and Infinity where a client has them, which no JSON reader need take. We
read such a body all the same, so that only the samples that are not finite are refused.
"""

import json
from typing import Any, Final, TypeVar

import msgspec

from wedsync_apm.errors import MalformedBody, NotValid, TooLarge

T = TypeVar("T")

LONGEST_SHOWN: Final = 200


def read_json(body: bytes, most_parts: int) -> Any:
    """The body as Python has it, numbers out of range as floats.

    Raises MalformedBody for what is not JSON even so, and TooLarge for more values than a sensible
    body has: a byte of "[" becomes dozens here, and nobody else has a turn while it is read.
    """
    check_parts(body, most_parts)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _lenient(body, most_parts)


def read_items(body: bytes, field: str, most_parts: int) -> list[Any]:
    """The list under that name in an object, each element for `convert` to read.

    Raises as `read_json`, and NotValid for a body of another shape.
    """
    check_parts(body, most_parts)
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(given.get(field, b""), type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = _lenient(body, most_parts)
    items = found.get(field) if isinstance(found, dict) else None
    if not isinstance(items, list):
        raise NotValid(f"The body is no object with a list {field!r}.")
    return items


def convert(item: Any, kind: type[T]) -> T:
    """The item as that type. Raises ValueError with the reason in plain words."""
    try:
        if not isinstance(item, msgspec.Raw):
            return msgspec.convert(item, kind)
        try:
            return msgspec.json.decode(item, type=kind)
        except msgspec.ValidationError as exc:
            if "out of range" not in str(exc):
                raise
        except (msgspec.DecodeError, UnicodeError):
            pass
        return msgspec.convert(_loads(bytes(item)), kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError, MalformedBody) as exc:
        raise ValueError(_shown(exc).replace("`", "")) from exc


def count_in(item: Any, field: str) -> int:
    """How many elements the list of that name has in an item; 0 if there is none to count."""
    try:
        found = convert(item, dict[str, Any]).get(field)
    except ValueError:
        return 0
    return len(found) if isinstance(found, list) else 0


def is_text(*texts: str) -> bool:
    """Whether these can be stored: what is not UTF-8, or half a surrogate pair, cannot."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_parts(body: bytes, most: int) -> None:
    """Raises TooLarge for a body of more values than that, which are counted without reading."""
    if sum(body.count(sign) for sign in (b"[", b"{", b",")) > most:
        raise TooLarge(f"More than {most} values in one request.")


def _lenient(body: bytes, most_parts: int) -> Any:
    # Python's own reader takes several times as long.
    check_parts(body, most_parts // 4)
    return _loads(body)


def _loads(body: bytes) -> Any:
    try:
        text = body.decode(json.detect_encoding(body), "surrogateescape")
        return json.loads(text, parse_int=_bounded_int)
    except (ValueError, RecursionError) as exc:
        raise MalformedBody(f"The body is not JSON: {_shown(exc)}.") from exc


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def _shown(exc: Exception) -> str:
    return str(exc).encode(errors="replace").decode()[:LONGEST_SHOWN]
