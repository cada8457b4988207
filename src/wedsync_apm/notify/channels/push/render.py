"""The words of a notification: a lock screen shows a line of title and two of text."""

import json
from collections.abc import Iterator
from typing import Final

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Rendered
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.words import Facts

TITLE_LIMIT: Final = 40  # characters
TEXT_LIMIT: Final = 110


def render(facts: Facts) -> Rendered:
    """What the page's service worker shows, as JSON: short, and without anybody's name in it that
    a stranger should not read. One notification stands for an incident (`tag`)."""
    title, text = words.subject(facts), " ".join(_lines(facts))
    if facts.kind is Kind.RESOLVED:
        title = f"Over: {title}"
    if facts.kind is Kind.VERIFY:
        # The receipt proves the same as the code, which is only needed where that finds no way.
        title = "Notifications reach you here"
        text = f"There is nothing to do. Should a page ask for a code, it is {facts.code}."
    shown = {
        "title": cut_words(title, TITLE_LIMIT),
        "body": cut_words(text, TEXT_LIMIT),
        "tag": str(facts.incident_id or facts.delivery_id),
        "kind": str(facts.kind),
        "status": facts.status,
        "severity": facts.severity,
        "url": facts.incident_url,
        "acknowledge_url": facts.acknowledge_url,
        "delivery_id": str(facts.delivery_id),
        "at": facts.at.isoformat(),
    }
    return Rendered(words.subject(facts), json.dumps(shown, ensure_ascii=False))


def _lines(facts: Facts) -> Iterator[str]:
    for number, line in enumerate(words.opening(facts)):
        # What is wrong stands in the title; the text goes on from there.
        if number == 0 and facts.incident_id is not None and line.startswith(facts.headline):
            yield line.removeprefix(facts.headline).strip(" .").capitalize() + (
                "." if len(line) > len(facts.headline) + 1 else ""
            )
        else:
            yield line


def cut_words(text: str, limit: int) -> str:
    """The text on one line, cut after a whole word where it is too long."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(plain) <= limit:
        return plain
    whole = plain[: limit - 1].rpartition(" ")[0].rstrip(" ,.;:")
    return f"{whole or plain[: limit - 1]}…"
