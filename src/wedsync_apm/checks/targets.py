"""What a check's address means: the scheme says what is done. Pure.

| address | what is done |
|---|---|
| `https://host/path`, `http://…` | calls it, and looks at status, time and words |
| `tcp://host:port` | connects |
| `tls://host` or `tls://host:port` | shakes hands, and looks at the certificate |
| `dns:name?type=MX`, `dns://server/name` | asks for the name (RFC 4501) |
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from wedsync_apm.egress import EgressRefused
from wedsync_apm.egress.policy import MAIL_PORTS, WEB_PORTS
from wedsync_apm.egress.url import port_of, read_url, readable_host

TLS_PORTS: Final = frozenset({443, 465, 636, 853, 990, 993, 995, 8443})
TCP_PORTS: Final = (
    WEB_PORTS
    | MAIL_PORTS
    | TLS_PORTS
    | frozenset({21, 22, 53, 110, 143, 1883, 3306, 5432, 5433, 6379, 6380, 6432, 6543, 8883, 27017})
)
"""Services that people run in public; no other port of a stranger is tried."""
DNS_PORTS: Final = frozenset({53})
RECORD_TYPES: Final = frozenset({"A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"})
# Names of private networks: their answers are the operator's own business.
_PRIVATE_NAMES: Final = frozenset(
    {"arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local",
     "localhost", "onion", "private", "test"}
)  # fmt: skip
_NAME: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}", re.ASCII
)


class Kind(StrEnum):
    """What is done with an address."""

    HTTP = "http"
    TCP = "tcp"
    TLS = "tls"
    DNS = "dns"


_PORTS: Final = {
    Kind.HTTP: WEB_PORTS,
    Kind.TCP: TCP_PORTS,
    Kind.TLS: TLS_PORTS,
    Kind.DNS: DNS_PORTS,
}


@dataclass(frozen=True, slots=True)
class Target:
    """An address, taken apart. `host` is empty where our own name servers are asked."""

    kind: Kind
    url: str
    host: str
    port: int
    name: str = ""
    record_type: str = "A"

    @property
    def ports(self) -> frozenset[int]:
        """The ports that this kind may go to."""
        return _PORTS[self.kind]


def read_target(url: str) -> Target:
    """The parts of an address. Raises EgressRefused for one that may not be a check's."""
    scheme = url.partition(":")[0].lower()
    if scheme in ("http", "https"):
        parts = read_url(url)
        return Target(Kind.HTTP, url, parts.hostname or "", port_of(parts))
    if scheme in ("tcp", "tls"):
        return _read_socket(Kind(scheme), url)
    if scheme == "dns":
        return _read_name(url)
    raise EgressRefused("the address must begin with https://, http://, tcp://, tls:// or dns:")


def _read_socket(kind: Kind, url: str) -> Target:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if kind is Kind.TLS else 0)
    except ValueError as exc:
        raise EgressRefused("the address cannot be read") from exc
    if parts.username is not None or parts.password is not None:
        raise EgressRefused("an address may not hold a user name or password")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise EgressRefused(f"{kind}:// takes a host and a port, and nothing after them")
    if not port:
        raise EgressRefused("tcp:// needs a port: tcp://host:5432")
    return Target(kind, url, readable_host(parts.hostname or ""), port)


def _read_name(url: str) -> Target:
    rest, _, query = url[len("dns:") :].partition("?")
    host, port = "", 53
    if rest.startswith("//"):
        authority, _, rest = rest[2:].partition("/")
        try:
            parts = urlsplit(f"//{authority}")
            host, port = readable_host(parts.hostname or ""), parts.port or 53
        except ValueError as exc:
            raise EgressRefused("the address cannot be read") from exc
        if "@" in authority:
            raise EgressRefused("an address may not hold a user name or password")
    name = unquote(rest).strip("/").rstrip(".").lower()
    try:
        name = name.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise EgressRefused("the name cannot be read") from exc
    if len(name) > 253 or not _NAME.fullmatch(name) or _is_address(name):
        raise EgressRefused("dns: takes a whole name, such as dns:example.com?type=MX")
    if name.rpartition(".")[2] in _PRIVATE_NAMES:
        raise EgressRefused("names of private networks are not asked for")
    record_type = parse_qs(query.upper().replace(";", "&")).get("TYPE", ["A"])[0]
    if record_type not in RECORD_TYPES:
        raise EgressRefused(f"the type must be one of {', '.join(sorted(RECORD_TYPES))}")
    return Target(Kind.DNS, url, host, port, name, record_type)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
