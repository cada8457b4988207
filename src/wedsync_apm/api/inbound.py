"""What a handler of the door for providers takes and gives."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from wedsync_apm.api.services import Services


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call from outside, nothing of it believed yet. Header names are in lower case."""

    configuration_id: str
    token: str
    url: str
    """The address as the outside knows it."""
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    services: Services = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered to something that was believed."""

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Handler = Callable[[Arrival], Awaitable[Reply]]
"""Raises NotFound for an address of nobody's and Unauthorized for a signature that does not fit."""
