"""A push message is encrypted as RFC 8291 has it, to the letter."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.providers import Browser
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.notify.channels.push.encrypt import LONGEST, encrypt
from wedsync_apm.notify.vapid import Vapid, decode, encode, new_private_key, point_of

# RFC 8291, section 5 and appendix A
PLAIN = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6"
    "TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy"
    "4a-fN"
)


def test_the_example_of_the_specification() -> None:
    key = ec.derive_private_key(int.from_bytes(decode(SENDER), "big"), ec.SECP256R1())
    made = encrypt(PLAIN, decode(RECEIVER), decode(AUTH), key=key, salt=decode(SALT))
    assert encode(made) == SEALED


def test_what_a_browser_reads_is_what_was_written_and_never_looks_the_same() -> None:
    browser = Browser()
    plain = json.dumps({"title": "Your order form is slow"}).encode()
    made = [encrypt(plain, decode(browser.p256dh), browser.auth) for _ in range(2)]
    assert made[0] != made[1]
    for one in made:
        assert browser.read(one) == {"title": "Your order form is slow"}
        assert b"order form" not in one


def test_a_message_has_the_room_that_a_push_service_gives() -> None:
    browser = Browser()
    full = json.dumps({"x": "y" * (LONGEST - 9)}).encode()
    assert len(full) == LONGEST
    assert len(encrypt(full, decode(browser.p256dh), browser.auth)) == 4096
    with pytest.raises(ValueError, match="at most"):
        encrypt(full + b" ", decode(browser.p256dh), browser.auth)


def test_a_key_is_made_and_read_again() -> None:
    text = new_private_key()
    vapid = Vapid.read(text, "mailto:apm@wedsync.example")
    assert Vapid.read(text + "=", vapid.subject).public_key == vapid.public_key
    assert decode(vapid.public_key) == point_of(vapid.key.public_key())
    assert text not in repr(vapid)
    for bad in ("", "x", "!" * 43, encode(b"\0" * 32), encode(b"\xff" * 32)):
        with pytest.raises(ConfigurationError) as caught:
            Vapid.read(bad, vapid.subject)
        assert len(bad) < 8 or bad not in str(caught.value)
