import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wedsync_apm.ingest.statsd.lines import (
    Line,
    Measurement,
    SentEvent,
    ServiceCheck,
    UnreadableLine,
    read_datagram,
    read_line,
)

READ: tuple[tuple[bytes, Line], ...] = (
    (b"a:1|c", Measurement("a", "c", (1.0,))),
    (b"a:-2|c|@0.5", Measurement("a", "c", (-2.0,), rate=0.5)),
    (b"a:1:2:3.5|d", Measurement("a", "d", (1.0, 2.0, 3.5))),
    (b"a:1e3|ms", Measurement("a", "ms", (1000.0,))),
    (b"a:.5|h", Measurement("a", "h", (0.5,))),
    (b"a:x y|s", Measurement("a", "s", members=("x y",))),
    (b"a:b:c|s", Measurement("a", "s", members=("b:c",))),
    (b"page.views:1|c|#env:prod,x", Measurement("page.views", "c", (1.0,), tags=("env:prod", "x"))),
    (b"g2:1|g|T1795362849", Measurement("g2", "g", (1.0,), at_s=1795362849)),
    (b"a:1|c|c:83c0a99c0a54|e:it-true|card:low|#t", Measurement("a", "c", (1.0,), tags=("t",))),
    (b"a:1|c|whatever|", Measurement("a", "c", (1.0,))),
    (b"a:1|c|#", Measurement("a", "c", (1.0,))),
    ("zeit.für:1|c|#ort:köln".encode(), Measurement("zeit.für", "c", (1.0,), tags=("ort:köln",))),
    (b"_sc|app.ok|2", ServiceCheck("app.ok", 2)),
    (
        b"_sc|app.ok|2|d:5|h:web|#a:b|m:down|pipe",
        ServiceCheck("app.ok", 2, 5, "web", ("a:b",)),
    ),
    (
        b"_e{5,6}:Title|Te\\nxt|k:k|t:error|#a:b",
        SentEvent("Title", "Te\nxt", aggregation_key="k", alert_type="error", tags=("a:b",)),
    ),
    (
        b"_e{1,3}:T|a|b|d:9|h:web|p:low",
        SentEvent("T", "a|b", at_s=9, host="web", priority="low"),
    ),
    ("_e{2,0}:é|".encode(), SentEvent("é", "")),
)


@pytest.mark.parametrize(("line", "expected"), READ, ids=[repr(line) for line, _ in READ])
def test_a_line_says(line: bytes, expected: Line) -> None:
    assert read_line(line) == expected


@pytest.mark.parametrize(
    ("line", "plain", "dogstatsd"),
    [
        (b"g:5|g", False, False),
        (b"g:+5|g", True, True),
        (b"g:-5|g", True, False),
        (b"g:-5|g|@0.5", True, False),
        (b"g:-5|g|#a:b", False, False),
        (b"g:-5|g|c:x", False, False),
        (b"c:-5|c", False, False),
    ],
)
def test_a_signed_gauge_is_a_change_or_a_value(line: bytes, plain: bool, dogstatsd: bool) -> None:
    for is_dogstatsd, expected in ((False, plain), (True, dogstatsd)):
        read = read_line(line, is_dogstatsd=is_dogstatsd)
        assert isinstance(read, Measurement)
        assert read.is_change is expected


UNREADABLE = (
    b"a",
    b"a:1",
    b":1|c",
    b"a:|c",
    b"a:1|x",
    b"a:1|",
    b"a:1_0|c",
    b"a: 1|c",
    b"a:nan|g",
    b"a:inf|g",
    b"a:0x1|g",
    b"a:1e999|g",
    "a:١|c".encode(),
    b"a:1:|c",
    b"a:1:x|c",
    b"a:+1:2|g",
    b"a:|s",
    b"a:1|c|@0",
    b"a:1|c|@2",
    b"a:1|c|@-1",
    b"a:1|c|@x",
    b"a:1|c|Tx",
    b"a\x00:1|c",
    b"\xff:1|c",
    b"_sc|x|4",
    b"_sc|x",
    b"_sc||0",
    b"_e{1}:T|x",
    b"_e{9,9}:T|x",
    b"_e{1,1}:T|xx",
    b"_e{1,1}:Tx|x",
    b"_e{1,1}",
)


@pytest.mark.parametrize("line", UNREADABLE, ids=repr)
def test_what_cannot_be_read_is_told(line: bytes) -> None:
    with pytest.raises(UnreadableLine) as told:
        read_line(line)
    assert len(str(told.value)) < 100


def test_a_datagram_has_lines_with_and_without_ends() -> None:
    read = list(read_datagram(b"\na:1|c\r\n\n\nb:x|c\nc:2|g"))
    assert [type(one) for one in read] == [Measurement, UnreadableLine, Measurement]


PIECES = st.sampled_from(
    [
        b"a",
        b":",
        b"|",
        b"1",
        b"-",
        b"+",
        b"@0.1",
        b"#",
        b",",
        b"c",
        b"g",
        b"s",
        b"ms",
        b"T9",
        b"_e{",
        b"_sc|",
        b"}",
        b"2",
        b"\n",
        b"\\n",
        b"m:",
        b"d:",
        b"\xc3",
        b"\xa9",
        b"\x00",
        b"e",
        b".",
    ]
)


@given(st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=40).map(b"".join)))
@example(b"_e{000001,1}:a|b|")
@example(b"_e{1,1}:a|b|:")
def test_nothing_that_comes_does_more_than_not_being_read(datagram: bytes) -> None:
    for is_dogstatsd in (False, True):
        for one in read_datagram(datagram, is_dogstatsd=is_dogstatsd):
            if isinstance(one, Measurement):
                assert one.name
                assert all(map(math.isfinite, one.values))
                assert 0 < one.rate <= 1
                assert bool(one.values) != bool(one.members)


@given(st.lists(st.sampled_from([line for line, _ in READ]), max_size=10), st.binary(max_size=50))
def test_a_bad_line_costs_only_itself(good: list[bytes], bad: bytes) -> None:
    bad = b"bad" + bad.replace(b"\n", b"").replace(b":", b"")
    lines = [*good, bad, *good]
    read = list(read_datagram(b"\n".join(lines)))
    assert [one for one in read if not isinstance(one, UnreadableLine)] == [
        read_line(line) for line in [*good, *good]
    ]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,30}", fullmatch=True)


@given(
    NAMES,
    st.lists(NUMBERS, min_size=1, max_size=5),
    st.sampled_from(["c", "ms", "h", "d"]),
    st.lists(NAMES, max_size=3),
)
def test_what_a_client_writes_is_read_back(
    name: str, values: list[float], kind: str, tags: list[str]
) -> None:
    text = f"{name}:{':'.join(map(repr, values))}|{kind}" + (f"|#{','.join(tags)}" if tags else "")
    assert read_line(text.encode()) == Measurement(name, kind, tuple(values), tags=tuple(tags))
