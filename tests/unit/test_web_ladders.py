"""The form of a ladder into steps and back, and what its steps say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.browser.preview_ladders import CALLS, KNOWN, SATURDAYS, step
from tests.browser.preview_reach import FERN, HERE, MO, NOW, OWN, Typed
from wedsync_apm.web.build.ladder_form import (
    MOST_STEPS,
    form_of,
    in_units,
    ladder_lines,
    read_delay,
    read_ladder,
    values_of,
)
from wedsync_apm.web.build.ladders import build_calls, build_card, condition_words, step_words

SECONDS = st.one_of(
    st.integers(0, 86_400).map(float), st.floats(0, 86_400).map(lambda one: round(one, 3))
)
CLOCKS = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
STEPS = st.builds(
    step,
    level=st.sampled_from(["none", "team_lead", "executive"]),
    delay_seconds=SECONDS,
    wedding_delay_seconds=st.none() | SECONDS,
    user_ids=st.lists(st.sampled_from([str(FERN), str(MO)]), min_size=1, unique=True),
    contact_method_ids=st.lists(st.sampled_from([str(one["id"]) for one in OWN]), unique=True),
    weddings=st.sampled_from(["any", "only", "never"]),
    severity_min=st.none() | st.sampled_from(["info", "emergency"]),
    hours=st.none()
    | st.fixed_dictionaries(
        {
            "from_time": CLOCKS,
            "until_time": CLOCKS,
            "weekdays": st.sets(st.integers(1, 7), min_size=1).map(sorted),
            "zone": st.sampled_from(["organization", "person"]),
        }
    ),
)


def typed(row: dict[str, Any]) -> Typed:
    """The form of a ladder as a browser sends it when nobody touches it."""
    form = form_of(row)
    fields: dict[str, Any] = {
        "name": form.name,
        "is_default": "yes" if form.is_default else None,
        "repeats": form.repeats,
        "count": str(len(form.steps) + 1),
    }
    for n, one in enumerate(form.steps, start=1):
        for name in (
            "level", "delay", "unit", "wedding_delay", "wedding_unit", "weddings", "severity",
            "hours", "from_time", "until_time",
        ):  # fmt: skip
            fields[f"s{n}_{name}"] = getattr(one, name)
        for name in ("people", "rotas", "contacts", "days"):
            fields[f"s{n}_{name}"] = list(getattr(one, name))
    return Typed(**fields)


@given(st.lists(STEPS, min_size=1, max_size=4), st.booleans(), st.integers(0, 20))
def test_a_form_that_nobody_touches_changes_nothing(
    steps: list[dict[str, Any]], is_default: bool, repeats: int
) -> None:
    row = {"name": "Week", "is_default": is_default, "repeat_count": repeats}
    form = read_ladder(typed(row | {"steps": steps}), KNOWN)
    assert form.errors == {}
    made = values_of(form)
    for new, old in zip(made.pop("steps"), steps, strict=True):
        for name in ("delay_seconds", "wedding_delay_seconds"):
            assert new.pop(name) == pytest.approx(old[name]) if old[name] else not new.get(name)
            new.pop(name, None)
        assert new == {name: old[name] for name in new}
    assert made == row


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "count",
                "up",
                "name",
                "repeats",
                "s1_delay",
                "s1_unit",
                "s1_hours",
                "s1_days",
                "s51_delay",
            ]
        ),
        st.text(max_size=20),
    )
)
def test_whatever_is_sent_is_a_form(sent: dict[str, Any]) -> None:
    listed = {name: [one] if name.endswith("days") else one for name, one in sent.items()}
    form = read_ladder(Typed(**listed), KNOWN)
    assert len(form.steps) <= MOST_STEPS + 1


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, ("0", "minutes")),
        (45, ("45", "seconds")),
        (90, ("90", "seconds")),
        (300, ("5", "minutes")),
        (5400, ("90", "minutes")),
        (86_400, ("24", "hours")),
        (0.5, ("0.5", "seconds")),
    ],
)
def test_times_are_shown_in_a_unit_that_fits(seconds: float, shown: tuple[str, str]) -> None:
    assert in_units(seconds) == shown
    assert read_delay(*shown) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "86401", "nan", "inf", "1e9", "0x10"])
def test_what_is_no_time(text: str) -> None:
    assert read_delay(text, "seconds") is None


def test_steps_as_sentences() -> None:
    card = build_card(SATURDAYS, KNOWN)
    first, second, third = (sentence for sentence, _ in card.steps)
    assert first == "At once: Week and weekends"
    assert second.startswith("After 15 min, on wedding days 1 min: Mo Adeyemi")
    assert third.startswith("After 30 min, on wedding days 2 min: ")
    # the second is held to a minute, whatever stands there, and the first to half of one
    slow = step(delay_seconds=7200.0, wedding_delay_seconds=7200.0, user_ids=[str(FERN)])
    assert step_words(slow, 0, KNOWN) == "After 120 min, on wedding days 30 s: Fern Mills"
    assert step_words(slow, 2, KNOWN) == "After 120 min: Fern Mills"
    assert step_words(step(), 0, KNOWN) == "At once: everybody whom we can reach"
    assert condition_words(step(weddings="never")) == "Not while a wedding is under way"


def test_who_is_called_is_said_in_order() -> None:
    calls = build_calls(CALLS, NOW, HERE, is_now=True)
    assert calls.headline == "Now: Fern Mills and Fern’s mobile"
    assert [len(one.lines) for one in calls.steps] == [2, 0, 2, 1]
    assert calls.steps[1].passed == "Passed: it counts only while a wedding is under way."
    assert calls.steps[2].lines[0].warning == "not proven yet"
    by_apprise = build_calls([{**CALLS[0], "channel": "apprise"}], NOW, HERE, is_now=True)
    assert by_apprise.steps[0].lines[0].warning == "nothing will say whether it arrived"
    assert calls.end == "If nobody answers by 13:38, our own people are called."
    nobody = build_calls([CALLS[-1]], NOW, HERE, is_now=True)
    assert (nobody.status.kind, nobody.headline) == ("crit", "Nobody can be called")


def test_two_forms_lie_side_by_side() -> None:
    form = form_of(SATURDAYS)
    lines = ladder_lines(form, KNOWN, 4)
    assert [label for label, _ in lines][-1] == "Step 4"
    assert lines[-1][1] == ""
