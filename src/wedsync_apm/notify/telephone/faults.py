"""What Twilio's error codes mean for a message: whose fault it is, and what follows.

The codes are those of Twilio's error and warning dictionary.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Whose fault it is that a message did not go through."""

    NUMBER = "number"
    """It can never be reached: the contact is switched off."""
    HANDSET = "handset"
    """It cannot be reached now: off, out of reach, engaged. Another try is worth it."""
    MESSAGE = "message"
    """This message is not taken, now or later."""
    ACCOUNT = "account"
    """The provider or our account with it is in trouble: another account may do better."""


_NOT_A_NUMBER: Final = "the provider says that it is no telephone number"
_NO_TEXTS: Final = "the provider says that this number takes no texts"
_UNKNOWN: Final = "the provider says that this number is not in use"
STOPPED: Final = "they answered STOP"
"""Why a contact is off that has asked for it; START puts it on again."""

WHY_OFF: Final[Mapping[int, str]] = {
    13224: _NOT_A_NUMBER,
    21211: _NOT_A_NUMBER,
    21214: _UNKNOWN,
    21217: _NOT_A_NUMBER,
    21401: _NOT_A_NUMBER,
    21421: _NOT_A_NUMBER,
    21610: STOPPED,
    21614: _NO_TEXTS,
    30005: _UNKNOWN,
    30006: _NO_TEXTS,
}
_HANDSET: Final = frozenset({30003, 30008, 30036, 30010, 32011, 32016})
_MESSAGE: Final = frozenset({21602, 21617, 21619, 21623, 30004, 30019})


def fault_of(code: int | None, status: int) -> Fault:
    """Whose fault an error code is, or, where none came, an HTTP status."""
    if code in WHY_OFF:
        return Fault.NUMBER
    if code in _HANDSET:
        return Fault.HANDSET
    if code in _MESSAGE:
        return Fault.MESSAGE
    # What we do not know is not held against the message: an alert may go out twice, never not.
    return Fault.MESSAGE if code is None and status in (400, 413, 414, 422) else Fault.ACCOUNT
