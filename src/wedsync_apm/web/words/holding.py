"""Silences and planned work."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "nav.silences": "Quiet times",
    "more.silences_note": "When nobody is told, and planned work",
    "silences.title": "Quiet times",
    "silences.sub": (
        "Problems are watched and written down all the same; only telling people waits."
    ),
    "silences.waiting": "Waiting for a second person",
    "silences.now": "Now",
    "silences.now_none": "Nothing is held back: people are told of every problem at once.",
    "silences.coming": "Coming",
    "silences.coming_none": "Nothing is planned.",
    "silences.past": "Past",
    "silences.past_none": "Nothing in the last 30 days.",
    "silences.new": "Hold back telling people",
    "silences.plan": "Plan work",
    "silences.viewer": "Only members can hold anything back. Ask an owner.",
    "silences.zone": "Times are {zone} time.",
    # what it is about
    "match.everything": "anything",
    "match.service": "‘{value}’",
    "match.metric": "the figure ‘{value}’",
    "match.rule": "the rule ‘{value}’",
    "match.severity": "what is {value}",
    "match.tag": "{tag} {value}",
    "match.not": "not {what}",
    "match.fits": "whatever fits {value}",
    "match.or": "{first} or {last}",
    "match.label.service": "the service",
    "match.label.metric": "the figure",
    "match.label.rule": "the rule",
    "match.label.severity": "how bad it is",
    "match.operator.=": "is",
    "match.operator.!=": "is not",
    "match.operator.=~": "fits (a|b, a.*)",
    "match.operator.!~": "does not fit",
    # a silence
    "silence.needs_approval": "Waits for a second person",
    "silence.scheduled": "Coming",
    "silence.active": "On now",
    "silence.ended": "Over",
    "silence.say.active": (
        "Nobody is told about {what} until {until}, because “{reason}”, asked by {owner}."
    ),
    "silence.say.scheduled": (
        "From {start} nobody is told about {what} until {until}, because “{reason}”, asked by"
        " {owner}."
    ),
    "silence.say.needs_approval": (
        "People are still told about {what}. {owner} wants nobody told from {start} until {until}, "
        "because “{reason}”, and a second person has to say yes first."
    ),
    "silence.say.ended": (
        "Nobody was told about {what} from {start} until {until}, because “{reason}”, asked "
        "by {owner}."
    ),
    "silence.say.never": (
        "It never began: no second person said yes to holding back {what}, asked by {owner} "
        "because “{reason}”."
    ),
    "silence.cut": "It ends early, at {time}: a wedding begins that nobody has said yes for.",
    "silence.ended_by": "Ended early by {name}.",
    "silence.approved_by": "{name} said yes at {time}.",
    "silence.what": "About",
    "silence.from": "From",
    "silence.until": "Until",
    "silence.why": "Why",
    "silence.owner": "Who answers for it",
    "silence.made": "Asked at",
    "silence.end": "End it now",
    "silence.end_note": "Whatever still goes on is told within seconds.",
    "silence.withdraw": "Withdraw it",
    # making one
    "silence.new": "Hold back telling people",
    "silence.new_for": "Silence ‘{title}’ until …",
    "silence.form.what": "What is it about?",
    "silence.form.what_hint": "All lines must fit. Leave a line without a value to have one fewer.",
    "silence.form.label": "What of it",
    "silence.form.operator": "How",
    "silence.form.value": "Value",
    "silence.form.starts": "From (empty: now)",
    "silence.form.ends": "Until",
    "silence.form.reason": "Why? Everybody who is not told reads this",
    "silence.form.owner": "Who answers for it (empty: you)",
    "silence.form.check": "See what it does",
    "silence.form.save": "Hold it back",
    "silence.form.ask": "Ask a second person",
    "silence.form.time": "Enter a day and a time",
    "silence.form.past": "This time is over already",
    "silence.form.order": "The end has to come after the beginning",
    "silence.form.reason_empty": "Say why, in a few words",
    "silence.form.reason_long": "At most 1,000 characters",
    "silence.form.matchers_empty": "Say what it is about: at least one line needs a value",
    "silence.form.longest": "At most 90 days",
    "silence.form.wrong": "That does not work: {reason}",
    "silence.preview": "What this does",
    "silence.preview.now": "Right now it holds back {incidents} and is about {rules}.",
    "silence.preview.nothing": "Right now it fits no open problem, and is about {rules}.",
    "silence.preview.incidents#one": "{n} open problem",
    "silence.preview.incidents#other": "{n} open problems",
    "silence.preview.rules#one": "{n} rule",
    "silence.preview.rules#other": "{n} rules",
    "silence.preview.no_rule": "no rule",
    "silence.preview.some": "Of these rules only what has the tags that you named.",
    "silence.preview.weddings#one": (
        "It lies over a wedding. It waits until a second person has said yes; until then "
        "people are "
        "told as always."
    ),
    "silence.preview.weddings#other": (
        "It lies over {n} weddings. It waits until a second person has said yes; until then people "
        "are told as always."
    ),
    "silence.preview.long": (
        "It is longer than a day, so it ends at {time}, where the first of these weddings begins."
    ),
    "silence.preview.under_way": (
        "A wedding is under way then: a silence over it lasts 24 hours at most."
    ),
    # the second person
    "approve.title": "A second person has to say yes",
    "approve.second": "Second person",
    "approve.ask": "Is it all right that nobody is told during this?",
    "approve.yes": "Yes, hold it back",
    "approve.no": "No, tell people",
    "approve.why": "Why not? Whoever planned it reads this",
    "approve.why_empty": "Say in a few words why not",
    "approve.nothing": "As long as nobody says yes, people are told as always during the wedding.",
    "approve.own": "You asked for it, so somebody else has to say yes.",
    "approve.viewer": "Only members can say yes or no.",
    "approve.waiting#one": "{n} quiet time over a wedding waits for your yes or no",
    "approve.waiting#other": "{n} quiet times over weddings wait for your yes or no",
    "approve.yes_done": "You said yes. It is held back.",
    "approve.no_done": "You said no. People are told as always.",
    "approve.late": "Somebody was faster: this is how it stands now.",
    # planned work
    "work.title": "Plan work",
    "work.edit_title": "Change planned work",
    "work.off": "Off",
    "work.open": "On now",
    "work.scheduled": "Coming",
    "work.ended": "Over",
    "work.say.once": "{name}: nobody is told about {what} from {start} until {until}.",
    "work.say.weekly": "{name}: nobody is told about {what} {days}, {start} to {until}.",
    "work.days.every": "every {days}",
    "work.days.weeks": "every {n} weeks on {days}",
    "work.days.second": "every second week on {days}",
    "work.days.daily": "every day",
    "work.next_day": "{time} the next day",
    "work.zone": "by the clock in {zone}",
    "work.next": "The next five times",
    "work.next_none": "It does not come again.",
    "work.waits#one": (
        "During {n} wedding people are told as always, until a second person says yes."
    ),
    "work.waits#other": (
        "During {n} weddings people are told as always, until a second person says yes."
    ),
    "work.span": "{start} until {until}, {length}",
    "work.planned_by": "Planned by",
    "work.refused_by": "{name} said no at {time}: {reason}",
    "work.refused": (
        "{name} said no: ‘{reason}’ During the wedding people are told as always. "
        "To ask anew, choose another time."
    ),
    "work.form.name": "What is done",
    "work.form.name_empty": "Give it a name",
    "work.form.way": "When",
    "work.form.once": "Once",
    "work.form.weekly": "Again and again",
    "work.form.days": "On these days",
    "work.form.days_none": "Choose at least one day",
    "work.form.starts_time": "Begins at",
    "work.form.ends_time": "Ends at",
    "work.form.ends_hint": "An end that is not later than the beginning is the next day's.",
    "work.form.clock": "Enter a time like 23:00",
    "work.form.zone": "By the clock in",
    "work.form.zone_wrong": "Enter a zone like Europe/London",
    "work.form.first": "First day",
    "work.form.last": "Last day (empty: without end)",
    "work.form.day": "Enter a day",
    "work.form.weeks": "Every",
    "work.weeks.1": "week",
    "work.weeks.2": "second week",
    "work.weeks.3": "third week",
    "work.weeks.4": "fourth week",
    "work.form.first_needed": "The weeks are counted from this day",
    "work.form.about": "What is worked on?",
    "work.form.about_hint": "Without a value it is about everything.",
    "work.form.reason": "Why? Everybody who is not told reads this",
    "work.form.active": "This is on",
    "work.form.save": "Save",
    "work.form.save_ask": "Save and ask a second person",
    "work.delete": "Delete it",
    "work.delete_note": "What it holds back is told within seconds.",
    "work.saved": "Saved.",
    "work.deleted": "Deleted. What it held back is told.",
    "silence.saved": "Held back. It ends by itself.",
    "silence.asked": "Asked. People are told as always until a second person says yes.",
    "silence.ended_done": "Ended. Whatever still goes on is told within seconds.",
    # on an incident
    "held.silence": (
        "Nobody is told about this until {until}: {owner} asked for quiet, because “{reason}”."
    ),
    "held.maintenance": "Nobody is told about this until {until}: {owner}. {reason}",
    "held.inhibition": (
        "Nobody is told about this by itself: it comes of another problem, ‘{reason}’."
    ),
    "held.platform": (
        "Nobody is called about this by itself: {reason}. WedSync's own people are on it."
    ),
    "held.engineer.silence": "Silenced until {until} by {owner}: {reason}",
    "held.engineer.maintenance": "Maintenance window until {until}, {owner}: {reason}",
    "held.engineer.inhibition": "Inhibited by {owner}: {reason}",
    "held.since": "People would have been told at {time}.",
    "held.open": "See it",
    "held.silence_this": "Silence this until …",
}
