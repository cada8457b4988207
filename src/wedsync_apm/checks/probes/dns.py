"""Asks for a name, of our own name servers or of one that the check names.

A name server that a check names is dialled at an address that the policy has judged. Our own name
servers know names of our network, so what leads to an address that may not be called is not told:
names are looked up here for whoever asks.
"""

import time
from ipaddress import ip_address

import dns.asyncresolver
import dns.exception
import dns.message
import dns.rdatatype
import dns.resolver

from wedsync_apm.checks.model import DueCheck, Seen
from wedsync_apm.checks.targets import Target
from wedsync_apm.egress import EgressClient, EgressFailed, EgressRefused, Failure

MOST_ANSWERS = 50


async def look(client: EgressClient, target: Target, check: DueCheck) -> Seen:
    """One question: the answers as they are written in zone files, sorted."""
    servers: tuple[list[str], int] | None = None
    if target.host:
        addresses = await client.addresses(target.host, target.port, ports=target.ports)
        servers = [str(one) for one in addresses], target.port
    return await ask(client, target, check, servers)


async def ask(
    client: EgressClient,
    target: Target,
    check: DueCheck,
    servers: tuple[list[str], int] | None = None,
) -> Seen:
    """One question to exactly these servers, without any to our own. Raises EgressFailed without an
    answer, EgressRefused for one that is not told."""
    try:
        resolver = dns.asyncresolver.Resolver(configure=servers is None)
    except dns.resolver.NoResolverConfiguration as exc:
        raise EgressFailed(Failure.DNS, "no name server is set up here") from exc
    if servers is not None:
        # The servers take the port that is set when they are.
        resolver.port = servers[1]
        resolver.nameservers = [*servers[0]]
    resolver.lifetime = check.timeout_seconds
    resolver.timeout = max(check.timeout_seconds / 2, 0.1)
    resolver.search = []
    begun = time.monotonic()
    try:
        answer = await resolver.resolve(f"{target.name}.", target.record_type, search=False)
    except dns.resolver.NXDOMAIN as exc:
        raise EgressFailed(Failure.DNS, f"the name {target.name} does not exist") from exc
    except dns.resolver.NoAnswer as exc:
        why = f"{target.name} has no {target.record_type} record"
        raise EgressFailed(Failure.DNS, why) from exc
    except dns.exception.Timeout as exc:
        why = f"nobody answered for {target.name} within {check.timeout_seconds:g} s"
        raise EgressFailed(Failure.TIMEOUT, why) from exc
    except (dns.exception.DNSException, OSError) as exc:
        raise EgressFailed(Failure.DNS, f"no name server answers for {target.name}") from exc
    elapsed = time.monotonic() - begun
    found = sorted(one.to_text() for one in list(answer)[:MOST_ANSWERS])
    if target.record_type in ("A", "AAAA"):
        denial = client.refusal(target.name, [ip_address(one) for one in found])
        if denial is not None:
            raise EgressRefused(f"{target.name} may not be looked up: {denial}")
    return Seen(response_time_ms=elapsed * 1000, dns_answers=tuple(found))
