"""Shakes hands as a browser would, and reads when the certificate ends."""

import asyncio
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime

from wedsync_apm.checks.model import DueCheck, Seen
from wedsync_apm.checks.targets import Target
from wedsync_apm.egress import EgressClient, EgressFailed, Failure


async def look(client: EgressClient, target: Target, check: DueCheck) -> Seen:
    """One handshake. A certificate that is not valid for the name is no answer, with the reason."""
    begun = time.monotonic()
    connection = await client.connect(
        target.host, target.port, ports=target.ports, timeout_seconds=check.timeout_seconds
    )
    left = check.timeout_seconds - (time.monotonic() - begun)
    writer = None
    try:
        async with asyncio.timeout(left):
            _, writer = await asyncio.open_connection(
                sock=connection, ssl=client.ssl_context, server_hostname=target.host
            )
    except TimeoutError as exc:
        why = f"{target.host} did not shake hands within {check.timeout_seconds:g} s"
        raise EgressFailed(Failure.TIMEOUT, why) from exc
    except ssl.SSLCertVerificationError as exc:
        why = f"{target.host} has no valid certificate: {exc.verify_message}"
        raise EgressFailed(Failure.TLS, why) from exc
    except OSError as exc:  # an SSLError is one
        why = f"{target.host} does not shake hands"
        raise EgressFailed(Failure.TLS, why) from exc
    finally:
        if writer is None:
            connection.close()
    elapsed = time.monotonic() - begun
    certificate = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return Seen(
        response_time_ms=elapsed * 1000,
        certificate_ends_at=datetime.fromtimestamp(
            ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC
        ),
    )
