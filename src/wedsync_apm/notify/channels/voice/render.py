"""What a call says, and the TwiML that says it."""

from typing import Final
from xml.sax.saxutils import escape

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Rendered
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.words import Facts

LONGEST: Final = 600
"""Characters that are read out: half a minute, and it is read twice."""
KEY_SECONDS: Final = 10
PRESS: Final = "Press 1 if you are on it. Then nobody else is called."
_VOICE: Final = 'language="en-GB"'


def render(facts: Facts) -> Rendered:
    """The words that are read out."""
    said = " ".join(words.opening(facts))
    said = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    if facts.kind not in (Kind.VERIFY, Kind.DRILL):
        said = f"This is WedSync A P M. {said}"
    if len(said) > LONGEST:
        said = said[:LONGEST].rpartition(" ")[0] or said[:LONGEST]
    return Rendered(words.subject(facts), said)


def reading(text: str, answer_url: str | None) -> str:
    """TwiML that reads the text twice and, with an address for the answer, takes a key."""
    said = f"<Say {_VOICE}>{_spoken(text)}</Say>"
    if answer_url is None:
        return _response(f'{said}<Pause length="1"/>{said}')
    press = f"<Say {_VOICE}>{_spoken(PRESS)}</Say>"
    gather = (
        f'<Gather input="dtmf" numDigits="1" timeout="{KEY_SECONDS}" method="POST"'
        f' action="{escape(answer_url, {chr(34): "&quot;"})}">'
        f'{said}{press}<Pause length="1"/>{said}{press}</Gather>'
    )
    return _response(f"{gather}{saying('Nobody pressed a key, so the next person is called.')}")


def telling(text: str) -> str:
    """TwiML that says one thing and hangs up."""
    return _response(f"{saying(text)}<Hangup/>")


def saying(text: str) -> str:
    """One sentence of TwiML."""
    return f"<Say {_VOICE}>{_spoken(text)}</Say>"


def spell(code: str) -> str:
    """A code digit by digit, so that it is not read as a number."""
    return ", ".join(code)


def _response(inner: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inner}</Response>'


def _spoken(text: str) -> str:
    # XML 1.0 has no place for the rest, escaped or not.
    return escape("".join(c for c in text if c.isprintable() and c not in "\ufffe\uffff"))
