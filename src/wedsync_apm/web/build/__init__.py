"""From what the rooms know to what a page shows. Pure: rows and records in, views out."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
