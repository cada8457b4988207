"""Links say what we signed, and nothing else."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.dashboards.shares import Share, read, sign
from wedsync_apm.errors import NotFound

KEY = b"k" * 32
NOW = datetime(2026, 6, 20, 12, 0, tzinfo=UTC)
SHARE = Share(UUID(int=1), UUID(int=2), {"region": "eu"}, int(NOW.timestamp()) + 60)


def test_a_link_says_what_was_signed() -> None:
    assert read(KEY, sign(KEY, SHARE), NOW) == SHARE


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_no_letter_of_a_link_can_be_changed(place: int, letter: str) -> None:
    token = sign(KEY, SHARE)
    forged = token[: place % len(token)] + letter + token[place % len(token) + 1 :]
    try:
        found = read(KEY, forged, NOW)
    except NotFound:
        return
    # the last letter of base64 has bits that mean nothing
    assert found == SHARE


@given(st.text(max_size=60) | st.binary(max_size=60).map(bytes.hex))
def test_whatever_else_comes_opens_nothing(token: str) -> None:
    with pytest.raises(NotFound):
        read(KEY, token, NOW)


def test_links_end_and_are_of_one_key() -> None:
    token = sign(KEY, SHARE)
    with pytest.raises(NotFound):
        read(KEY, token, datetime.fromtimestamp(SHARE.expires_at, UTC))
    with pytest.raises(NotFound):
        read(b"other" * 8, token, NOW)
