"""Connects, and hangs up."""

import time

from wedsync_apm.checks.model import DueCheck, Seen
from wedsync_apm.checks.targets import Target
from wedsync_apm.egress import EgressClient


async def look(client: EgressClient, target: Target, check: DueCheck) -> Seen:
    """One connection: the time until it stands."""
    begun = time.monotonic()
    connection = await client.connect(
        target.host, target.port, ports=target.ports, timeout_seconds=check.timeout_seconds
    )
    elapsed = time.monotonic() - begun
    connection.close()
    return Seen(response_time_ms=elapsed * 1000)
