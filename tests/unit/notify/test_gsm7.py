"""How long a text is, and that a cut one says what it can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.notify.channels.sms.render import MOST_SEGMENTS, fit
from wedsync_apm.notify.telephone.gsm7 import cut, is_gsm, plain, segments

LINK = " Reply 1 4127 if you're on it: https://apm.example.com/ack/MDEyMzQ1Njc4OTAxMjM0NQ"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        # an escape and its letter stand in one segment: 153 is odd, so that one place stays empty
        ("€" * 152, 2),
        ("€" * 153, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        ("a" * 159 + "ж", 3),
    ],
    ids=range(18),
)
def test_the_length_is_counted_as_the_networks_do(text: str, count: int) -> None:
    assert segments(text) == count


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Łukasz’s “café” — naïve…", 'Lukasz\'s "café" - naive...'),
        ("one\r\ntwo\x00\tthree", "one two three"),
        ("safe\u202egnp.exe\u2066", "safegnp.exe"),
        ("party 🎉 👰🏽‍♀️ time", "party time"),
        ("e\u0301 z\u0300\u0301\u0302", "é z"),
        ("½ of №7 costs 5 €", "1/2 of No7 costs 5 €"),
        ("नमस्ते Привет", "नमस्ते Привет"),
        ("ﬁne ｆｕｌｌ", "fine full"),
    ],
    ids=range(8),
)
def test_what_has_a_plain_form_is_written_plainly(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_cut_text_ends_on_a_whole_word() -> None:
    words = (
        "Your gallery is slow since 14:02. Uploads fail for some, and photos open late for others"
    )
    text = cut(words, 1, LINK)
    assert text.endswith(f"...{LINK}")
    kept = text.removesuffix(f"...{LINK}")
    assert words.startswith(kept)
    assert words[len(kept)] in " ,.:"
    assert 140 < len(text) <= 160


@given(words=st.text(max_size=400), most=st.integers(1, 3))
def test_a_text_fits_and_keeps_its_link(words: str, most: int) -> None:
    text = cut(plain(words), most, LINK)
    assert text.endswith(LINK.lstrip())
    assert segments(text) <= most or text == LINK.lstrip() or not is_gsm(text)


@given(words=st.text(max_size=2000))
def test_plain_text_is_one_line_and_stays_so(words: str) -> None:
    text = plain(words)
    assert "\n" not in text
    assert "\r" not in text
    assert plain(text) == text


@given(words=st.text(alphabet=st.characters(codec="utf-8"), max_size=600))
def test_the_words_have_room_beside_a_link(words: str) -> None:
    text = fit(plain(words), LINK)
    assert text.endswith(LINK.lstrip())
    assert segments(text) <= MOST_SEGMENTS


def test_ten_thousand_letters_are_cut_in_no_time() -> None:
    for letters in ("a " * 5000, "ж" * 10_000, "\u202e" * 10_000):
        text = fit(plain(letters), LINK)
        assert text.endswith(LINK.lstrip())
        assert segments(text) <= MOST_SEGMENTS
