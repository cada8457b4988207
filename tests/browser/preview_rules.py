"""Made-up views of the rules' pages: a florist's order form, slow on a wedding day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wedsync_apm.rules.limits import Limit, LimitSource, WeddingWindow
from wedsync_apm.rules.model import Operator, RuleDraft, RuleKind
from wedsync_apm.rules.starter import starter_rules
from wedsync_apm.rules.store import NamedSeries
from wedsync_apm.rules.verdict import Standing, State
from wedsync_apm.web.build.rule_drawing import Ink, Span, draw, limit_steps
from wedsync_apm.web.build.rule_editor import (
    build_kinds,
    count_words,
    look_options,
    options_of,
    suggest,
    watched,
)
from wedsync_apm.web.build.rule_form import new_draft, new_typed, read_draft, typed_of
from wedsync_apm.web.build.rule_preview import Reader, build_nears, phase_words
from wedsync_apm.web.build.rules import build_offers
from wedsync_apm.web.say import plain_figure
from wedsync_apm.web.views.chart import Figure
from wedsync_apm.web.views.incident import Fact
from wedsync_apm.web.views.rule import Happening, Instance, RuleRow, RulesView, RuleView
from wedsync_apm.web.views.rule_form import (
    Condition,
    EditorView,
    Firing,
    Option,
    PartsView,
    PreviewView,
)
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say

NOW = datetime(2026, 6, 20, 12, 13, 4, tzinfo=UTC)
ZONE = "Europe/London"
ID = UUID(int=11)
RULE = RuleDraft(
    alert_name="Order form slow",
    metric_pattern="wedding_forms.submit_time",
    comparison_operator=Operator.ABOVE,
    threshold_value=8000.0,
    wedding_day_threshold_value=3000.0,
    for_duration=timedelta(minutes=2),
)
SERIES = tuple(
    NamedSeries(n, service, metric, tags, unit)
    for n, (service, metric, tags, unit) in enumerate(
        (
            ("wedding_forms", "submit_time", {"region": "north"}, "ms"),
            ("wedding_forms", "submit_time", {"region": "south"}, "ms"),
            ("wedding_payments", "payment_processing_time", {}, "ms"),
            ("website", "requests_total", {"code": "200"}, "1"),
        )
    )
)
ROW = RuleRow(
    ID, "Order form slow",
    "When the slowest 1 in 20 of order form is over 8 s for 2 min, tell the people on the ladder.",
    "On wedding days over 3 s.", "told 3 times", Status("crit", say("rule.problem")),
)  # fmt: skip


def _value(hours: float) -> float | None:
    """Hours before now: steady, slow twice, and silent for a while."""
    if 50 < hours < 58:
        return None
    return 9100.0 if hours < 0.5 or 70 < hours < 71 else 1200 + 300 * ((hours * 7) % 1)


def preview() -> PreviewView:
    """A week with two times, one of them on the wedding day."""
    start = NOW - timedelta(days=7)
    day = NOW.replace(hour=0, minute=0, second=0)
    windows = [
        WeddingWindow("evening_before", None, day - timedelta(hours=7), day, 5),
        WeddingWindow("day", None, day, day + timedelta(days=1), 4),
        WeddingWindow("ceremony", None, day + timedelta(hours=11), NOW + timedelta(hours=1), 2),
    ]
    steps = limit_steps(RULE, windows, start, NOW, unit="ms")
    limit = Limit(8000, 8000, LimitSource.RULE)
    points = [
        Standing(State.OK, _value(hours / 4), limit, 20, None, None, start, at)
        for hours in range(7 * 24 * 4, -1, -1)
        for at in [NOW - timedelta(hours=hours / 4)]
    ]
    told = [Span(NOW - timedelta(hours=71), NOW - timedelta(hours=70)),
            Span(NOW - timedelta(minutes=30), NOW)]  # fmt: skip
    sentence = say(
        "rule.would", n=2, range=say("rule.range.7d"), times="Wed 14:12 (1 h), 12:43 (goes on)"
    )
    drawing = draw(
        RULE,
        [("Wedding forms, submit time (region north)", points)],
        steps,
        told,
        Ink(ZONE, lambda value: plain_figure(value, "ms"), phase_words, sentence),
    )
    return PreviewView(
        sentence, say("rule.chart", zone=ZONE), "", drawing=drawing,
        others=say("rule.chart_others", n=1),
        firings=(
            Firing("12:43", "goes on", "9.1 s, limit 3 s (Ceremony)"),
            Firing("Wed 14:12", "1 h", "9.1 s, limit 8 s"),
        ),
    )  # fmt: skip


def editor(kind: RuleKind = RuleKind.THRESHOLD, *, wrong: bool = False) -> EditorView:
    """The editor of a new rule of a kind, or of the one that there is, perhaps with faults."""
    is_new = kind is not RuleKind.THRESHOLD
    base = new_draft(kind, "wedding_forms.submit_time") if is_new else RULE
    typed = new_typed(kind, "wedding_forms.submit_time") if is_new else typed_of(RULE)
    errors: dict[str, str] = {}
    if wrong:
        changed = {"threshold_value": "lots", "near_ceremony": "x", "for_duration": "soon"}
        typed = replace(
            typed,
            texts={**typed.texts, **changed},
            conditions={**typed.conditions, "tag_selectors": (Condition("", "=", "north"),)},
        )
        _, errors = read_draft(typed, base)
    draft, _ = read_draft(typed, base)
    reader = Reader(NOW, ZONE, False)
    return EditorView(
        id=None if is_new else ID,
        title=say("rule.new") if is_new else RULE.alert_name,
        kind=say(f"rule.kind.{kind.value}"),
        typed=typed,
        options=options_of(kind),
        members=(Option(str(ID), "Order form slow"), Option(str(UUID(int=12)), "Gallery errors")),
        looks=look_options(),
        look="7d",
        parts=PartsView(
            build_nears(draft, typed, "ms", reader),
            suggest(SERIES, *watched(draft, typed), is_new=is_new),
            PreviewView(say("rule.would_first")) if is_new or wrong else preview(),
            "ms",
            typed,
        ),
        errors=errors,
        fault=count_words(errors) if errors else "",
    )


def rules(empty: bool = False) -> RulesView:
    """Two rules and those to begin with."""
    off = RuleRow(UUID(int=12), "Gallery errors",
                  "When errors of photo gallery are over 5 % for 5 min, tell the people on the "
                  "ladder.", "On wedding days the same limit holds.", "has never told anyone",
                  Status("none", say("rule.off")))  # fmt: skip
    offers = build_offers(starter_rules("florist"), ())
    kept = tuple(replace(one, kept=ID if n < 2 else None) for n, one in enumerate(offers))
    return RulesView(
        () if empty else (ROW, off), True, offers if empty else kept, say("rules.starter")
    )


def rule(figure: Figure, *, may_edit: bool = True, engineer: bool = False) -> RuleView:
    """One rule with what it says and has said."""
    facts = (Fact("instance_key", "series:1", True), Fact("state", "firing", True))
    return RuleView(
        row=ROW, is_active=True, may_edit=may_edit,
        refusal="" if may_edit else say("rule.only", name="Fern Mills"),
        figure=figure,
        instances=(
            Instance(
                "series:1", "Wedding forms, submit time (region north)",
                Status("crit", say("why.state.firing")), say("why.since", time="13:10"),
                (
                    say("why.value", figure="9.1 s"),
                    say("why.limit_wedding_value", side="over", limit="3 s", normal="8 s",
                        phase="Ceremony"),
                    say("why.samples", n=20, window="5 min"),
                ),
                (("13:12", "9.1 s"), ("13:12", "8.8 s")),
                facts if engineer else (),
            ),
            Instance(
                "series:2", "Wedding forms, submit time (region south)",
                Status("ok", say("why.state.ok")), say("why.since", time="Wed 14:12"),
                (say("why.value", figure="1.2 s"),), (), (),
            ),
        ),
        more_instances=say("why.more", n=3), unseen="",
        history=(
            Happening("/incidents/1", "Your order form is slow", "13:10", say("why.going"), False),
            Happening("/incidents/2", "Your order form is slow", "Wed 14:12",
                      say("why.lasted", length="1 h"), True),
        ),
        facts=(Fact("metric_pattern", "wedding_forms.submit_time", True),) if engineer else (),
        is_engineer=engineer, other_view="/rules/1?view=vendor" if engineer else "",
    )  # fmt: skip


def kinds() -> object:
    """The first question of a new rule."""
    return build_kinds("")
