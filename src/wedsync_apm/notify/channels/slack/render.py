"""The words of a Slack message, and the blocks they become."""

import re
from collections.abc import Iterator
from typing import Any, Final

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Message, Rendered, mapped_lines
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.words import ACKNOWLEDGE_LABEL, Facts

# Characters; Slack refuses the whole message for one that is longer.
HEADER_LIMIT: Final = 150
SECTION_LIMIT: Final = 3000
TEXT_LIMIT: Final = 300  # of 4,000: a lock screen shows less
SECTIONS: Final = 3  # of the 50 blocks that a message may have; nobody reads further
ACKNOWLEDGE: Final = "acknowledge"
"""What the button is called in the callback of a tap."""
DRILL: Final = "drill"


def render(facts: Facts) -> Rendered:
    """Plain text; the blocks are derived from it when it is sent."""
    return Rendered(words.subject(facts), words.body(facts))


def payload(message: Message, *, has_button: bool) -> dict[str, Any]:
    """What Slack takes: the subject for the phone's lock screen, and blocks.

    With `has_button` a tap acknowledges, and the one-tap link is left out for it.
    """
    value = asked(message) if has_button else None
    blocks: list[dict[str, Any]] = []
    if heading := _cut(_plain(message.subject), HEADER_LIMIT):
        blocks.append({"type": "header", "text": _plain_text(heading)})
    body = mapped_lines(
        message,
        lambda label, url: (
            "" if value and label == ACKNOWLEDGE_LABEL else f"<{escape(url)}|{escape(label)}>"
        ),
        escape,
    )
    blocks += [
        {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
        for text in _sections(re.sub(r"\n{3,}", "\n\n", body).strip())
    ]
    if value:
        button = {
            "type": "button",
            "action_id": ACKNOWLEDGE,
            "text": _plain_text(ACKNOWLEDGE_LABEL),
            "style": "primary",
            "value": value,
        }
        blocks.append({"type": "actions", "elements": [button]})
    return {
        "text": _cut_escaped(escape(_plain(message.subject)), TEXT_LIMIT),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def asked(message: Message) -> str | None:
    """What a tap on the button says: the incident and its coming, or the message of a drill; None
    for what asks nobody."""
    if message.kind is Kind.DRILL:
        return f"{DRILL}:{message.delivery_id}"
    is_call = message.kind in (Kind.PAGE, Kind.REOPENED)
    if not is_call or message.incident_id is None or message.generation is None:
        return None
    return f"{message.incident_id}:{message.generation}"


def escape(text: str) -> str:
    """Without Slack's three control characters nobody can mention a channel or fake a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut_escaped(text: str, limit: int) -> str:
    """Cut, but never within `&amp;` and its like, which would show as something else."""
    if len(text) <= limit:
        return text
    return re.sub(r"&[a-z]{0,3}\Z", "", text[: limit - 1]) + "…"


def _sections(text: str) -> Iterator[str]:
    """The text in pieces of whole lines that Slack takes; what is too much is cut, and says so."""
    pieces: list[str] = []
    for line in text.split("\n"):
        short = _cut_escaped(line, SECTION_LIMIT - 2)
        if pieces and len(pieces[-1]) + len(short) + 1 <= SECTION_LIMIT - 2:
            pieces[-1] += f"\n{short}"
        elif short or pieces:
            pieces.append(short)
    if len(pieces) > SECTIONS:
        pieces = pieces[:SECTIONS]
        pieces[-1] += "\n…"
    return (piece for piece in pieces if piece.strip())
