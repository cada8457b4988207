"""The words of mails to subscribers of a status page. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wedsync_apm.status.model import (
    Problem,
    clock_words,
    length_words,
    plain,
    read_problem,
    zone_of,
)

CONFIRM_WORDS: Final = frozenset({"status_confirm", "status_known"})


@dataclass(frozen=True, slots=True)
class MailFacts:
    """What is known when a mail is written."""

    payload: Mapping[str, Any]
    title: str
    time_zone: str
    at: datetime
    page_url: str
    leave_url: str
    confirm_url: str | None = None

    def clock(self, at: datetime) -> str:
        """A time by the vendor's clock."""
        return clock_words(at, self.at, self.time_zone)


def write_mail(facts: MailFacts) -> tuple[str, str]:
    """Subject and text, one fact a line."""
    lines = [plain(line).rstrip() for line in _lines(facts)]
    return _one_line(_subject(facts)), "\n".join(lines) + "\n"


def _subject(facts: MailFacts) -> str:
    match facts.payload.get("word"):
        case "status_confirm":
            return f"{facts.title}: confirm that you want news of the status page"
        case "status_known":
            return f"{facts.title}: you get news of the status page already"
        case "status_note":
            return f"{facts.title}: news"
    # The same for each mail about one problem, so that they make one thread.
    return f"{facts.title}: {_title(read_problem(facts.payload))}"


def _lines(facts: MailFacts) -> Iterator[str]:
    word = facts.payload.get("word")
    if word == "status_confirm":
        yield f"Somebody asked for news of the status page of {facts.title} at this address."
        yield "If that was you, open the page below and press its button."
        yield "If not, do nothing: there will be no further mail."
        yield ""
        yield f"Confirm: {facts.confirm_url}"
        return
    if word == "status_known":
        yield f"Somebody asked for news of the status page of {facts.title} at this address."
        yield "It comes here already; nothing has changed."
    elif word == "status_note":
        yield from str(facts.payload.get("body", "")).splitlines()
        yield from _promise(facts, facts.payload.get("next_update_at"))
    else:
        yield from _problem(facts, read_problem(facts.payload), str(word))
    yield ""
    yield f"How it is now: {facts.page_url}"
    yield f"Stop these mails: {facts.leave_url}"
    zone = zone_of(facts.time_zone).key.replace("_", " ")
    yield f"You get this because you asked for it. Times are in {zone}."


def _problem(facts: MailFacts, problem: Problem, word: str) -> Iterator[str]:
    since = facts.clock(problem.began_at)
    if word == "status_end" and problem.ended_at is not None:
        lasted = length_words(problem.ended_at - problem.began_at)
        yield f"Working again since {facts.clock(problem.ended_at)}: {problem.service}."
        yield f"It was not as it should be for {lasted}."
        return
    again = "Again: " if word == "status_again" else ""
    yield f"{again}{_title(problem)}, since {since}."
    if problem.headline:
        yield f"{problem.headline}."
    if problem.still_works:
        yield f"{problem.still_works}."
    if problem.is_in_hand:
        yield "We are on it."
    next_at = problem.next_update_at
    yield from _promise(facts, next_at.isoformat() if next_at else None)


def _promise(facts: MailFacts, until: object) -> Iterator[str]:
    if isinstance(until, str) and (at := datetime.fromisoformat(until)) > facts.at:
        yield f"Next update by {facts.clock(at)}."


def _title(problem: Problem) -> str:
    """The service and what is wrong with it, in the present whatever came of it."""
    return f"{problem.service} {'does not work' if problem.state == 'down' else 'is slow'}"


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())
