"""Which addresses a call may reach."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.egress.errors import EgressRefused
from wedsync_apm.egress.policy import EgressPolicy, denial, plain_host
from wedsync_apm.egress.url import read_url
from wedsync_apm.errors import ConfigurationError

PUBLIC_V4 = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.32.0.1"]
PUBLIC_V6 = ["2606:4700:4700::1111", "2a00:1450:4001:82a::200e"]
REFUSED = [
    "0.0.0.0",  # noqa: S104 - an address to refuse, nothing listens
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.8.9.10",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:53aa:64c:0:0:f5ff:fffe",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2606:4700::5efe:a00:1",
    "2606:4700::200:5efe:127.0.0.1",
]


@pytest.mark.parametrize("address", PUBLIC_V4 + PUBLIC_V6)
def test_public_addresses_may_be_called(address: str) -> None:
    assert denial(ip_address(address)) is None


@pytest.mark.parametrize("address", REFUSED)
def test_everything_that_is_not_plainly_public_is_refused(address: str) -> None:
    assert denial(ip_address(address))


@given(st.ip_addresses(v=4))
def test_nothing_passes_that_python_calls_private(address: IPv4Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert denial(address) is not None or address in {
            # Private to Python 3.11 only by an old registry: anycast hosts for NAT and TURN.
            IPv4Address("192.0.0.9"),
            IPv4Address("192.0.0.10"),
        }


@given(st.ip_addresses(v=6))
def test_no_ipv6_outside_global_unicast_passes(address: IPv6Address) -> None:
    if int(address) >> 125 != 1:
        assert denial(address) is not None


@given(st.ip_addresses(v=4))
def test_no_wrapping_of_an_ipv4_address_passes(address: IPv4Address) -> None:
    inside = int(address)
    for wrapped in (
        inside,
        0xFFFF << 32 | inside,
        0xFFFF << 48 | inside,
        0x64FF9B << 96 | inside,
        0x2002 << 112 | inside << 80 | 1,
        0x20010000 << 96 | (inside ^ 0xFFFFFFFF),
    ):
        assert denial(IPv6Address(wrapped)) is not None


def refusal(policy: EgressPolicy, host: str, port: int, *addresses: str) -> str | None:
    return policy.refusal(host, port, [ip_address(address) for address in addresses])


def test_one_bad_address_refuses_the_whole_name() -> None:
    assert refusal(EgressPolicy(), "a.example", 443, "8.8.8.8") is None
    assert refusal(EgressPolicy(), "a.example", 443, "8.8.8.8", "10.0.0.1")
    assert refusal(EgressPolicy(), "a.example", 443)


@pytest.mark.parametrize("port", [80, 443, 8080, 8443])
def test_the_webs_ports_are_open(port: int) -> None:
    assert refusal(EgressPolicy(), "a.example", port, "8.8.8.8") is None


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 79, 81, 444, 8081, 65535])
def test_other_ports_are_not(port: int) -> None:
    assert "port" in (refusal(EgressPolicy(), "a.example", port, "8.8.8.8") or "")


def test_this_machine_is_refused_by_any_of_its_addresses() -> None:
    public = ip_address("8.8.8.8")
    why = EgressPolicy().refusal("me.example", 443, [public], own=[public])
    assert why == "it leads to this machine itself"


def test_an_exception_for_an_endpoint_is_for_that_name_and_port_only() -> None:
    policy = EgressPolicy.parse(["Mail.Internal.Example:2525", "127.0.0.1:9000", "[::1]:9000"])
    assert refusal(policy, "mail.internal.example.", 2525, "10.0.0.1") is None
    assert refusal(policy, "127.0.0.1", 9000, "127.0.0.1") is None
    assert refusal(policy, "::1", 9000, "::1") is None
    assert refusal(policy, "127.0.0.1", 9001, "127.0.0.1")
    assert refusal(policy, "mail.internal.example", 25, "10.0.0.1")
    for trap in ("mail.internal.example.evil.example", "xmail.internal.example", "localhost"):
        assert refusal(policy, trap, 2525, "10.0.0.1")


def test_an_exception_for_a_network_opens_its_addresses() -> None:
    policy = EgressPolicy.parse(["10.1.0.0/16", "fd00::/8", "10.2.0.0/16:9090", "db.example"])
    assert refusal(policy, "a.example", 9090, "10.1.2.3") is None
    assert refusal(policy, "a.example", 9090, "fd12::1") is None
    assert refusal(policy, "a.example", 9090, "10.2.0.1") is None
    assert refusal(policy, "db.example", 5432, "192.168.0.1") is None
    assert refusal(policy, "a.example", 9091, "10.2.0.1")
    assert refusal(policy, "a.example", 9090, "10.1.2.3", "10.3.0.1")
    assert refusal(policy, "a.example", 80, "::ffff:10.1.2.3")


def test_more_exceptions_make_another_policy() -> None:
    policy = EgressPolicy.parse(["10.1.0.0/16"])
    more = policy.allowing("127.0.0.1:8080")
    assert refusal(policy, "127.0.0.1", 8080, "127.0.0.1")
    assert refusal(more, "127.0.0.1", 8080, "127.0.0.1") is None
    assert refusal(more, "x.example", 1, "10.1.0.9") is None


@pytest.mark.parametrize("entry", ["a b:80", "10.0.0.0/33", "http://x:80/", "fe80::/200"])
def test_an_unreadable_exception_stops_with_the_entry(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="EGRESS_ALLOW"):
        EgressPolicy.parse([entry])


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("EXAMPLE.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("FD00::0:1", "fd00::1"),
    ],
)
def test_hosts_are_compared_in_one_form(host: str, plain: str) -> None:
    assert plain_host(host) == plain


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com",
        "//example.com/",
        "https:///path",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://a..b/",
        "https://" + "a" * 64 + ".example/",
        "",
    ],
)
def test_addresses_that_are_refused_unread(url: str) -> None:
    with pytest.raises(EgressRefused) as caught:
        read_url(url)
    assert "secret" not in str(caught.value)
