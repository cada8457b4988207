"""Finds the words for a question that the server at hand understands."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from wedsync_apm.db.queries import Query, parse_queries
from wedsync_apm.errors import ConfigurationError

_NAME: Final = re.compile(r"(?P<stem>\w+)_from_(?P<version>\d+)")


@cache
def _by_stem() -> dict[str, dict[int, Query]]:
    text = files(__package__ or "").joinpath("by_version.sql").read_text(encoding="utf-8")
    found: dict[str, dict[int, Query]] = {}
    for name, query in parse_queries(text, "health/by_version.sql").items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigurationError(
                f"health/by_version.sql: {name} does not end in _from_<version>"
            )
        found.setdefault(match["stem"], {})[int(match["version"])] = query
    return found


def stems() -> tuple[str, ...]:
    """The questions that need different words."""
    return tuple(_by_stem())


def statement_for(stem: str, version: int) -> str:
    """The statement for a server of that major version. Raises KeyError for one that is older."""
    fitting = [since for since in _by_stem()[stem] if since <= version]
    return _by_stem()[stem][max(fitting, default=-1)].sql
