"""The arrays of many rows decoded at once, samples lined up, and what no expression may do."""

import struct
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.metrics.expression.parsing import parse
from wedsync_apm.metrics.expression.selection import read_labels
from wedsync_apm.metrics.expression.syntax import BadExpression, NotAnswered, leaves
from wedsync_apm.metrics.expression.vectors import NAME
from wedsync_apm.metrics.reading.lines import Part, line_up, rows_of
from wedsync_apm.metrics.reading.wire import line_numbers, read_lines

OIDS = {">i4": 23, ">i8": 20, ">f8": 701}
INTS = st.integers(-(2**31), 2**31 - 1)


def packed(lines: Sequence[Sequence[float]], kind: str, *, nulls: int = 0) -> bytes:
    """As PostgreSQL sends an array of two dimensions."""
    size = int(kind[2])
    element = {">i4": ">ii", ">i8": ">iq", ">f8": ">id"}[kind]
    head = struct.pack(">iiiiiii", 2, nulls, OIDS[kind], len(lines), 1, len(lines[0]), 1)
    return head + b"".join(struct.pack(element, size, value) for line in lines for value in line)


@given(st.data(), st.sampled_from(sorted(OIDS)))
def test_lines_are_what_was_sent(data: st.DataObject, kind: str) -> None:
    length = data.draw(st.integers(1, 5))
    line = st.lists(INTS, min_size=length, max_size=length)
    lines = data.draw(st.lists(line, min_size=1, max_size=5))
    assert read_lines(packed(lines, kind)).tolist() == lines


def test_other_arrays_are_refused() -> None:
    one_dimension = struct.pack(">iiiii", 1, 0, 23, 1, 1) + struct.pack(">ii", 4, 7) * 2
    for data in (packed([[1, 2]], ">i4", nulls=1), one_dimension):
        with pytest.raises(ValueError, match="no nulls"):
            read_lines(data)


@given(st.lists(st.integers(0, 3), min_size=1), st.randoms(use_true_random=False))
def test_a_row_has_the_line_that_was_sent_last_before_it(kinds: list[int], chance: Random) -> None:
    """Rows of kinds, of which one that is that of the row before is not sent again."""
    rows = [
        (number, kind, int(number == 0 or kinds[number - 1] != kind))
        for number, kind in enumerate(kinds)
    ]
    chance.shuffle(rows)
    sent = [kind for _, kind, is_new in rows if is_new]
    numbers, is_new = (np.array([row[column] for row in rows], np.int64) for column in (0, 2))
    found = line_numbers(numbers, is_new)
    assert [sent[line] for line in found.tolist()] == [kind for _, kind, _ in rows]


@given(st.lists(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_rows_of_some_series(series: list[int], wanted: set[int]) -> None:
    ascending = np.array(sorted(series), np.int32)
    found = ascending[rows_of(ascending, np.array(sorted(wanted), np.int32))]
    assert found.tolist() == [one for one in sorted(series) if one in wanted]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 4), st.integers(-20, 2**34), INTS), max_size=12),
        max_size=4,
    )
)
def test_samples_stand_in_order_and_the_last_write_counts(
    blocks: list[list[tuple[int, int, int]]],
) -> None:
    parts = [
        Part(
            np.array([one[0] for one in block], np.int32),
            np.array([one[1] for one in block], np.int64),
            np.array([one[2] for one in block], np.float64),
            np.full(len(block), number, np.int64),
        )
        for number, block in enumerate(blocks)
    ]
    if not parts:
        return
    for behind in (15, 2**35):
        expected = {
            (series, at): float(value)
            for block in blocks
            for series, at, value in block
            if 0 <= at < behind
        }
        line = line_up(parts[::-1], 0, behind)
        found = list(zip(line.series.tolist(), line.at_ms.tolist(), strict=True))
        assert found == sorted(expected)
        # Within one block nothing says which of two came last.
        told = {key for key, count in _counted(blocks).items() if count == 1}
        for key, value in zip(found, line.values.tolist(), strict=True):
            assert key not in told or value == expected[key]


def _counted(blocks: list[list[tuple[int, int, int]]]) -> dict[tuple[int, int], int]:
    """How often each series and time is in the last block that has it."""
    found: dict[tuple[int, int], int] = {}
    for block in blocks:
        keys = [one[:2] for one in block]
        found |= {key: keys.count(key) for key in keys}
    return found


VOCABULARY = [
    "rate",
    "sum",
    "by",
    "without",
    "(",
    ")",
    "{",
    "}",
    "[5m]",
    "m",
    'a="b"',
    "=~",
    '"("',
    ",",
    "+",
    "-",
    "==",
    "1",
    "NaN",
    "offset",
    "1m",
    "@",
    "or",
    "topk",
    ":",
    "count_over_time",
]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=25).map(" ".join)


def refusal(text: str) -> str | None:
    """Why an expression is not answered; None if it is."""
    try:
        assert all(leaf.range_ms > 0 for leaf in leaves(parse(text)))
    except (BadExpression, NotAnswered) as refused:
        return str(refused)
    return None


@given(st.one_of(st.text(max_size=60), WORDS))
def test_a_text_is_an_expression_or_is_refused_in_words(text: str) -> None:
    assert refusal(text) != ""


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 7_000 + "m",
        "1" + "+1" * 3_900,
        "sum(" * 1_900 + "m" + ")" * 1_900,
        "m" + " unless m" * 800,
        "m" + " == 1" * 1_500,
        "m" + "[1m:1m]" * 400,
    ],
)
def test_nesting_cannot_end_the_process(text: str) -> None:
    with pytest.raises(BadExpression):
        parse(text)


@pytest.mark.parametrize(
    ("service", "tags", "expected"),
    [
        ("shop", '{"job": "shop"}', {"job": "shop"}),
        ("shop", '{"service": "shop", "job": "x"}', {"service": "shop", "job": "x"}),
        ("shop", '{"job": "x"}', {"job": "x", "service_name": "shop"}),
        ("default", "{}", {}),
        ("shop", '{"n": 3}', {"n": "3", "service_name": "shop"}),
    ],
)
def test_labels_are_those_that_were_sent(service: str, tags: str, expected: dict[str, str]) -> None:
    assert read_labels(service, "m", tags) == {**expected, NAME: "m"}
