"""The Today page, rendered without a browser."""

import pytest

from tests.browser.preview import PAGES


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("today-")])
def test_today_renders_in_every_state(name: str) -> None:
    assert b"</html>" in PAGES[name]("system")


def test_a_problem_needs_no_wedding_to_be_shown() -> None:
    assert b"Order form" in PAGES["today-problem-weekday"]("system")
