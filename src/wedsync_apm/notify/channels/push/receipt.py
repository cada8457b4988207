"""What a browser sends back when it has shown a message, and when somebody opened it."""

import hmac
import re
from enum import StrEnum
from typing import Final
from uuid import UUID

from wedsync_apm.organizations.secrets import Keyring

_PURPOSE: Final = "push receipt"
_TOKEN: Final = re.compile(r"([0-9a-f]{32})\.[A-Za-z0-9_-]{22}")


class Seen(StrEnum):
    """What became of a message in the browser."""

    SHOWN = "shown"
    OPENED = "opened"
    REFUSED = "refused"
    """It came, and the person does not let us show it any more."""

    @property
    def receipt(self) -> str:
        """The same as a delivery has it."""
        return {Seen.SHOWN: "delivered", Seen.OPENED: "read", Seen.REFUSED: "failed"}[self]


def receipt_token(keyring: Keyring, delivery_id: UUID) -> str:
    """What the message's browser signs its receipts with. It says nothing but that this message
    has come: whoever has it can do nothing else by it."""
    return f"{delivery_id.hex}.{keyring.token(_PURPOSE, delivery_id)}"


def read_receipt_token(keyring: Keyring, token: str) -> UUID | None:
    """The message of a token; None for one that is not ours."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    delivery_id = UUID(found[1])
    ours = receipt_token(keyring, delivery_id)
    return delivery_id if hmac.compare_digest(ours, token) else None
