"""What people say of where a contact is, checked by its channel."""

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels import sender_for
from wedsync_apm.notify.channels.fields import Given, NewTarget
from wedsync_apm.types import Channel

Target = NewTarget


def read_target(channel: Channel, address: str, given: Given) -> Target:
    """What was sent of a contact, checked by its channel. Raises NotValid with the field.

    `given` is what goes beside the address; a channel refuses what it has no use for, lest it is
    taken for kept.
    """
    sender = sender_for(channel)
    given = {name: value for name, value in given.items() if value}
    if strange := sorted(given.keys() - set(sender.fields)):
        reason = f"is not used by {channel.value}"
        raise NotValid(errors=[FieldError(name, reason) for name in strange])
    if sender.read_fields is not None:
        return sender.read_fields(given)
    return Target(sender.configure(address, None).address)
