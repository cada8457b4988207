"""The first five minutes, and the operators' page of who is watched and set up."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "nav.started": "Getting started",
    "more.started_note": "Five short steps until WedSync can call you",
    "started.title": "Getting started",
    "started.progress": "{n} of 5 done",
    "started.sub": "Five steps, a minute each. What is done stays done.",
    "started.all_done": "All five steps are done",
    "started.over": "Nothing left to do",
    "started.over_body": "From here on, Today says whether all is well.",
    "started.today": "Go to Today",
    "started.back": "Back to Getting started",
    "started.number": "Step {n}",
    "started.help": "What is this?",
    "started.skip": "Leave this out",
    "started.skip_reason": "Why (may stay empty)",
    "started.skip_send": "Leave it out",
    "started.skipped": "Left out",
    "started.skipped_why": "Left out: {reason}",
    "started.take_up": "Do it after all",
    "started.only": "Only an owner or admin can do this one. Ask them, or leave it to them.",
    "started.state.done": "Done",
    "started.state.todo": "To do",
    "started.state.unknown": "Not known",
    "started.card": "Getting started: {n} of 5 done",
    "started.card_next": "Next: {title}",
    "started.card_go": "Go on",
    "started.card_away": "Put this away",
    "started.away_done": "Put away. You find Getting started under More.",
    "started.skip_done": "Left out. You can do it later.",
    "started.taken_up": "Back on the list.",
    "started.off": "WedSync does not watch this business yet",
    "started.off_strip": (
        "What you send is kept, but nobody looks at it and nobody is called until our team "
        "switches it on."
    ),
    # the calendar
    "started.calendar.title": "Import your calendar",
    "started.calendar.why": "On wedding days we look closer and call sooner.",
    "started.calendar.help": (
        "Most calendars can save a file that ends in .ics; a table saved as .csv works, too. You "
        "see what would change before anything does."
    ),
    "started.calendar.action": "Import",
    "started.calendar.there#one": "{n} wedding to come, on {day}.",
    "started.calendar.there#other": "{n} weddings to come, the next on {day}.",
    "started.calendar.past": "The last wedding in here was on {day}.",
    "started.calendar.none": "No wedding in here yet.",
    # the phone
    "started.phone.title": "Prove your phone number",
    "started.phone.why": "A call reaches you where an e-mail does not.",
    "started.phone.help": (
        "Add your number, and we send it six digits. Type them in, and we know that it is yours. "
        "We call it for problems only."
    ),
    "started.phone.action": "Add your number",
    "started.phone.action_unverified": "Type in the six digits",
    "started.phone.there": "Proved on {day}.",
    "started.phone.unverified": (
        "The number is there, but not proved: a text or call may go astray."
    ),
    "started.phone.none": "We have no number of yours.",
    # rules and a dashboard
    "started.rules.title": "Take the rules and a dashboard for your trade",
    "started.rules.why": "Rules say when somebody is called. The dashboard shows how it goes.",
    "started.rules.help": (
        "They are made for your trade and are yours from then on: change or pause each of them. "
        "Nothing you made yourself is touched."
    ),
    "started.rules.action_rules": "See the rules",
    "started.rules.action_boards": "See the dashboards",
    "started.rules.there": "{rules} and {boards}.",
    "started.rules.rules#one": "{n} rule",
    "started.rules.rules#other": "{n} rules",
    "started.rules.boards#one": "{n} dashboard",
    "started.rules.boards#other": "{n} dashboards",
    "started.rules.none": "Nothing would wake anyone yet.",
    "started.rules.no_rules": "There is a dashboard. Nothing would wake anyone yet.",
    "started.rules.no_board": "The rules are there. A dashboard is not.",
    # a test
    "started.test.title": "Send yourself a test alert",
    "started.test.why": "Better to find out today than on a Saturday.",
    "started.test.help": (
        "It says that it is a test. We show when it went out and, where your phone company or "
        "device tells us, when it arrived."
    ),
    "started.test.action": "Choose where to send it",
    "started.test.delivered": "Your test {channel} arrived after {length}.",
    "started.test.delivered_untimed": "Your test {channel} arrived.",
    "started.test.none": "No test was sent to you yet.",
    "started.test.pending": "A test {channel} is on its way.",
    "started.test.failed": "Your test {channel} did not arrive: {reason}.",
    "started.test.failed_plain": "Your test {channel} did not arrive.",
    "started.test.sent": (
        "Your test {channel} went out. Nobody tells us whether it arrived: look for it, or send "
        "one to your phone."
    ),
    "started.test.unknown": "Nobody can tell whether your test {channel} arrived. Look for it.",
    "started.test.inbox": (
        "Your test {channel} stayed in the inbox: nothing is set up here that could send it."
    ),
    # the phone's screen
    "started.install.title": "Put WedSync on this phone",
    "started.install.why": "It opens with one tap, rings, and shows the last state without signal.",
    "started.install.help": (
        "No shop is needed: your browser puts it beside your other apps. A browser does not tell "
        "us what is installed; we see it when its notifications arrive."
    ),
    "started.install.action": "Show me how",
    "started.install.there": "Notifications arrive, since {day}.",
    "started.install.unproved": (
        "Notifications are on, but none has arrived yet. We cannot see more of it from here."
    ),
    "started.install.none": "No phone of yours has notifications on.",
    "started.channel.email": "e-mail",
    "started.channel.sms": "text",
    "started.channel.voice": "call",
    "started.channel.push": "notification",
    "started.channel.other": "message",
    # the operators' page
    "nav.tenants": "Businesses",
    "more.tenants_note": "Who is watched, and who is set up",
    "tenants.title": "Businesses",
    "tenants.sub": "Who is watched, who is set up, and who has a wedding soon and is not.",
    "tenants.counts": "{all} businesses: {set_up} set up, {off} off, {beta} in beta.",
    "tenants.near#one": "{n} has a wedding within {days} days and is not set up",
    "tenants.near#other": "{n} have a wedding within {days} days and are not set up",
    "tenants.near_none": "Everybody with a wedding within {days} days is set up",
    "tenants.all": "All",
    "tenants.open": "Not set up",
    "tenants.soon": "Wedding soon",
    "tenants.state.off": "Off",
    "tenants.state.beta": "Beta",
    "tenants.state.on": "On",
    "tenants.find": "Name",
    "tenants.look": "Find",
    "tenants.none": "No business matches.",
    "tenants.done": "{n} of 5",
    "tenants.left": "left: {steps}",
    "tenants.step.calendar": "calendar",
    "tenants.step.phone": "phone",
    "tenants.step.rules": "rules",
    "tenants.step.test": "test",
    "tenants.step.install": "install",
    "tenants.next": "next wedding {day}",
    "tenants.no_wedding": "no wedding to come",
    "tenants.changed": "{name}, {time}: {reason}",
    "tenants.more": "The next ones",
    "tenants.switch": "Switch those that are ticked",
    "tenants.to": "To",
    "tenants.group": "Put them into the group (may stay empty)",
    "tenants.reason": "Why",
    "tenants.near_ok": "Off although a wedding is within 48 hours",
    "tenants.button": "Switch",
    "tenants.note": (
        "Off: what they send is kept, nothing is judged and nobody is called; they see that in "
        "plain words. Beta and on are watched alike."
    ),
    "tenants.only": "Operators on call and DBAs switch; auditors look.",
    "tenants.wrong": "Tick at least one business, and say why in 3 letters or more.",
    "tenants.result": "{done} switched.",
    "tenants.result.incident": "{names}: a problem is open there. End it first.",
    "tenants.result.wedding": "{names}: a wedding is within 48 hours.",
    "tenants.result.platform": "{names}: the platform watches itself.",
    "tenants.result.unknown": "{names}: not there any more.",
}
