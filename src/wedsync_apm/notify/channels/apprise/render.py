"""The words of a message to whatever service takes it."""

from typing import Final

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Message, Rendered, mapped_lines
from wedsync_apm.notify.words import Facts

# What one service or the other makes a mention, a tag or a link of. Nobody knows here which of them
# reads it, so none gets any of it.
_HARMLESS: Final = str.maketrans(
    {"<": "‹", ">": "›", "`": "'", "[": "(", "]": ")", "@": "@\N{WORD JOINER}"}
)


def render(facts: Facts) -> Rendered:
    """Plain text; what goes out is derived from it when it is sent."""
    return Rendered(words.subject(facts), words.body(facts))


def plain(text: str) -> str:
    """Foreign text without the characters that services make mentions, tags and links of."""
    # What joins letters stays, because some languages are not written without it.
    kept = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)
    return " ".join(kept.split()).translate(_HARMLESS)


def body_of(message: Message) -> str:
    """The lines as they go out; our own links stay as they are."""
    return mapped_lines(message, lambda label, url: f"{label}: {url}", plain).strip()
