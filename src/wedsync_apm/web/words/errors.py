"""What a page says when it cannot be shown."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "no_business.title": "You are signed in, but belong to no business yet",
    "no_business.body": "Ask the owner of your business to add you, then open this page again.",
    "no_business.do": "Sign in as somebody else",
    "error.401.title": "Sign in to see this",
    "error.401.body": "You are not signed in, or it has been a while.",
    "error.401.do": "Sign in",
    "error.403.title": "You may not do this",
    "error.403.body": "Nothing was changed. Ask an owner of your business.",
    "error.403.do": "Go to Today",
    "error.404.title": "There is nothing here",
    "error.404.body": "Or it belongs to another business.",
    "error.404.do": "Go to Today",
    "error.409.title": "This has moved on",
    "error.409.body": "Somebody else changed it first. Nothing was lost.",
    "error.409.do": "See how it is now",
    "error.413.title": "That is too long",
    "error.413.body": "Nothing was changed. Go back: what you typed is still there.",
    "error.413.do": "Go to Today",
    "error.422.title": "Something does not fit yet",
    "error.422.body": "Nothing was changed. Go back and look at the marked field.",
    "error.422.do": "Go to Today",
    "error.429.title": "Too many tries",
    "error.429.body": "Wait a little and try again. Nothing was lost.",
    "error.429.do": "Go to Today",
    "error.500.title": "That did not work, and it is our fault",
    "error.500.body": "Nothing was changed. Try again, or call the help line. "
    "Reference {reference}.",
    "error.500.do": "Try again",
    "error.503.title": "We cannot reach our database",
    "error.503.body": "Nothing was changed. We do not say that all is well when we cannot know.",
    "error.503.do": "Try again",
}
