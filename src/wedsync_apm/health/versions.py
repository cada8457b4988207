"""Finds the words for a question that the server at hand understands.

A collector is a file of `collectors/`; its statements are called `read_<stem>_from_<version>`. One
is used from that major version on, until one with a higher number takes over.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from wedsync_apm.db.queries import Query, parse_queries
from wedsync_apm.errors import ConfigurationError

_NAME: Final = re.compile(r"read_(?P<stem>\w+)_from_(?P<version>\d+)")


@cache
def _by_stem() -> Mapping[str, Mapping[int, Query]]:
    folder = files(__package__ or "").joinpath("collectors")
    found: dict[str, dict[int, Query]] = {}
    for file in folder.iterdir():
        stem = file.name.removesuffix(".sql")
        if stem == file.name:
            continue
        source = f"health/collectors/{file.name}"
        for name, query in parse_queries(file.read_text(encoding="utf-8"), source).items():
            match = _NAME.fullmatch(name)
            if match is None or match["stem"] != stem:
                raise ConfigurationError(f"{source}: {name} is not read_{stem}_from_<version>")
            found.setdefault(stem, {})[int(match["version"])] = query
    return found


def stems() -> frozenset[str]:
    """Every collector that has a file."""
    return frozenset(_by_stem())


def statement_for(stem: str, version: int) -> str:
    """The statement for a server of that major version. Raises KeyError for one that is older."""
    fitting = [since for since in _by_stem()[stem] if since <= version]
    return _by_stem()[stem][max(fitting, default=-1)].sql
