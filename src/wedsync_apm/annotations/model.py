"""An annotation, and what is wrong with one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

LONGEST_TITLE: Final = 1_000
LONGEST_TEXT: Final = 10_000
LONGEST_NAME: Final = 300
"""Of a host and of an aggregation key; all in characters."""
ALERT_TYPES: Final = ("info", "success", "warning", "error")
PRIORITIES: Final = ("normal", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Something that happened at a moment."""

    organization_id: UUID
    occurred_at: datetime
    title: str
    text: str = ""
    alert_type: str = "info"
    priority: str = "normal"
    host: str = ""
    aggregation_key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> UUID:
        """Made of all that it says, so that a repeated request notes it once."""
        said = (
            self.occurred_at.timestamp(),
            self.title,
            self.text,
            self.alert_type,
            self.priority,
            self.host,
            self.aggregation_key,
            sorted(self.tags.items()),
        )
        return uuid5(self.organization_id, json.dumps(said))

    def problem(self) -> tuple[str, str] | None:
        """The field that cannot be kept as it is and why; None if all can."""
        if not self.title:
            return "title", "is empty"
        for name, text, longest in (
            ("title", self.title, LONGEST_TITLE),
            ("text", self.text, LONGEST_TEXT),
            ("host", self.host, LONGEST_NAME),
            ("aggregation_key", self.aggregation_key, LONGEST_NAME),
        ):
            if len(text) > longest:
                return name, f"has {len(text)} characters; at most {longest} are kept"
            if "\0" in text:
                return name, "contains a NUL character, which cannot be stored"
        return None
