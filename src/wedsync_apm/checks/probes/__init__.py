"""Looks at services over the network: one module for each kind of address.

Whatever is dialled goes through the egress client, which resolves the name once, has the policy
judge every address, and dials one of exactly those. Nothing here raises but what is a defect: that
a service is away is what is being asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from wedsync_apm.checks.model import DueCheck, Seen
from wedsync_apm.checks.probes import dns, http, tcp, tls
from wedsync_apm.checks.targets import Kind, Target, read_target
from wedsync_apm.egress import EgressClient, EgressFailed, EgressRefused

_LOOKS: Final[Mapping[Kind, Callable[[EgressClient, Target, DueCheck], Awaitable[Seen]]]] = {
    Kind.HTTP: http.look,
    Kind.TCP: tcp.look,
    Kind.TLS: tls.look,
    Kind.DNS: dns.look,
}


@dataclass(frozen=True, slots=True)
class Prober:
    """Looks on behalf of tenants; on behalf of the platform, for its own checks of itself, also at
    our own address."""

    client: EgressClient
    own_client: EgressClient | None = None

    async def look(self, check: DueCheck, url: str) -> Seen:
        """One look within the check's time."""
        client = (self.own_client or self.client) if check.is_platform else self.client
        try:
            target = read_target(url)
            return await _LOOKS[target.kind](client, target, check)
        except EgressRefused as exc:
            return Seen(refusal=exc.reason)
        except EgressFailed as exc:
            return Seen(silence=exc.reason)
