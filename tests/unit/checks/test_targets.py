"""What a check's address means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.checks.targets import Kind, read_target
from wedsync_apm.checks.templates import TEMPLATES
from wedsync_apm.egress import EgressRefused


@pytest.mark.parametrize(
    ("url", "kind", "host", "port", "name", "record_type"),
    [
        ("https://Fern.example/x?y=1", Kind.HTTP, "fern.example", 443, "", "A"),
        ("http://fern.example:8080", Kind.HTTP, "fern.example", 8080, "", "A"),
        ("tcp://db.fern.example:5432", Kind.TCP, "db.fern.example", 5432, "", "A"),
        ("tcp://[2a00::1]:443", Kind.TCP, "2a00::1", 443, "", "A"),
        ("tls://fern.example", Kind.TLS, "fern.example", 443, "", "A"),
        ("tls://mail.fern.example:993/", Kind.TLS, "mail.fern.example", 993, "", "A"),
        ("dns:Fern.Example.", Kind.DNS, "", 53, "fern.example", "A"),
        ("dns:fern.example?type=mx", Kind.DNS, "", 53, "fern.example", "MX"),
        ("dns:fern.example?CLASS=IN;TYPE=TXT", Kind.DNS, "", 53, "fern.example", "TXT"),
        ("dns:_sip._tcp.fern.example?type=SRV", Kind.DNS, "", 53, "_sip._tcp.fern.example", "SRV"),
        ("dns://9.9.9.9/fern.example", Kind.DNS, "9.9.9.9", 53, "fern.example", "A"),
        ("dns:blümen.example", Kind.DNS, "", 53, "xn--blmen-lva.example", "A"),
    ],
)
def test_an_address_is_taken_apart(
    *, url: str, kind: Kind, host: str, port: int, name: str, record_type: str
) -> None:
    target = read_target(url)
    assert (target.kind, target.host, target.port) == (kind, host, port)
    assert (target.name, target.record_type) == (name, record_type)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fern.example",
        "ftp://fern.example",
        "file:///etc/passwd",
        "https://user:word@fern.example",
        "tcp://user@fern.example:443",
        "tcp://fern.example",
        "tcp://fern.example:0",
        "tcp://fern.example:99999",
        "tcp://fern.example:443/x",
        "tls://",
        "dns:",
        "dns:com",
        "dns:10.0.0.1",
        "dns:1.0.0.10.in-addr.arpa",
        "dns:printer.local",
        "dns:metadata.google.internal",
        "dns:fern.example?type=ANY",
        "dns:fern.example?type=AXFR",
        "dns:" + "a" * 64 + ".example",
        "dns:" + "a." * 130 + "example",
        "dns://user@9.9.9.9/fern.example",
    ],
)
def test_what_is_none_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        read_target(url)


@given(
    st.sampled_from(["", "http://", "https://", "tcp://", "tls://", "dns:", "dns://", "DNS:"]),
    st.text(max_size=60),
)
def test_whatever_is_given_is_read_or_refused(scheme: str, rest: str) -> None:
    try:
        target = read_target(scheme + rest)
    except EgressRefused:
        return
    assert target.host or target.kind is Kind.DNS
    assert 0 < target.port < 65536


def test_the_catalogue_can_be_called() -> None:
    for template in TEMPLATES.values():
        if template.endpoint_url is not None:
            target = read_target(template.endpoint_url)
            assert target.url.startswith("https://")
            assert target.port in target.ports
        else:
            assert template.example_url is not None
            if "<" not in template.example_url:
                read_target(template.example_url)
