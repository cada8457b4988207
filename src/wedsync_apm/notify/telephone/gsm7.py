"""How long a text message is, as the networks count (3GPP TS 23.038 and 23.040).

A text of the GSM 7-bit alphabet has 160 septets in one segment and 153 in each of several, the
characters of the extension table taking two. Any other character turns the whole text into UCS-2:
70 code units in one segment, 67 in each of several. Neither a pair of septets nor a surrogate pair
is split between two segments.
"""

import unicodedata
from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = frozenset("\f^{}\\[~]|€")

GSM_SINGLE: Final = 160
GSM_PART: Final = 153
UCS_SINGLE: Final = 70
UCS_PART: Final = 67
LONGEST_WORD: Final = 30

# What another letter says as well. Whatever is not here and has no plain form stays as it is.
_PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("•·‧", "-"),
        "…": "...",
        "×": "x",
        "½": "1/2",
        "¼": "1/4",
        "¾": "3/4",
        "™": "(TM)",
        "®": "(R)",
        "©": "(C)",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ı": "i",
        "œ": "oe",
        "Œ": "OE",
        "þ": "th",
        "Þ": "Th",
        "ð": "d",
        "ẞ": "SS",
    }
)

# Accents by themselves, and what chooses between forms of a picture; the vowels of other scripts
# are marks too, and stay.
_MARKS: Final = frozenset(chr(n) for n in (*range(0x300, 0x370), *range(0xFE00, 0xFE10)))


def is_gsm(text: str) -> bool:
    """Whether the text can go out in the 7-bit alphabet."""
    return all(letter in _BASIC or letter in _EXTENSION for letter in text)


def segments(text: str) -> int:
    """How many messages the text is, and is paid as. An empty one is one."""
    if is_gsm(text):
        widths, single, part = [2 if c in _EXTENSION else 1 for c in text], GSM_SINGLE, GSM_PART
    else:
        widths, single, part = [2 if ord(c) > 0xFFFF else 1 for c in text], UCS_SINGLE, UCS_PART
    if sum(widths) <= single:
        return 1
    count, used = 1, 0
    for width in widths:
        if used + width > part:
            count, used = count + 1, 0
        used += width
    return count


def plain(text: str) -> str:
    """The text on one line, in the 7-bit alphabet where that loses no meaning.

    Control characters, marks of direction and pictures go; accents that the alphabet does not have
    are taken off; typographic marks become those of a keyboard. Letters of other scripts stay.
    """
    shown = "".join(_fold(letter) for letter in unicodedata.normalize("NFC", text))
    return " ".join(shown.split())


def cut(words: str, most_segments: int, tail: str = "") -> str:
    """The words and the tail in `most_segments`, the words cut after a whole one.

    The tail is never cut, whatever that takes.
    """
    if segments(words + tail) <= most_segments:
        return words + tail
    # Without its last foreign letter a text has room for twice as much, so that no length can be
    # worked out: from the longest that could be meant downwards is tried.
    for length in range(min(len(words) - 1, most_segments * GSM_SINGLE), 0, -1):
        kept = _whole_words(words, length)
        if segments(f"{kept}...{tail}") <= most_segments:
            return f"{kept}...{tail}"
    return tail.lstrip()


def _whole_words(words: str, length: int) -> str:
    kept = words[:length]
    if not words[length].isspace():
        whole, _, broken = kept.rpartition(" ")
        # What has no spaces for so long is no word, or of a script without any.
        if whole and len(broken) <= LONGEST_WORD:
            kept = whole
    return kept.rstrip(" ,;:-.")


def _fold(letter: str) -> str:
    kind = unicodedata.category(letter)
    if kind[0] == "Z" or letter in "\t\n\r\f\v":
        return " "
    if letter in _BASIC or letter in _EXTENSION:
        return letter
    if (simple := letter.translate(_PLAIN)) != letter:
        return simple
    if kind[0] == "C" or kind == "Me" or letter in _MARKS:
        return ""
    base = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
    if base and is_gsm(base):
        return base
    return "" if kind in ("So", "Sk") else letter
