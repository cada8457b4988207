"""Our own 24 px icons, read from `static/icons.svg`. A page carries only those it uses."""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_SYMBOL = re.compile(r'<symbol id="([a-z]+)">(.*?)</symbol>')

ICONS: Final[Mapping[str, str]] = dict(
    _SYMBOL.findall(files(__package__).joinpath("static", "icons.svg").read_text())
)
