"""Where a text goes: one telephone number, nothing secret."""

from dataclasses import dataclass
from typing import Final

from wedsync_apm.notify.message import Tools
from wedsync_apm.notify.telephone.numbers import read_number

NO_ACCOUNT: Final = (
    "Text messages are not set up here (WEDSYNC_APM_TWILIO_ACCOUNT_SID), so this stays here and "
    "went to nobody."
)


@dataclass(frozen=True, slots=True)
class SmsTarget:
    """One telephone, by its number in E.164."""

    number: str

    @property
    def address(self) -> str:
        """The number as it is kept."""
        return self.number


def configure(address: str, secret: str | None) -> SmsTarget:
    """The telephone of a contact. Raises NotValid if its number is none that takes texts."""
    return SmsTarget(read_number(address, for_texts=True))


def unready(tools: Tools) -> str | None:
    """Why no text can be sent at all; None when it can."""
    telephone = tools.telephone
    if telephone is None or not any(account.can_text for account in telephone.accounts):
        return NO_ACCOUNT
    return None
