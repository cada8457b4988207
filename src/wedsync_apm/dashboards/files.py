"""A document as a file: JSON or YAML, the same for the same dashboard, to the last byte.

Fields stand in the format's own order, panels in the order of the grid, and what has its usual
value is left out: a change of one thing is a change of one line.
"""

import json
import re
from typing import Any, Final

import msgspec
import yaml

from wedsync_apm.dashboards.model import Document
from wedsync_apm.dashboards.reading import read_document
from wedsync_apm.errors import MalformedBody, TooLarge

JSON: Final = "application/json"
YAML: Final = "application/yaml"
MOST_BYTES: Final = 1024 * 1024
"""Of a file: with white space and comments it may be longer than the document."""
_DEEPEST: Final = 40
_WIDTH: Final = 100


class _Loader(yaml.CSafeLoader):
    """YAML as far as JSON has it: `no` is a text, and so is 12:30."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 theirs


class _Dumper(yaml.CSafeDumper):
    """A text of several lines stands as a block."""


_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("null", r"null|~|", ("n", "~", "")),
    ("bool", r"true|false", ("t", "f")),
    ("int", _NUMBER, tuple("-0123456789")),
    ("float", _NUMBER + r"(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", tuple("-0123456789")),
):
    # The writer has to know it too: it quotes whatever the reader would take for no text.
    for _one in (_Loader, _Dumper):
        _one.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first)
        )


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def read_file(body: bytes, media_type: str) -> Document:
    """The document in a file. Raises TooLarge, MalformedBody for what is neither JSON nor YAML as
    it was said to be, and NotValid with the faults by path."""
    if len(body) > MOST_BYTES:
        raise TooLarge(f"A dashboard's file has at most {MOST_BYTES} bytes.")
    return read_document(_parse_yaml(body) if media_type == YAML else _parse_json(body))


def write_json(document: Document) -> str:
    """The document as indented JSON."""
    return json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False) + "\n"


def write_yaml(document: Document) -> str:
    """The document as YAML."""
    written: str = yaml.dump(
        msgspec.to_builtins(document),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
    )
    return written


def _parse_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedBody(f"The file is no JSON that can be read: {exc}.") from exc
    except RecursionError as exc:
        raise MalformedBody("The file is nested too deeply.") from exc


def _parse_yaml(body: bytes) -> Any:
    """One document of plain values. An alias would let a small file stand for an endless one."""
    try:
        text = body.decode()
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise MalformedBody("The file has an anchor or an alias, which are not read here.")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _DEEPEST:
                raise MalformedBody("The file is nested too deeply.")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 a safe loader, with fewer kinds of values
    except UnicodeDecodeError as exc:
        raise MalformedBody("The file is no UTF-8.") from exc
    except (yaml.YAMLError, ValueError) as exc:
        place = getattr(exc, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        reason = getattr(exc, "problem", None) or "it cannot be read"
        raise MalformedBody(f"The file is no YAML{line}: {reason}.") from exc
