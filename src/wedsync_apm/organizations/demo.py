"""The demo's people, for the buttons on the sign-in page. Without `up --demo` there are none."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

DEMO_FILE: Final = "demo.json"


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A login that anybody at the machine may take; `key` is what the button sends."""

    key: str
    label: str
    note: str
    user_id: UUID
    email: str


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """What a visitor needs to sign in as somebody."""

    email: str
    note: str
    password: str = field(repr=False)


def load_demo_people(data_dir: Path) -> tuple[DemoPerson, ...]:
    """The people of the running demo, in the order in which they are shown; else nobody."""
    try:
        entries = json.loads((data_dir / DEMO_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    return tuple(DemoPerson(**entry | {"user_id": UUID(entry["user_id"])}) for entry in entries)


def save_demo_people(data_dir: Path, people: tuple[DemoPerson, ...]) -> None:
    """Writes them down (0600) for as long as the demo runs; nobody means that there is no demo."""
    path = data_dir / DEMO_FILE
    if not people:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    entries = [asdict(person) | {"user_id": str(person.user_id)} for person in people]
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(entries, out, indent=2)
    fresh.replace(path)
