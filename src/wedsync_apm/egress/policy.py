"""Which addresses our own calls may reach: pure decisions, no sockets.

A tenant names hosts that we then call from inside the operator's network, so the rule is a list of
what is allowed (global unicast on the web's ports) and never a list of what is forbidden. Only the
operator can widen it, by settings.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Self

from wedsync_apm.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})
MAIL_PORTS: Final = frozenset({25, 465, 587, 2525})

_DENIED_V4: Final[tuple[tuple[IPv4Network, str], ...]] = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own services"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# Everything outside 2000::/3 is refused as a whole; the first names are only better words for it.
# What carries an IPv4 address inside (mapped, NAT64, 6to4, Teredo) would reach that address.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_DENIED_V6: Final[tuple[tuple[IPv6Network, str], ...]] = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4 inside IPv6 (mapped)"),
        ("::ffff:0:0:0/96", "IPv4 inside IPv6 (translated)"),
        ("::/96", "IPv4 inside IPv6 (compatible)"),
        ("64:ff9b::/96", "IPv4 inside IPv6 (NAT64)"),
        ("64:ff9b:1::/48", "IPv4 inside IPv6 (NAT64)"),
        ("100::/64", "discard"),
        ("2001::/32", "IPv4 inside IPv6 (Teredo)"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "IPv4 inside IPv6 (6to4)"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)


def denial(address: Address) -> str | None:
    """Why nobody's call may reach this address, in plain words; None where it may."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _DENIED_V4 if address in network), None)
    for network, why in _DENIED_V6:
        if address in network:
            return why
    if address not in _GLOBAL_V6:
        return "not global unicast"
    # ISATAP puts an IPv4 address behind 0000:5efe or 0200:5efe, under any prefix.
    if (int(address) >> 32) & 0xFDFF_FFFF == 0x0000_5EFE:
        return "IPv4 inside IPv6 (ISATAP)"
    return None


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The operator's exceptions; a port of None stands for every port.

    A host stands for the name exactly as written, wherever it resolves to. A network opens its
    addresses, by whatever name they are reached.
    """

    networks: frozenset[tuple[Network, int | None]] = frozenset()
    hosts: frozenset[tuple[str, int | None]] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """From the words of the setting: hosts, addresses or networks, each with or without :port.

        An IPv6 address or network with a port wants brackets round it: [fd00::1]:8080. Raises
        ConfigurationError with the entry that cannot be read.
        """
        networks: set[tuple[Network, int | None]] = set()
        hosts: set[tuple[str, int | None]] = set()
        for entry in filter(None, map(str.strip, entries)):
            if (network := _network(entry)) is not None:
                networks.add((network, None))
                continue
            host, colon, digits = entry.rpartition(":")
            port = int(digits) if colon and digits.isascii() and digits.isdigit() else None
            host = host if port is not None else entry
            if port is not None and (network := _network(host)) is not None:
                networks.add((network, port))
                continue
            try:
                hosts.add((plain_host(host), port))
            except ValueError as exc:
                raise ConfigurationError(
                    f"WEDSYNC_APM_EGRESS_ALLOW: cannot read {entry!r}; write a host, an address "
                    "or a network (10.1.0.0/16), with :port if only that one is meant"
                ) from exc
        return cls(frozenset(networks), frozenset(hosts))

    def allowing(self, *entries: str) -> Self:
        """The same policy with more exceptions, for calls that the operator himself makes."""
        more = self.parse(entries)
        return replace(
            self,
            networks=self.networks | more.networks,
            hosts=self.hosts | more.hosts,
        )

    def refusal(
        self,
        host: str,
        port: int,
        addresses: Collection[Address],
        *,
        own: Collection[Address] = (),
        ports: Collection[int] = WEB_PORTS,
    ) -> str | None:
        """Why a call to `host` that resolved to `addresses` is refused; None when it may go.

        One bad address refuses the whole name: a name that mixes good and bad ones is an attack or
        a mistake, and we cannot tell which of them would have been dialled. `own` are the addresses
        of this machine's interfaces.
        """
        host = plain_host(host)
        if not self.hosts.isdisjoint({(host, port), (host, None)}):
            return None
        if not addresses:
            return "the name has no address"
        for address in addresses:
            if any(address in network for network, only in self.networks if only in (port, None)):
                continue
            if (why := denial(address)) is not None:
                return f"it leads to an address that is {why}"
            if address in own:
                return "it leads to this machine itself"
            if (why := _port_denial(port, ports)) is not None:
                return why
        return None

    def port_refusal(self, host: str, port: int, ports: Collection[int]) -> str | None:
        """Why a port may not be called, wherever the host leads, which nobody knows yet; None when
        it may be, or when the host is one of the operator's own."""
        host = plain_host(host)
        if not self.hosts.isdisjoint({(host, port), (host, None)}):
            return None
        return _port_denial(port, ports)


def _port_denial(port: int, ports: Collection[int]) -> str | None:
    if port in ports:
        return None
    return f"port {port} is not one of {', '.join(map(str, sorted(ports)))}"


def plain_host(host: str) -> str:
    """A host as it is compared: lower case, ASCII, no trailing dot. Raises ValueError if unfit."""
    host = host.rstrip(".").lower()
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        ascii_host = host.encode("idna").decode("ascii").lower()
    except UnicodeError as exc:
        raise ValueError("the host name cannot be read") from exc
    if not ascii_host or len(ascii_host) > 253 or not _HOST_CHARACTERS.issuperset(ascii_host):
        raise ValueError("the host name cannot be read")
    return ascii_host


_HOST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None
