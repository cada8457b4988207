"""Where a call goes: one telephone number, nothing secret."""

from dataclasses import dataclass
from typing import Final

from wedsync_apm.notify.message import Tools
from wedsync_apm.notify.telephone.numbers import read_number

NO_ACCOUNT: Final = (
    "Calls are not set up here (WEDSYNC_APM_TWILIO_ACCOUNT_SID, a number in "
    "WEDSYNC_APM_TWILIO_FROM, and WEDSYNC_APM_PUBLIC_URL), so this stays here and went to nobody."
)


@dataclass(frozen=True, slots=True)
class VoiceTarget:
    """One telephone, by its number in E.164."""

    number: str

    @property
    def address(self) -> str:
        """The number as it is kept."""
        return self.number


def configure(address: str, secret: str | None) -> VoiceTarget:
    """The telephone of a contact. Raises NotValid if its number is none."""
    return VoiceTarget(read_number(address, for_texts=False))


def unready(tools: Tools) -> str | None:
    """Why nobody can be called at all; None when they can."""
    telephone = tools.telephone
    if telephone is None or telephone.public_url is None:
        return NO_ACCOUNT
    return None if any(account.can_call for account in telephone.accounts) else NO_ACCOUNT
