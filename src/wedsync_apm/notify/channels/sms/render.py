"""The words of a text: the state first, one segment where they fit, the link always whole."""

from typing import Final

from wedsync_apm.notify import words
from wedsync_apm.notify.message import Rendered
from wedsync_apm.notify.model import Kind
from wedsync_apm.notify.telephone.gsm7 import cut, plain
from wedsync_apm.notify.words import Facts

LEAST_WORDS: Final = 24
"""A text with fewer characters than this beside its link says nothing: it gets a segment more."""
MOST_SEGMENTS: Final = 3
LONGEST_NAME: Final = 40


def render(facts: Facts) -> Rendered:
    """The text exactly as it goes out."""
    return Rendered(words.subject(facts), fit(_said(facts), _tail(facts)))


def fit(said: str, tail: str) -> str:
    """The words before the tail in as few segments as leave them room, three at most."""
    text = ""
    for most in range(1, MOST_SEGMENTS + 1):
        text = cut(said, most, tail)
        if len(text) - len(tail) >= min(len(said), LEAST_WORDS):
            break
    return text


def _said(facts: Facts) -> str:
    organization = cut(plain(facts.organization_name), 1)[:LONGEST_NAME]
    if facts.kind is Kind.TEST:
        return f"A test for {organization}, nothing is wrong. A real call would reach you here too."
    if facts.kind is Kind.VERIFY:
        return (
            f"{facts.code} is the code for {organization} at WedSync APM, good for 15 minutes. "
            "Reply STOP if you did not ask for it."
        )
    return plain(" ".join(words.opening(facts)))


def _tail(facts: Facts) -> str:
    if facts.kind is Kind.DRILL and facts.acknowledge_url:
        return f" Reply 1 to answer: {facts.acknowledge_url}"
    if facts.kind in (Kind.TEST, Kind.VERIFY) or facts.number is None:
        return ""
    if facts.acknowledge_url:
        return f" Reply 1 {facts.number} if you're on it: {facts.acknowledge_url}"
    return f" (#{facts.number})"
