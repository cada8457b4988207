"""Where an e-mail goes: one address, nothing secret."""

import re
from dataclasses import dataclass
from typing import Final

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.message import Tools

# Stricter than RFC 5322 on purpose: no quotes, comments, groups or lists, so that an address can
# never turn into two, or into a header.
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?=.{1,255}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


NO_SERVER: Final = (
    "E-mail is not set up here (WEDSYNC_APM_SMTP_URL), so this stays here and went to nobody."
)


@dataclass(frozen=True, slots=True)
class EmailTarget:
    """One mailbox."""

    address: str


def configure(address: str, secret: str | None) -> EmailTarget:
    """The mailbox of a contact. Raises NotValid if the address is none."""
    if not _ADDRESS.fullmatch(address):
        raise NotValid(errors=[FieldError("address", "is not one e-mail address")])
    return EmailTarget(address)


def unready(tools: Tools) -> str | None:
    """Why no e-mail can be sent at all; None when it can."""
    return NO_SERVER if tools.mail is None else None
