"""Two people change the same thing: the mark of a form, and what stands beside it."""

from dataclasses import fields, replace
from typing import Any
from uuid import UUID

import pytest

from wedsync_apm.rules.model import RuleKind
from wedsync_apm.web.build import check_form, edits, heartbeats, maintenance, wedding_form
from wedsync_apm.web.build.rule_form import new_typed
from wedsync_apm.web.build.rule_lines import lines_of_rule
from wedsync_apm.web.views.check import CheckForm
from wedsync_apm.web.views.edit import NEW, Difference
from wedsync_apm.web.views.heartbeat import HeartbeatForm
from wedsync_apm.web.views.holding import MatcherField, WorkForm
from wedsync_apm.web.views.wedding_page import ContactField, PhaseField

FORMS = (CheckForm(), HeartbeatForm(), WorkForm(), wedding_form.empty_form("Europe/London"))


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if value is None:
        return UUID(int=7)
    return (*value, MatcherField("service", "=", "x"))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
def test_every_field_that_is_typed_is_in_the_mark(form: Any) -> None:
    mark = edits.mark_of(form)
    assert mark == edits.mark_of(replace(form)), "the same form has the same mark"
    for one in fields(form):
        if one.name == "stood":
            continue
        changed = (
            {"errors": {"name": "Give it a name"}}
            if one.name == "errors"
            else {one.name: other(getattr(form, one.name))}
        )
        is_same = edits.mark_of(replace(form, **changed)) == mark
        assert is_same is (one.name == "errors"), one.name


def test_every_field_of_a_form_has_its_line() -> None:
    def names(kind: Any) -> set[str]:
        return {one.name for one in fields(kind)} - {"errors"}

    assert set(check_form.LABELS) == names(CheckForm)
    assert set(heartbeats.LABELS) == names(HeartbeatForm)
    plain = WorkForm(weekdays=(1,))
    for one in names(WorkForm):
        value: Any = (2,) if one == "weekdays" else other(getattr(plain, one))
        changed: dict[str, Any] = {one: value}
        assert maintenance.lines_of_work(replace(plain, **changed)) != maintenance.lines_of_work(
            plain
        ), one


def test_a_wedding_in_lines() -> None:
    plain = replace(
        wedding_form.empty_form("Europe/London"),
        phases=(PhaseField("ceremony", "Ceremony", "2027-06-19T14:30", "2027-06-19T15:30"),),
        contacts=(ContactField("Dan Hill", "Best man", "0123"), ContactField("", "", "")),
    )
    assert wedding_form.lines_of_wedding(plain) == (
        ("Couple", ""),
        ("Venue", ""),
        ("Time zone of the venue", ""),
        ("Ceremony from", "2027-06-19 14:30 – 2027-06-19 15:30"),
        ("Who to ring", "Dan Hill Best man 0123"),
        ("Who may know names and numbers", "Owners, admins and members"),
        ("Status", "Booked"),
    )
    forged = replace(plain, status="nonsense", visible_to="<b>")
    assert wedding_form.lines_of_wedding(forged)[-2:] == (
        ("Who may know names and numbers", "<b>"),
        ("Status", "nonsense"),
    )


@pytest.mark.parametrize("kind", RuleKind)
def test_every_field_of_a_rule_has_its_line(kind: RuleKind) -> None:
    typed = new_typed(kind)
    lines = lines_of_rule(typed)
    for name, text in typed.texts.items():
        changed = replace(typed, texts={**typed.texts, name: text + "x"})
        assert len(set(lines_of_rule(changed)) - set(lines)) == 1, name
    assert ("Opens a problem and tells people", "yes") in lines


def clash(sent: dict[str, str], mine: HeartbeatForm, theirs: HeartbeatForm) -> Any:
    return edits.compare(
        sent,
        theirs,
        mine=edits.lines_of(mine, heartbeats.LABELS),
        theirs=edits.lines_of(theirs, heartbeats.LABELS),
        href="/heartbeats/1/edit",
    )


def test_only_what_somebody_else_changed_is_asked_about() -> None:
    opened = HeartbeatForm(name="Export", grace="5")
    mine, theirs = replace(opened, grace="9"), replace(opened, name="Backup", severity="warning")
    sent = {"stood": edits.mark_of(opened)}
    assert clash(sent, mine, opened).clash is None, "nobody was there"
    assert clash({}, mine, theirs).clash is None, "a form without a mark"
    assert clash(sent, theirs, theirs).clash is None, "both want the same"
    found = clash(sent, mine, theirs)
    assert found.mark == edits.mark_of(theirs)
    assert found.clash.differences == (
        Difference("What is it called", "Backup", "Export"),
        Difference("How late may it be", "5", "9"),
        Difference("How bad is it when it is missed", "Look at it soon", "Somebody has to act"),
    )
    assert clash({"stood": found.mark}, mine, theirs).clash is None, "he has chosen"


def test_what_was_sent_as_a_mark_is_cut() -> None:
    assert edits.carried({"stood": "x" * 1000}).mark == "x" * edits.MARK_LENGTH
    assert edits.carried({}) == NEW
