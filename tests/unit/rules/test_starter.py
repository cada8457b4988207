"""The rules to begin with can be kept, are told apart, and speak to vendors."""

import re

import pytest

from wedsync_apm.rules.faults import find_faults
from wedsync_apm.rules.model import RuleDraft
from wedsync_apm.rules.starter import PROMISE_MS, STARTER_RULES, starter_rules

GSM_7 = re.compile(r"[A-Za-z0-9 @$_!\"#%&'()*+,\-./:;<=>?]*")
# Words of engineers that no vendor should have to read.
UNSAID = re.compile(r"\b(p9\d|latency|threshold|endpoint|critical|API|ms)\b", re.IGNORECASE)
RULES = {rule.alert_name: rule for rules in STARTER_RULES.values() for rule in rules}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_starter_rule_can_be_kept_and_says_what_is_wrong(rule: RuleDraft) -> None:
    assert find_faults(rule) == []
    text = rule.vendor_text
    assert text["subject"]
    assert text["problem"]
    steps = text.get("what_to_do", [])
    assert isinstance(steps, list)
    said = [str(text["subject"]), str(text["problem"]), str(text.get("still_works", "")), *steps]
    assert len(". ".join(said)) <= 160, "one text message"
    for words in said:
        assert GSM_7.fullmatch(words)
        assert not UNSAID.search(words)


@pytest.mark.parametrize("vendor_type", STARTER_RULES)
def test_each_vendor_has_rules_of_his_own_with_different_names(vendor_type: str) -> None:
    names = [rule.alert_name for rule in starter_rules(vendor_type)]
    assert len(set(names)) == len(names) > len(starter_rules("unheard of"))


def test_on_a_wedding_day_every_rule_is_stricter() -> None:
    for rule in RULES.values():
        assert rule.wedding_day_threshold_value is not None
        assert rule.wedding_day_threshold_value < rule.threshold_value


def test_what_a_guest_waits_for_keeps_the_promise() -> None:
    promised = {"Order form is slow", "Website is slow", "Timeline is slow"}
    kept = {n for n, rule in RULES.items() if rule.wedding_day_threshold_value == PROMISE_MS}
    assert kept == promised
    assert starter_rules(" Florist ") == STARTER_RULES["florist"]
