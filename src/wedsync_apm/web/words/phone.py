"""This device: installing, notifications, what it keeps, and the card for the pocket."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "nav.device": "This phone",
    "more.device_note": "Install, notifications, and a test",
    "phone.title": "This phone",
    "phone.sub": "Put WedSync on it, and let it ring when something needs you.",
    "phone.test": "Test my phone",
    # notifications
    "phone.notices": "Notifications here",
    "phone.name": "{name}, {browser} on {system}",
    "phone.name_plain": "{name}, a browser",
    "phone.off": "Off",
    "phone.on_word": "Works",
    "phone.waiting_word": "Waiting for the first one",
    "phone.none": "This phone does not ring yet",
    "phone.none_body": (
        "With notifications on, a call comes here even while WedSync is closed. Your phone asks "
        "you once whether that is all right."
    ),
    "phone.viewer": "You only look, so nothing calls you",
    "phone.viewer_body": "Members can have notifications. Ask an owner to make you one.",
    "phone.stopped": "Notifications to this phone have stopped",
    "phone.stopped_body": "Turn them on again below.",
    "phone.waiting": "A first notification is on its way",
    "phone.waiting_body": (
        "As soon as this phone has shown it, it counts as proven. Nothing to type."
    ),
    "phone.on": "This phone rings when something needs you",
    "phone.on_body": "It has shown us a notification, so a real call will come, too.",
    "phone.turn_on": "Turn on notifications",
    "phone.turn_off": "Turn them off on this phone",
    "phone.no_script": "Notifications need scripts, which are switched off in this browser.",
    "phone.denied": (
        "Notifications from WedSync are blocked on this phone. Allow them in its settings, under "
        "Notifications or Site settings, then come back."
    ),
    "phone.unsupported": "This browser cannot show notifications. Use another way to be reached.",
    "phone.install_first": (
        "On an iPhone or iPad notifications come once WedSync is on the Home Screen: see below."
    ),
    "phone.lost": (
        "This browser has no notifications any more, whatever stands here. Turn them on again."
    ),
    "phone.failed": (
        "Your browser could not set them up just now. Nothing was changed. Try again with a "
        "better signal."
    ),
    "phone.refused": "Your browser gave an address that cannot be used: {reason}",
    "phone.enough": "Five tries an hour are enough. Wait a little.",
    # the test
    "phone.test_body": "We send a notification here and watch it arrive.",
    "phone.sent": "What became of it",
    "phone.sent_verify": "First notification",
    "phone.sent_test": "Test",
    "phone.hop_queued": "asked for",
    "phone.hop_sent": "handed over",
    "phone.hop_shown": "shown here",
    "phone.shown_after": "Shown on this phone after {length}.",
    "phone.not_shown": (
        "Not shown yet. Is this phone online, and not set to Do not disturb or saving its battery?"
    ),
    # installing
    "phone.install": "Put it on this phone",
    "phone.installed": "WedSync is on this phone.",
    "phone.install_now": "Install WedSync",
    "phone.ios": "iPhone and iPad",
    "phone.ios_1": "Open this page in Safari.",
    "phone.ios_2": "Tap Share, the square with an arrow.",
    "phone.ios_3": "Choose Add to Home Screen, then Add.",
    "phone.ios_4": "Open WedSync from the Home Screen, and turn on notifications there.",
    "phone.android": "Android",
    "phone.android_1": "Open this page in Chrome, and tap the three dots at the top.",
    "phone.android_2": "Choose Install app, or Add to Home screen.",
    "phone.android_3": "Open WedSync from its new icon.",
    "phone.other": "Computer",
    "phone.other_1": "In Chrome or Edge, click the small screen at the right of the address.",
    "phone.other_2": "In Safari on a Mac, choose Add to Dock in the File menu.",
    # what is kept
    "phone.kept": "Without a signal",
    "phone.kept_body": (
        "Today, what is open, and the emergency cards of the next two days stay on this phone, "
        "with the time they are of. They go when you sign out, and when the wedding is over."
    ),
    "phone.sign_out": "Signing out ends notifications to this phone.",
    "phone.on_done": "Turned on. A first notification is on its way.",
    "phone.off_done": "Turned off on this phone.",
    "phone.tested": "A test is on its way.",
    # without a signal
    "offline.title": "No signal",
    "offline.body": "This page was not kept on this phone. Nothing was sent, and nothing is lost.",
    "offline.list": "Kept on this phone",
    "offline.none": "Nothing is kept on this phone.",
    "offline.again": "Try again",
    # what the worker says by itself
    "worker.news": "Something needs you",
    "worker.take": "I'm on it",
    "worker.answer": "I have read this",
    "worker.unsent": "Not sent yet: no signal. Nobody knows that you are on it.",
    "worker.lost": "Notifications to this phone have stopped",
    "worker.lost_body": "Open WedSync and turn them on again, so that calls come here.",
    # the card
    "card.title": "Emergency card",
    "card.open": "Emergency card",
    "card.open_note": "One sheet for the pocket: whom to ring, when is what, what to do.",
    "card.kept": "Kept on this phone until the wedding is over, also without a signal.",
    "card.print": "Print it",
    "card.call": "Whom to ring, in this order",
    "card.yours": "of your team",
    "card.viewer": "Telephone numbers are shown to members only.",
    "card.nobody": "Nobody is entered yet. Add people to the wedding.",
    "card.no_number": "no number",
    "card.times": "When is what",
    "card.if": "If something does not work",
    "card.if_none": ("Nobody has written down yet what to do then. The rules have a place for it."),
    "card.now": "Not all was well when this was made",
    "card.problem": "{title}, since {since} (number {number})",
    "card.made": "Made {time}, by the clock in {town}. Look for changes at",
}
