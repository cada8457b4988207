"""Datadog's tags: a list of texts, most of them `key:value`, any of them as often as one likes.

- What stands before the first colon is the key, all behind it the value.
- A tag without a colon has the value `true`. An empty value would be no label at all wherever
  series are read as Prometheus has them.
- A tag with a colon and nothing behind it is left out, for the same reason.
- A key that comes with several values has them joined by commas, sorted, each once: whatever order
  a client sends them in, the series is the same.
- The host and the device that a payload names beside the tags win over tags of these keys.
"""

from collections.abc import Iterable
from typing import Final

VALUE_OF_BARE: Final = "true"


def read_tags(tags: Iterable[str], host: str = "", device: str = "") -> dict[str, str]:
    """The tags as our series have them."""
    found: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    for tag in tags:
        key, colon, value = tag.partition(":")
        value = value.strip() if colon else VALUE_OF_BARE
        key = key.strip()
        if not value or not (key or colon):
            continue
        if key in found and found[key] != value:
            several.setdefault(key, {found[key]}).add(value)
        found.setdefault(key, value)
    for key, values in several.items():
        found[key] = ",".join(sorted(values))
    if host:
        found["host"] = host
    if device:
        found["device"] = device
    return found
