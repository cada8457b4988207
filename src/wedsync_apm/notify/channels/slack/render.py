"""The words of a Slack message, and the blocks they become."""

import json
from typing import Final

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Message, Rendered, mapped_lines
from wedsync_apm.notify.words import Facts

_SECTION_LIMIT: Final = 3000  # characters; Slack refuses a longer block


def render(facts: Facts) -> Rendered:
    """Plain text; the blocks are derived from it when it is sent."""
    return Rendered(words.subject(facts), words.body(facts))


def blocks(message: Message) -> bytes:
    """The JSON that Slack takes: subject for the phone's lock screen, body as one section."""
    body = mapped_lines(message, lambda label, url: f"<{escape(url)}|{escape(label)}>", escape)
    return json.dumps(
        {
            "text": escape(message.subject),
            "blocks": [
                {
                    "type": "section",
                    "text": {"type": "mrkdwn", "text": _cut(body.strip()), "verbatim": True},
                }
            ],
            "unfurl_links": False,
            "unfurl_media": False,
        }
    ).encode()


def escape(text: str) -> str:
    """Without Slack's three control characters nobody can mention a channel or fake a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    if len(text) <= _SECTION_LIMIT:
        return text
    whole_lines = text[: _SECTION_LIMIT - 2].rpartition("\n")[0]
    return f"{whole_lines or text[: _SECTION_LIMIT - 2]}\n…"
