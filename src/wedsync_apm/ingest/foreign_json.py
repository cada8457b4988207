"""JSON of clients that were written for somebody else's server.

Python's `json` writes NaN and Infinity where a client has them, which no JSON reader need take. We
read such a body all the same, so that only the samples that are not finite are refused.
"""

import json
from typing import Any, Final, TypeVar

import msgspec

from wedsync_apm.errors import MalformedBody, TooLarge

T = TypeVar("T")

LONGEST_SHOWN: Final = 200


def read_json(body: bytes, most_containers: int) -> Any:
    """The body as Python has it, numbers out of range as floats.

    Raises MalformedBody for what is not JSON even so, and TooLarge for more arrays and objects than
    a sensible body has: a byte of "[" becomes dozens here.
    """
    if body.count(b"[") + body.count(b"{") > most_containers:
        raise TooLarge(f"More than {most_containers} arrays and objects in one request.")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        text = body.decode(json.detect_encoding(body), "surrogateescape")
        return json.loads(text, parse_int=_bounded_int)
    except (ValueError, RecursionError) as exc:
        raise MalformedBody(f"The body is not JSON: {_shown(exc)}.") from exc


def convert(item: Any, kind: type[T]) -> T:
    """The item as that type. Raises ValueError with the reason in plain words."""
    try:
        return msgspec.convert(item, kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as exc:
        raise ValueError(_shown(exc).replace("`", "")) from exc


def is_text(*texts: str) -> bool:
    """Whether these can be stored: what is not UTF-8, or half a surrogate pair, cannot."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def _shown(exc: Exception) -> str:
    return str(exc).encode(errors="replace").decode()[:LONGEST_SHOWN]
