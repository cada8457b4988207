"""What does not fit a type, in words: msgspec's messages as a field and a reason."""

import re
import types
import typing
from enum import Enum
from typing import Any, Final

import msgspec

from wedsync_apm.errors import FieldError

_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)


def field_error(message: str, kind: Any) -> FieldError:
    """msgspec's message about a value of `kind`, as the field and a reason for people."""
    match = _AT.match(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    for pattern, reason in ((_UNKNOWN, "is not a field here"), (_MISSING, "is missing")):
        if found := pattern.fullmatch(what):
            name = found["name"][:100]
            return FieldError(f"{path}.{name}" if path else name, reason)
    if what.startswith("Invalid enum value"):
        labels = labels_at(kind, path)
        given = what.removeprefix("Invalid enum value").strip()[:100]
        return FieldError(path or "body", f"{given} is none of {', '.join(labels)}")
    return FieldError(path or "body", in_words(what))


_WORDS: Final = (
    ("str", "text"),
    ("float", "a number"),
    ("int", "a whole number"),
    ("bool", "true or false"),
    ("array", "a list"),
    ("null", "nothing"),
)


def in_words(message: str) -> str:
    """A sentence of msgspec's about a value, for people."""
    words = message.replace("`", "").replace(" | null", "").replace("Expected ", "must be ")
    for theirs, ours in _WORDS:
        words = re.sub(rf"\b{theirs}\b", ours, words)
    return words[:300]


def labels_at(kind: Any, path: str) -> list[str]:
    """The labels of the enum that stands at a path such as `channels[0]` of `kind`."""
    found = kind
    for part in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        found = _inside(found, part)
    for option in _options(found):
        if isinstance(option, type) and issubclass(option, Enum):
            return [str(member.value) for member in option]
    return []


def _options(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _options(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for arm in typing.get_args(kind) for one in _options(arm)]
    return [kind]


def _inside(kind: Any, part: str) -> Any:
    for option in _options(kind):
        arguments = typing.get_args(option)
        if part.startswith("[") and arguments:
            return arguments[-1] if typing.get_origin(option) is dict else arguments[0]
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            hints = typing.get_type_hints(option, include_extras=True)
            names = {f.encode_name: f.name for f in msgspec.structs.fields(option)}
            if part in names:
                return hints[names[part]]
    return None
