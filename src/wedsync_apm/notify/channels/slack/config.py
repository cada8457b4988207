"""Where a Slack message goes: an address that is itself the secret."""

from dataclasses import dataclass, field

from wedsync_apm.egress import EgressRefused
from wedsync_apm.egress.url import read_url
from wedsync_apm.errors import FieldError, NotValid


@dataclass(frozen=True, slots=True)
class SlackTarget:
    """The incoming webhook's address."""

    url: str = field(repr=False)

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        return self.url


def new_target(url: str) -> tuple[str, SlackTarget]:
    """A new receiver: the address to show (its host), and what to seal. Raises NotValid."""
    target = configure("", url)
    return read_url(url).netloc, target


def configure(address: str, secret: str | None) -> SlackTarget:
    """The receiver of a contact, from its opened secret. Raises NotValid if it cannot be used."""
    try:
        read_url(secret or "")
    except EgressRefused as exc:
        raise NotValid(errors=[FieldError("url", exc.reason)]) from exc
    return SlackTarget(secret or "")
