"""The page "Today"."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "today.title": "Today",
    "today.title_ok": "All working",
    "today.title_unknown": "Not known",
    "today.title_problem": "1 problem: {noun}",
    "today.title_problems": "{n} problems",
    "today.ok": "All working",
    "today.ok_wedding": "All working for {couple}",
    "today.ok_detail#one": "{n} service checked, last at {time}.",
    "today.ok_detail#other": "{n} services checked, last at {time}.",
    "today.unknown": "Not known since {time}",
    "today.unknown_never": "Not known yet",
    "today.unknown_body": "We are not getting fresh checks, so we do not say that it works. "
    "We are looking into it. Phone numbers below still work.",
    "today.some_unknown": "Part of it is not known",
    "today.some_unknown_body": "{names}: no fresh answer. The rest works.",
    "today.slow": "{noun} is slow",
    "today.down": "{noun} is not working",
    "today.slow_body": "Our last check says so. If it lasts, we call someone.",
    "today.empty": "Nothing is watched yet",
    "today.empty_body": "Send us your first figures or add a service to check, "
    "and this page says whether all is well.",
    "today.problems#one": "{n} problem",
    "today.problems#other": "{n} problems",
    "today.next_wedding": "Next wedding: {couple}, {when}",
    "today.no_wedding": "No wedding in the calendar.",
    "today.week_none": "No problems in the last 7 days.",
    "today.week#one": "Last 7 days: {n} problem, {length} in all.",
    "today.week#other": "Last 7 days: {n} problems, {length} in all.",
    "today.services": "Your services",
    "today.services_empty": "No service is checked yet.",
    "today.who": "Who to call",
    "today.help_line": "WedSync help line",
    "today.help_line_note": "For anything on this page",
    "today.who_empty": "No phone number is stored for today. Your venue's is on its contract.",
    "today.sunlight": "Bright outside?",
    "today.sunlight_on": "Sunlight view",
    "today.see": "See what to do",
}
