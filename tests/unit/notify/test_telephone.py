"""Numbers, signatures, statuses and answers, without a telephone."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.config import load_settings
from wedsync_apm.errors import ConfigurationError, NotValid
from wedsync_apm.notify.channels.voice.render import reading
from wedsync_apm.notify.telephone.accounts import (
    Account,
    callback_token,
    read_callback_token,
    read_telephone,
)
from wedsync_apm.notify.telephone.faults import STOPPED, Fault, fault_of
from wedsync_apm.notify.telephone.inbound import (
    Reply,
    Word,
    read_form,
    read_receipt,
    read_reply,
)
from wedsync_apm.notify.telephone.numbers import read_number
from wedsync_apm.organizations.secrets import Keyring

KEYRING = Keyring(b"k" * 32)
DELIVERY = UUID("0190a000-0000-7000-8000-000000000001")
ACCOUNT = Account("Twilio", "AC1", "12345", "+447700900000", None, "https://api.twilio.com")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("+44 7700 900123", "+447700900123"),
        ("+44 (0)7700 900-123", "+447700900123"),
        ("+1 (202) 555-0143", "+12025550143"),
        ("+4915123456789", "+4915123456789"),
    ],
)
def test_a_number_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert read_number(typed, for_texts=True) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "07700 900123",
        "+44 909 8790 123",
        "+44 20 7946 0958",
        "+447700900123 x5",
        "+44",
        "+999123456789",
        "+44 7700 900123\r\nTo: +1",
        "+" + "1" * 100,
        "priya@fern.example",
    ],
)
def test_what_takes_no_texts_is_refused(typed: str) -> None:
    with pytest.raises(NotValid) as refused:
        read_number(typed, for_texts=True)
    assert [one.field for one in refused.value.errors] == ["address"]


def test_a_landline_can_be_called() -> None:
    assert read_number("+44 20 7946 0958", for_texts=False) == "+442079460958"


def test_the_signature_is_the_providers() -> None:
    """The example of Twilio's documentation."""
    form = [
        ("Digits", "1234"),
        ("CallSid", "CA1234567890ABCDE"),
        ("To", "+18005551212"),
        ("Caller", "+12349013030"),
        ("From", "+12349013030"),
    ]
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    signature = "0/KCTR6DLpKmkAf8muzZqo1nDgQ="
    assert ACCOUNT.has_signed(signature, url, form)
    assert not ACCOUNT.has_signed(signature, url + "3", form)
    assert not ACCOUNT.has_signed(signature, url, form[1:])
    assert not ACCOUNT.has_signed(signature, url, [*form, ("Digits", "1")])
    for other in ("", "é", signature.lower(), "=" * 10_000):
        assert not ACCOUNT.has_signed(other, url, form)


def test_an_address_of_ours_is_for_one_message_and_one_purpose() -> None:
    token = callback_token(KEYRING, "status", DELIVERY)
    assert read_callback_token(KEYRING, token) == ("status", DELIVERY)
    other = DELIVERY.hex.replace("1", "2")
    for forged in (
        token.replace("status", "digits"),
        token.replace(DELIVERY.hex, other),
        token[:-1],
        token + "A",
        "",
        "sms",
        callback_token(Keyring(b"l" * 32), "status", DELIVERY),
    ):
        assert read_callback_token(KEYRING, forged) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1", Reply(Word.ACKNOWLEDGE)),
        (" 1. ", Reply(Word.ACKNOWLEDGE)),
        ("1 4127", Reply(Word.ACKNOWLEDGE, 4127)),
        ("1 #4127", Reply(Word.ACKNOWLEDGE, 4127)),
        ("ACK 4127!", Reply(Word.ACKNOWLEDGE, 4127)),
        ("ok", Reply(Word.ACKNOWLEDGE)),
        ("I’m on it", Reply(Word.ACKNOWLEDGE)),
        ("1 all", Reply(Word.ACKNOWLEDGE, is_all=True)),
        ("STOP", Reply(Word.STOP)),
        ("Stop  All.", Reply(Word.STOP)),
        ("unsubscribe", Reply(Word.STOP)),
        ("START", Reply(Word.START)),
        ("stop it please", Reply(Word.HELP)),
        ("11", Reply(Word.HELP)),
        ("1 or 2?", Reply(Word.HELP)),
        ("", Reply(Word.HELP)),
        ("1 " + "9" * 150, Reply(Word.HELP)),
    ],
    ids=range(17),
)
def test_what_people_text_is_understood_or_helped(text: str, meant: Reply) -> None:
    assert read_reply(text) == meant


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    assert read_reply(text).word in Word


@pytest.mark.parametrize(
    ("form", "receipt", "ends"),
    [
        ({"MessageStatus": "queued"}, "accepted", None),
        ({"MessageStatus": "sent"}, "sent", None),
        ({"MessageStatus": "delivered"}, "delivered", None),
        ({"MessageStatus": "read"}, "read", None),
        ({"MessageStatus": "undelivered", "ErrorCode": "30003"}, "returned", None),
        ({"MessageStatus": "failed", "ErrorCode": "30008"}, "returned", None),
        ({"MessageStatus": "failed"}, "returned", None),
        ({"MessageStatus": "undelivered", "ErrorCode": "21610"}, "failed", STOPPED),
        ({"MessageStatus": "undelivered", "ErrorCode": "30004"}, "failed", None),
        ({"MessageStatus": "canceled"}, "failed", None),
        ({"CallSid": "CA1", "CallStatus": "ringing"}, "sent", None),
        ({"CallSid": "CA1", "CallStatus": "completed"}, "sent", None),
        ({"CallSid": "CA1", "CallStatus": "no-answer"}, "returned", None),
    ],
    ids=range(13),
)
def test_a_status_says_how_far_a_message_came(
    form: dict[str, str], receipt: str, ends: str | None
) -> None:
    found = read_receipt({"MessageSid": "SM1"} | form)
    assert found is not None
    assert (found.receipt, found.ends_contact) == (receipt, ends)
    assert found.provider_id in ("SM1", "CA1")


@given(st.dictionaries(st.sampled_from(["MessageStatus", "CallSid", "ErrorCode"]), st.text()))
def test_no_status_is_too_strange(form: dict[str, str]) -> None:
    read_receipt(form)


def test_faults_are_the_numbers_the_messages_or_the_accounts() -> None:
    for code, status, fault in (
        (21211, 400, Fault.NUMBER),
        (21610, 400, Fault.NUMBER),
        (30003, 500, Fault.HANDSET),
        (21617, 400, Fault.MESSAGE),
        (20003, 401, Fault.ACCOUNT),
        (20429, 429, Fault.ACCOUNT),
        (99999, 400, Fault.ACCOUNT),
        (None, 400, Fault.MESSAGE),
        (None, 503, Fault.ACCOUNT),
        (None, 404, Fault.ACCOUNT),
    ):
        assert fault_of(code, status) is fault, (code, status)


@given(st.binary(max_size=500))
def test_no_body_is_too_strange(body: bytes) -> None:
    read_form(body)


def test_a_form_with_too_many_fields_is_none() -> None:
    assert read_form(urlencode([("a", "b")] * 200).encode()) is not None
    assert read_form(urlencode([("a", "b")] * 201).encode()) is None


def test_words_are_no_twiml() -> None:
    said = reading('</Say><Dial>+1900</Dial> & "x" \x00', 'https://a.example/?a=1&b="2')
    assert "<Dial>" not in said
    assert said.count("<Say ") == 5
    assert 'action="https://a.example/?a=1&amp;b=&quot;2"' in said


def settings(**more: Any) -> Any:
    return load_settings({}, **more)


def test_accounts_come_from_the_settings() -> None:
    assert read_telephone(settings(), KEYRING) is None
    found = read_telephone(
        settings(
            twilio_account_sid="AC1",
            twilio_auth_token="t1",
            twilio_from="+447700900000",
            twilio_account_sid_2="AC2",
            twilio_auth_token_2="t2",
            twilio_messaging_service_sid_2="MG2",
            twilio_base_url_2="https://other.example/",
            public_url="https://apm.example.com",
        ),
        KEYRING,
    )
    assert found is not None
    first, second = found.accounts
    assert (first.can_text, first.can_call, first.endpoint) == (True, True, "api.twilio.com")
    assert (second.can_text, second.can_call, second.endpoint) == (True, False, "other.example")
    assert second.url("Messages") == ("https://other.example/2010-04-01/Accounts/AC2/Messages.json")
    assert "t1" not in repr(found)
    assert str(found.callback("status", DELIVERY)).startswith(
        "https://apm.example.com/api/v1/webhooks/twilio/status."
    )


def test_half_an_account_stops_the_start() -> None:
    whole = {"twilio_account_sid": "AC1", "twilio_auth_token": "t1", "twilio_from": "+447700900000"}
    for missing in whole:
        with pytest.raises(ConfigurationError) as refused:
            read_telephone(settings(**{k: v for k, v in whole.items() if k != missing}), KEYRING)
        assert "WEDSYNC_APM_TWILIO" in str(refused.value.detail)
        assert "t1" not in str(refused.value.detail)
