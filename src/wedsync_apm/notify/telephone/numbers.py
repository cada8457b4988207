"""Telephone numbers: E.164, and nothing that only looks like one."""

import re
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from wedsync_apm.errors import FieldError, NotValid

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
# A text there reaches nobody, or costs the caller: what we refuse whatever its digits.
_REFUSED: Final = {
    PhoneNumberType.PREMIUM_RATE: "is a premium-rate number",
    PhoneNumberType.SHARED_COST: "is a shared-cost number",
    PhoneNumberType.UAN: "is a company's access number",
    PhoneNumberType.VOICEMAIL: "is a mailbox",
}


def is_number(text: str) -> bool:
    """Whether it is written as E.164 has it."""
    return _E164.fullmatch(text) is not None


def read_number(text: str, *, for_texts: bool) -> str:
    """The number in E.164, from how people write it with its country's code.

    Raises NotValid with the field for what is no number, or none that can be used.
    """
    try:
        if len(text) > 40:
            raise NumberParseException(NumberParseException.TOO_LONG, "too long")
        number = phonenumbers.parse(text, None)
    except NumberParseException:
        raise _refused("must be a telephone number with its country, like +44 7700 900123") from (
            None
        )
    if number.extension or not phonenumbers.is_possible_number(number):
        raise _refused("is no telephone number")
    kind = phonenumbers.number_type(number)
    if kind in _REFUSED:
        raise _refused(_REFUSED[kind])
    if for_texts and kind == PhoneNumberType.FIXED_LINE:
        raise _refused("is a landline, which takes no texts")
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


def _refused(why: str) -> NotValid:
    return NotValid(errors=[FieldError("address", why)])
