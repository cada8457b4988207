"""Has each of Apprise's services that go out by us write a message, and tells what each tried.

Run by its path with those of the product's program and list: `python -I apprise_replay.py child.py
services.csv`. An address that a service takes is found by trying shapes that many of them share;
the answer to every call is a yes. Prints, as JSON, how many calls each service made, and what it
tried beside them that is not allowed.
"""

import base64
import csv
import importlib.util
import json
import logging
import mimetypes
import sys
import time
import uuid
from typing import Any

WORD = "a1b2c3d4" * 4
ID = str(uuid.UUID(WORD))
SHAPES = (
    *("host.example", "user:pass@host.example", f"host.example/{WORD}"),
    *("user@host.example/15551234567", f"{WORD}/{WORD}/{WORD}", f"{WORD}@15551234567/15557654321"),
    *(f"user:{WORD}@host.example/15551234567", f"{WORD}:{WORD}@15551234567/15557654321"),
    *("1234567890123/" + "A" * 60, "A" * 30 + "@" + "B" * 30, "token@host.example/room"),
    *("user:pass@host.example/#room", f"sender@{WORD}/15551234567", "a" * 40),
    *(f"user@example.com:{WORD}/user2@example.com", "A" * 32 + "/15551234567/15557654321"),
    *(f"{ID}/{WORD}", "AAA/" + "b" * 64 + "/15551234567", f"{WORD}@host.example/dev"),
    *(f"{WORD}/{WORD}?from=15551234567&to=15557654321", f"{WORD}/{ID}"),
)
YES = base64.b64encode(b'{"ok":true,"status":1,"id":"x","access_token":"abc"}').decode()


class Yes:
    """The other end of the talk: it makes no call, and says yes."""

    def __init__(self) -> None:
        self.calls = 0

    def say(self, **what: Any) -> None:
        self.calls += "call" in what

    def hear(self) -> dict[str, Any]:
        return {"status": 200, "headers": {"content-type": "application/json"}, "body": YES}


def main() -> None:
    spec = importlib.util.spec_from_file_location("child", sys.argv[1])
    assert spec
    assert spec.loader
    child: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)
    with open(sys.argv[2], encoding="utf-8", newline="") as file:
        listed = [row for row in csv.DictReader(file) if not row["refused"]]
    line = Yes()
    child.take_calls(line)
    plugins = [(row, *child.load(row)) for row in listed]
    mimetypes.init()
    logging.disable(logging.CRITICAL)
    time.sleep = lambda _: None
    tried: list[tuple[str, str]] = []
    name = ""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        is_writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if name and (event.startswith(child._FORBIDDEN) or is_writing):
            tried.append((name, event))

    sys.addaudithook(note)
    child.fence_kernel()
    child.fence_interpreter()
    made: dict[str, int] = {}
    for row, plugin, asset in plugins:
        name = row["name"]
        for shape in SHAPES:
            line.calls = 0
            url = f"{row['schemes'].split()[0]}://{shape}"
            try:
                job = {"url": url, "title": "T", "body": "B", "type": "info"}
                said = child.write(job, plugin, asset)
            except Exception as exc:  # an address that it did not foresee
                said = {"refused": str(exc)}
            if line.calls and "refused" not in said:
                made[name] = line.calls
                break
    name = ""
    sys.stdout.write(json.dumps({"listed": len(listed), "made": made, "tried": tried}))


if __name__ == "__main__":
    main()
