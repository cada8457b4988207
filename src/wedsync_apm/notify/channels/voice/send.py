"""Has one call begun by the provider."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from wedsync_apm.notify.channels.voice.config import NO_ACCOUNT, VoiceTarget
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Outcome, Result
from wedsync_apm.notify.telephone.accounts import Account
from wedsync_apm.notify.telephone.send import Order, place

RING_SECONDS: Final = 30
EVENTS: Final = ("initiated", "ringing", "answered", "completed")


async def send(message: Message, target: VoiceTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt, by each account that can call until one begins it."""
    telephone = tools.telephone
    accounts = [account for account in telephone.accounts if account.can_call] if telephone else []
    url = telephone.callback("voice", message.delivery_id) if telephone else None
    callback = telephone.callback("status", message.delivery_id) if telephone else None
    if not accounts or url is None or callback is None:
        return Outcome(Result.RETRY, NO_ACCOUNT)

    def fields(account: Account) -> dict[str, str]:
        return {
            "To": target.number,
            "From": account.sender or "",
            "Url": url,
            "Method": "POST",
            "StatusCallback": callback,
            "StatusCallbackMethod": "POST",
            "StatusCallbackEvent": " ".join(EVENTS),
            "Timeout": str(RING_SECONDS),
            "MachineDetection": "Enable",
        }

    def is_this(account: Account, entry: Mapping[str, Any]) -> bool:
        # The list tells nothing of the addresses that a call was ordered with.
        return (
            entry.get("to") == target.number
            and entry.get("from") == account.sender
            and entry.get("direction") == "outbound-api"
        )

    return await place(Order("Calls", fields, is_this), message, accounts, tools.to_named, at)
