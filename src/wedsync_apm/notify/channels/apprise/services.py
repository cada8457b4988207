"""Which of Apprise's services go out by us.

The list beside this module is computed from the library's own registry, and a test computes it
anew: those whose transport is HTTP by `requests`, and nothing else. Of the others it says why not.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LISTED: Final = Path(__file__).with_name("services.csv")
COLUMNS: Final = ("name", "module", "plugin", "schemes", "refused")
REFUSED: Final[Mapping[str, str]] = {
    "email": "is what the channel email is for",
    "slack": "is what the channel slack is for",
    "pagerduty": "is what the channel pagerduty is for",
    "sms": "is what the channels sms and voice are for",
    "push": "is what the channel push is for",
    "transport": "does not go out by HTTP alone; let a webhook call a receiver of yours",
    "library": "needs a program that is not here; let a webhook call a receiver of yours",
    "file": "needs a file of this machine; let a webhook call a receiver of yours",
}
"""Why one is not taken, and what to use instead, by the list's word for it."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service: the library's name for it, where its code is, and why it is refused if it is."""

    name: str
    module: str
    plugin: str
    refused: str

    @property
    def refusal(self) -> str | None:
        """Why it does not go out by us, and what to use instead; None where it does."""
        return f"{self.name} {REFUSED[self.refused]}" if self.refused else None


def _read() -> Mapping[str, Service]:
    with LISTED.open(encoding="utf-8", newline="") as file:
        return {
            scheme: Service(row["name"], row["module"], row["plugin"], row["refused"])
            for row in csv.DictReader(file)
            for scheme in row["schemes"].split()
        }


SERVICES: Final = _read()
"""By the scheme that an address begins with."""
