"""Globs over "service.metric", against a matcher that tries everything."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.rules.patterns import compile_pattern


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("orders.checkout_time", "orders.checkout_time", True),
        ("orders.checkout_time", "orders.checkout_time_2", False),
        ("orders.*", "orders.checkout_time", True),
        ("orders.*", "orders.eu.checkout_time", False),
        ("orders.**", "orders.eu.checkout_time", True),
        ("*.checkout_time", "orders.checkout_time", True),
        ("*.checkout_time", "eu.orders.checkout_time", False),
        ("**.checkout_time", "eu.orders.checkout_time", True),
        ("*.*", "orders.checkout_time", True),
        ("**", "orders.checkout_time", True),
        ("*", "orders.checkout_time", False),
        ("orders.*_time", "orders.checkout_time", True),
        ("orders.*_time", "orders._time", True),
        ("orders.check?ut_time", "orders.checkout_time", True),
        ("orders?checkout_time", "orders.checkout_time", False),
        ("orders.[ab]", "orders.a", False),
        ("orders.[ab]", "orders.[ab]", True),
        # the first "a" that "**" could stop at is not the right one
        ("**a*b", "a.ab", True),
        ("Orders.*", "orders.checkout_time", False),
    ],
)
def test_glob(glob: str, name: str, fits: bool) -> None:
    assert compile_pattern(glob).matches(name) is fits


def _tries_everything(glob: str, name: str) -> bool:
    if not glob:
        return not name
    if glob.startswith("*"):
        stars = len(glob) - len(glob.lstrip("*"))
        rest = glob[stars:]
        return any(
            _tries_everything(rest, name[length:])
            for length in range(len(name) + 1)
            if stars > 1 or "." not in name[:length]
        )
    if not name:
        return False
    fits = name[0] != "." if glob[0] == "?" else name[0] == glob[0]
    return fits and _tries_everything(glob[1:], name[1:])


@given(st.text("ab.*?", max_size=8), st.text("ab.", max_size=8))
def test_agrees_with_trying_everything(glob: str, name: str) -> None:
    assert compile_pattern(glob).matches(name) is _tries_everything(glob, name)


@given(st.text(max_size=20).filter(lambda text: not set(text) & set("*?")))
def test_a_name_without_stars_fits_itself_alone(name: str) -> None:
    assert compile_pattern(name).matches(name)
    assert not compile_pattern(name).matches(name + "x")


def test_no_pattern_runs_away() -> None:
    """A regular expression of the same meaning would not end within this universe."""
    pattern = compile_pattern("**a" * 80 + "b")
    begun = time.process_time()
    assert not pattern.matches("a" * 2049)
    assert time.process_time() - begun < 1.0
