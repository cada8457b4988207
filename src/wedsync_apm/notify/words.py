"""The words of every message, in one catalogue: a calm colleague on the phone.

Facts and times only; never a guess at a cause, never a couple's name, nothing that is not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wedsync_apm.incidents.reviews.mail.words import Speech, mail_lines, mail_subject
from wedsync_apm.incidents.works import unmeasured, works_beside
from wedsync_apm.notify.facts import Facts as Facts
from wedsync_apm.notify.facts import printed, said
from wedsync_apm.notify.model import Kind

ACKNOWLEDGE_LABEL: Final = "I'm on it"
SEE_LABEL: Final = "See it"
LEAVE_LABEL: Final = "Get it no more"
ANSWER_LABEL: Final = "I have read this"
"""Of the link in an exercise."""
MOST_LINES: Final = 10
"""Of several problems in one message, so many are named."""


def subject(facts: Facts) -> str:
    """The subject line: the same for every message about one incident, so that they thread."""
    if facts.kind is Kind.TEST:
        return "WedSync APM: a test, nothing is wrong"
    if facts.kind is Kind.VERIFY:
        return "WedSync APM: your code"
    if facts.kind is Kind.GROUP:
        return _group_headline(facts)
    if facts.kind is Kind.DRILL:
        return "EXERCISE: nothing is wrong, please answer"
    if facts.kind is Kind.REPORT:
        return _dashboard_subject(facts) if _is_dashboard(facts) else mail_subject(facts.payload)
    return facts.headline


def body(facts: Facts) -> str:
    """The whole text, one fact a line; the state comes first."""
    if facts.kind is Kind.REPORT and (zone := facts.payload.get("time_zone")):
        # Wedding things are told by the clock at the venue.
        facts = replace(facts, time_zone=str(zone))
    # Whatever a name holds, it stays on its line, and reads from left to right.
    return "\n".join(printed(line).rstrip() for line in _lines(facts)) + "\n"


def opening(facts: Facts) -> list[str]:
    """The text up to its first empty line: what is the matter, without links and small print."""
    lines = body(facts).splitlines()
    return lines[: lines.index("")] if "" in lines else lines


def _lines(facts: Facts) -> Iterator[str]:
    match facts.kind:
        case Kind.TEST | Kind.VERIFY | Kind.DRILL:
            yield from _about_nothing(facts)
            return
        case Kind.GROUP:
            yield from _group(facts)
        case Kind.REPORT if _is_dashboard(facts):
            yield from _dashboard(facts)
        case Kind.REPORT:
            speech = Speech(partial(_clock, facts), span_words)
            yield from mail_lines(facts.payload, speech)
        case Kind.RESOLVED:
            yield from _resolved(facts)
        case Kind.UPDATE:
            yield f"{facts.headline}."
            yield from _word(facts)
            yield from _who_has_it(facts)
            yield from _for_engineers(facts)
        case Kind.REOPENED if facts.has_come_back:
            yield f"It has come back{_since(facts, facts.began_at)}: {facts.headline}."
            yield from _trouble(facts)
        case Kind.PAGE | Kind.REOPENED:
            yield f"{facts.headline}{_since(facts, facts.began_at)}."
            yield from _trouble(facts)
    yield from _more(facts)
    if facts.page_url:
        yield ""
        yield f"{SEE_LABEL}: {facts.page_url}"
    yield f"{said(facts.organization_name)}. Times are in {_zone_words(facts)}."
    if facts.help_line:
        yield f"Help line: {said(facts.help_line)}"


def _about_nothing(facts: Facts) -> Iterator[str]:
    """Of messages that nothing is wrong behind."""
    match facts.kind:
        case Kind.TEST:
            yield f"This is a test for {said(facts.organization_name)}. Nothing is wrong."
            yield f"It has reached {said(facts.receiver)}, so a real call will too."
        case Kind.VERIFY:
            whose = f"{said(facts.receiver)} at {said(facts.organization_name)}"
            yield f"{facts.code} is the code for {whose}."
            yield "Enter it within 15 minutes, so that calls may come here when something is wrong."
            yield "If you did not ask for it, do nothing."
        case _:
            yield from _drill(facts)


def _is_dashboard(facts: Facts) -> bool:
    return facts.kind is Kind.REPORT and facts.payload.get("word") == "dashboard"


def _dashboard_subject(facts: Facts) -> str:
    return f"{said(facts.payload.get('title'))}, {_drawn(facts)}"


def _drawn(facts: Facts) -> str:
    drawn_at = _moment_of(facts.payload, "drawn_at") or facts.at
    local = drawn_at.astimezone(ZoneInfo(str(facts.payload["time_zone"])))
    return f"{local:%A} {local.day} {local:%B}, {local:%H:%M}"


def _dashboard(facts: Facts) -> Iterator[str]:
    often = "each week" if facts.payload.get("weekday") else "each day"
    yield f"The dashboard {said(facts.payload.get('title'))}, as it stood on {_drawn(facts)}."
    if facts.payload.get("paper_id"):
        yield "It is attached as a PDF."
    else:
        yield "It could not be drawn this time: look at it on its page."
    yield f"You get it {often}."
    if facts.acknowledge_url:
        yield f"{LEAVE_LABEL}: {facts.acknowledge_url}"


def _more(facts: Facts) -> Iterator[str]:
    if not facts.more:
        return
    yield ""
    yield f"{len(facts.more)} more that waited for this message:"
    yield from (f"- {_one_more(one)}" for one in facts.more[:MOST_LINES])
    if len(facts.more) > MOST_LINES:
        yield f"- and {len(facts.more) - MOST_LINES} others"


def _drill(facts: Facts) -> Iterator[str]:
    # The first word says it wherever a screen cuts the rest.
    yield f"EXERCISE for {said(facts.organization_name)}: nothing is wrong."
    yield "Please answer as you would in earnest: how long it takes is measured."
    if facts.acknowledge_url:
        yield ""
        yield f"{ANSWER_LABEL}: {facts.acknowledge_url}"
    if ends_at := _moment_of(facts.payload, "ends_at"):
        yield f"It ends at {_clock(facts, ends_at)}. Times are in {_zone_words(facts)}."


def _trouble(facts: Facts) -> Iterator[str]:
    words = facts.vendor_text or {}
    if works := [said(name) for name in works_beside(facts.services, facts.metric_pattern)]:
        yield f"Still working: {', '.join(works)}."
    if still_works := unmeasured(said(words.get("still_works")), facts.services):
        yield f"{still_works}."
    if milestone := _next_milestone(facts):
        yield milestone
    yield from _who_has_it(facts)
    steps = words.get("what_to_do")
    if isinstance(steps, Sequence) and not isinstance(steps, str):
        yield from (f"- {step}" for step in map(said, steps) if step)
    if facts.acknowledge_url:
        yield ""
        yield f"{ACKNOWLEDGE_LABEL}: {facts.acknowledge_url}"
    yield from _for_engineers(facts)


def _for_engineers(facts: Facts) -> Iterator[str]:
    """The second text: a paragraph of its own, which short messages leave out."""
    if text := said(facts.engineer_text):
        yield ""
        yield f"For whoever mends it: {text}."
        if facts.next_update_at:
            until = _clock(facts, facts.next_update_at)
            yield f"Next update by {until}, or other people are called."


def _who_has_it(facts: Facts) -> Iterator[str]:
    if facts.acknowledged_by:
        since = f" since {_clock(facts, facts.acknowledged_at)}" if facts.acknowledged_at else ""
        yield f"{said(facts.acknowledged_by)} has had it in hand{since}."
    elif facts.reason in ("escalated", "repeat") and facts.began_at:
        waited = span_words((facts.at - facts.began_at).total_seconds())
        yield f"No one has answered for {waited}. You are next."
    elif facts.lapsed_at:
        yield f"Nobody has had it in hand since {_clock(facts, facts.lapsed_at)}."
    else:
        yield "Nobody has it yet."
    if facts.next_step_at and facts.next_step_at > facts.at and not facts.acknowledged_by:
        yield f"If nobody answers, the next call goes out at {_clock(facts, facts.next_step_at)}."
    if facts.next_update_at:
        yield f"Next update by {_clock(facts, facts.next_update_at)}, even if nothing has changed."


def _word(facts: Facts) -> Iterator[str]:
    """Why there is a message at all, where somebody wrote one or a time has run out."""
    match facts.payload.get("word"):
        case "update":
            if message := said(facts.payload.get("message")):
                yield f"{message}."
        case "hold_ends":
            until = _moment_of(facts.payload, "until")
            yield f"Say something by {_clock(facts, until)}, or other people are called again."
        case "promise_missed":
            until = _moment_of(facts.payload, "until")
            yield "The update that was promised is late. The vendor still waits for it."
            yield f"Without a word by {_clock(facts, until)}, other people are called."


def _resolved(facts: Facts) -> Iterator[str]:
    merged = facts.payload.get("merged_into")
    if isinstance(merged, Mapping):
        yield f"{facts.headline}: it is part of a larger problem, {_numbered(merged)}."
        yield "It goes on there, and you are told when that is over."
        return
    if facts.resolved_at is None:
        yield f"Working again: {facts.headline}, and it is over."
        return
    yield f"Working again since {_clock(facts, facts.resolved_at)}. It was: {facts.headline}."
    if facts.began_at and facts.resolved_at > facts.began_at:
        yield f"It lasted {span_words((facts.resolved_at - facts.began_at).total_seconds())}."
    if facts.ended_in_quiet:
        yield "It fell into your quiet hours, so you were not called."


def _group_headline(facts: Facts) -> str:
    firing, resolved = _listed(facts, "firing"), _listed(facts, "resolved")
    only = firing or resolved
    if len(firing) + len(resolved) == 1:
        return said(only[0].get("title")) or "A problem"
    if not firing:
        return f"{len(resolved)} problems are over"
    return f"{len(firing)} {'problem needs' if len(firing) == 1 else 'problems need'} attention"


def _group(facts: Facts) -> Iterator[str]:
    firing, resolved = _listed(facts, "firing"), _listed(facts, "resolved")
    yield f"{_group_headline(facts)}."
    for one in firing[:MOST_LINES]:
        who, since = said(one.get("by")), _since(facts, _moment_of(one, "detected_at"))
        hand = f"{who} has it in hand" if who else "nobody has it yet"
        yield f"- {_numbered(one)}: {said(one.get('severity'))}{since}, {hand}"
    for one in resolved[:MOST_LINES]:
        yield f"- {_numbered(one)}: over{_since(facts, _moment_of(one, 'resolved_at'))}"
    if (left := sum(max(len(of) - MOST_LINES, 0) for of in (firing, resolved))) > 0:
        yield f"- and {left} others"


def _listed(facts: Facts, name: str) -> Sequence[Mapping[str, Any]]:
    found = facts.payload.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _numbered(one: Mapping[str, Any]) -> str:
    number, title = one.get("number"), said(one.get("title")) or "A problem"
    return f"#{number} {title}" if isinstance(number, int) else title


_MORE: Final = {
    "resolved": "is over",
    "reopened": "has come back",
    "update": "has news",
}


def _one_more(one: Mapping[str, Any]) -> str:
    if one.get("title") is None:
        return "a summary of several problems"
    words = _MORE.get(str(one.get("kind")))
    return f"{_numbered(one)} {words}" if words else _numbered(one)


def _moment_of(one: Mapping[str, Any], name: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(one.get(name)))
    except ValueError:
        return None
    return at if at.tzinfo else None


def _next_milestone(facts: Facts) -> str | None:
    """The nearest milestone of a wedding under way, by the clock at its venue."""
    moments = []
    for wedding in facts.weddings:
        try:
            at = datetime.fromisoformat(str(wedding["next_milestone_at"]))
            zone = ZoneInfo(str(wedding["time_zone"]))
        except (KeyError, ValueError, OSError, ZoneInfoNotFoundError):
            continue
        if at.tzinfo is not None and at > facts.at:
            moments.append((at, zone))
    if not moments:
        return None
    at, zone = min(moments, key=lambda moment: moment[0])
    left = span_words((at - facts.at).total_seconds())
    clock = f"{at.astimezone(zone):%H:%M}"
    return f"A wedding is under way: its next part begins at {clock} venue time, in {left}."


def _since(facts: Facts, at: datetime | None) -> str:
    return f" since {_clock(facts, at)}" if at else ""


def _clock(facts: Facts, at: datetime | None) -> str:
    if at is None:
        return "an unknown time"
    local, today = at.astimezone(_zone(facts)), facts.at.astimezone(_zone(facts))
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%a %H:%M}"


def _zone(facts: Facts) -> ZoneInfo:
    try:
        return ZoneInfo(facts.time_zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


def _zone_words(facts: Facts) -> str:
    return _zone(facts).key.replace("_", " ")


def span_words(seconds: float) -> str:
    """A length of time as people say it: 40 s, 21 min, 3 h 20 min, 2 days."""
    whole = max(int(seconds), 0)
    minutes = round(whole / 60)
    if whole < 60:
        return f"{whole} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{minutes // (24 * 60)} days"
