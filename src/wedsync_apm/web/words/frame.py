"""What stands on every page, and what a service is doing."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    # everywhere
    "product": "WedSync",
    "skip": "Skip to the content",
    "nav": "Pages",
    "nav.today": "Today",
    "nav.incidents": "Incidents",
    "nav.weddings": "Weddings",
    "nav.charts": "Charts",
    "nav.dashboards": "Dashboards",
    "nav.more": "More",
    "nav.rules": "Rules",
    "nav.inbox": "Inbox",
    "nav.freeze": "Releases",
    "nav.guard": "Guard mode",
    "nav.database": "Database",
    "nav.report": "Health report",
    "nav.yours": "Also here",
    "nav.open#one": "{n} open problem",
    "nav.open#other": "{n} open problems",
    "badge.platform": "Platform",
    "badge.demo": "Simulated",
    "live.as_of": "As of {time}",
    "live.gone": "No signal. This is how it was at {time}. Phone numbers below still work.",
    "organization.switch": "Switch business",
    "organization.choose": "Business",
    "call": "Call",
    "call.whom": "Call {name}",
    "call.help": "Call the help line",
    "signed_in_as": "Signed in as {name}",
    "sign_out": "Sign out",
    # what a service is doing
    "status.healthy": "Working",
    "status.warning": "Slow",
    "status.critical": "Not working",
    "status.unknown": "Not known",
    "status.unknown_since": "Not known since {time}",
    "status.maintenance": "Planned work",
    "service.checked": "checked {time}",
    # two people who change the same thing
    "clash.title": "Somebody changed this while you were typing",
    "clash.body": "Nothing of yours is lost: it stands below. Save again to keep yours.",
    "clash.now": "now: {value}",
    "clash.yours": "yours: {value}",
    "clash.empty": "empty",
    "clash.take": "Take what stands now instead",
    "clash.yes": "yes",
    "clash.no": "no",
}
