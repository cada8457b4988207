"""Links say what we signed, and nothing else."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.dashboards.shares import Share, read, read_origins, sign
from wedsync_apm.errors import NotFound, NotValid

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


def test_a_link_from_before_there_were_websites_still_opens() -> None:
    older = msgspec.json.encode([SHARE.key_id, SHARE.dashboard_id, {"region": "eu"}, 2**40])
    signed = hmac.new(KEY, b"dashboard share 1\n" + older, hashlib.sha256).digest()
    said, signature = (
        base64.urlsafe_b64encode(one).decode().rstrip("=") for one in (older, signed)
    )
    assert read(KEY, f"{said}.{signature}", NOW).origins == ()


def test_websites_are_read_as_their_addresses_are_written() -> None:
    given = [" https://Fern.example/ ", "https://fern.example", "", "http://localhost:3000"]
    assert read_origins(given) == ("https://fern.example", "http://localhost:3000")


@given(st.text(max_size=40))
def test_no_website_ends_its_header(name: str) -> None:
    try:
        found = read_origins([f"https://{name}"])
    except NotValid:
        return
    assert not set("".join(found)) & set(" ;,*'\"\r\n\\?#@")


def test_links_end_and_are_of_one_key() -> None:
    token = sign(KEY, SHARE)
    with pytest.raises(NotFound):
        read(KEY, token, datetime.fromtimestamp(SHARE.expires_at, UTC))
    with pytest.raises(NotFound):
        read(b"other" * 8, token, NOW)
