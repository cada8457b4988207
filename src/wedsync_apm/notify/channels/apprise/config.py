"""Where a message goes by Apprise: one address of a service, which holds its secrets.

Only the scheme and a few options are judged here. The library itself reads an address in a process
of its own, when the first message goes out: the code that proves the contact.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.notify.channels.apprise.services import SERVICES, Service
from wedsync_apm.notify.channels.fields import Given, NewTarget, needed
from wedsync_apm.notify.message import Tools

FIELDS: Final = ("url",)
SWITCHED_OFF: Final = (
    "Apprise is switched off here (WEDSYNC_APM_APPRISE), so this stays here and went to nobody."
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.+-]{0,63})://[\x21-\x7e]+")
_OFF: Final = frozenset({"no", "n", "off", "false", "f", "0", "never", "deny", "disabled"})
_FILES: Final = frozenset({"template", "keyfile", "subfile", "pgpkey", "pgp", "attach", "image"})
_OURS: Final = frozenset(
    {"retry", "wait", "optional", "redirect", "store", "cto", "rto", "format", "overflow", "emojis"}
)


@dataclass(frozen=True, slots=True)
class AppriseTarget:
    """An Apprise address, and the service that it names."""

    url: str = field(repr=False)
    service: Service

    @property
    def secret(self) -> str:
        """The form in which it is sealed and stored."""
        return self.url


def read_fields(given: Given) -> NewTarget:
    """The `url` that Apprise documents for a service. Raises NotValid with the field."""
    target = _read(needed(given, "url", "Apprise"))
    return NewTarget(target.service.name, target.secret)


def configure(address: str, secret: str | None) -> AppriseTarget:
    """The receiver of a contact, from its opened secret. Raises NotValid if it cannot be used."""
    return _read(secret or "")


def unready(tools: Tools) -> str | None:
    """Why nothing goes out by Apprise at all; None when it does."""
    return None if tools.has_apprise else SWITCHED_OFF


def _read(url: str) -> AppriseTarget:
    found = _SCHEME.fullmatch(url)
    if found is None:
        raise _wrong("must be an Apprise address, as discord://…, without spaces")
    scheme = found[1].lower()
    if scheme in ("http", "https"):
        raise _wrong("must begin with the service's own scheme, as discord://…")
    service = SERVICES.get(scheme)
    if service is None:
        raise _wrong(f"names no service that Apprise knows: {scheme}://")
    if service.refusal is not None:
        raise _wrong(service.refusal)
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if name.lower() in _FILES:
            raise _wrong(f"names a file ({name}), and files of this machine are nobody's")
        if name.lower() in _OURS:
            raise _wrong(f"sets what is not its to set ({name}): leave that out")
        if name.lower() == "verify" and value.strip().lower() in _OFF:
            raise _wrong("asks for certificates that are not verified (verify): leave that out")
    return AppriseTarget(url, service)


def _wrong(reason: str) -> NotValid:
    return NotValid(errors=[FieldError("url", reason)])
