"""How a soak is judged."""

from benchmarks import soak
from benchmarks.providers import HOOKS, MAIL, PHONE, REFUSE, Book, Outage, Taken


def test_only_time_in_which_a_channel_works_counts() -> None:
    mail, phone = Outage(MAIL, REFUSE, 10, 30), Outage(PHONE, REFUSE, 20, 40)
    assert soak._working(0, 50, []) == 50
    assert soak._working(0, 50, [mail]) == 50, "texts went"
    assert soak._working(0, 50, [mail, phone]) == 40, "neither, from 20 to 30"
    assert soak._working(22, 25, [mail, phone]) == 0
    assert soak._working(25, 60, [Outage(MAIL, REFUSE, 0), phone]) == 20
    assert soak._working(5, 4, [mail]) == -1, "told before the answer came"


def test_a_repeat_is_the_same_message_taken_again() -> None:
    def taken(provider: str, address: str, text: str, key: str) -> Taken:
        return Taken(0, provider, address, text, key)

    messages = [
        taken(MAIL, "anna-1@soak.example", "a", "<1>"),
        taken(MAIL, "anna-1@soak.example", "a", "<2>"),
        taken(MAIL, "anna-1@soak.example", "a", "<2>"),
        taken(MAIL, "ben-1@soak.example", "a", "<2>"),
        taken(HOOKS, "1", "x", "7"),
        taken(HOOKS, "1", "y", "7"),
    ]
    assert soak._repeats(messages) == 2


def test_an_address_tells_whose_it_is() -> None:
    for name in ("anna", "ben"):
        for address in soak.addresses(name, 17).values():
            assert soak._number_of(address) == 17
            assert soak._is_for(Taken(0, MAIL, address, "Load of vendor-17- is high", ""))
            assert soak._is_for(Taken(0, MAIL, address, "Something else", ""))
            assert not soak._is_for(Taken(0, MAIL, address, "Load of vendor-1- is high", ""))


def test_broken_promises_are_told_in_words() -> None:
    verdict = soak.Verdict(
        conditions=3,
        answered=3,
        lost=1,
        accepted_seconds=[0.2, 10.5],
        receipt_seconds=[1.0, 121.0],
        without_receipt=0,
        one_rung_only=0,
        kills=4,
        repeats=4,
        sent_after_acknowledgement=0,
        to_others=0,
    )
    assert verdict.failures == [
        "1 conditions that no provider ever heard of",
        "1 messages accepted later than 10 s",
        "1 receipts later than 120 s",
    ]


def test_a_provider_fails_from_the_beginning_to_the_end_of_its_outage() -> None:
    book = Book()
    assert book.fault(MAIL) is None
    book.begin(MAIL, REFUSE)
    assert (book.fault(MAIL), book.fault(PHONE)) == (REFUSE, None)
    book.end(MAIL)
    assert book.fault(MAIL) is None
    assert book.outages[0].ended < float("inf")
