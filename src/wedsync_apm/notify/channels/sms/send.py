"""Has one text taken by the provider."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from wedsync_apm.notify.channels.sms.config import NO_ACCOUNT, SmsTarget
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Kind, Outcome, Result
from wedsync_apm.notify.telephone.accounts import Account
from wedsync_apm.notify.telephone.send import Order, place

# What the provider could not hand over by then is given back to us, and told anew in fresh words.
VALID_SECONDS: Final = 300
VALID_SECONDS_OF_CODES: Final = 900


async def send(message: Message, target: SmsTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt, by each account that can text until one takes it."""
    telephone = tools.telephone
    accounts = [account for account in telephone.accounts if account.can_text] if telephone else []
    if telephone is None or not accounts:
        return Outcome(Result.RETRY, NO_ACCOUNT)
    body = message.body
    callback = telephone.callback("status", message.delivery_id)
    valid = VALID_SECONDS_OF_CODES if message.kind is Kind.VERIFY else VALID_SECONDS

    def fields(account: Account) -> dict[str, str]:
        values = {"To": target.number, "Body": body, "ValidityPeriod": str(valid)}
        if account.messaging_service_sid:
            values["MessagingServiceSid"] = account.messaging_service_sid
        else:
            values["From"] = account.sender or ""
        if callback is not None:
            values["StatusCallback"] = callback
        return values

    def is_this(account: Account, entry: Mapping[str, Any]) -> bool:
        # A link in it is this message's alone; an end or an update has none.
        return entry.get("to") == target.number and entry.get("body") == body

    return await place(Order("Messages", fields, is_this), message, accounts, tools.to_named, at)
