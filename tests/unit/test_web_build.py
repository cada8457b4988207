"""From rows to views: the words, the gaps, the limits, and what is never green."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.unit.test_web_words import EVENT_KINDS
from wedsync_apm.incidents.model import AffectedWedding, Event, Incident, VendorText
from wedsync_apm.incidents.works import Watched
from wedsync_apm.metrics.drawing import step_of, thin
from wedsync_apm.metrics.ranges import Aggregation, RangeAnswer, RangeSeries
from wedsync_apm.metrics.store import Metric
from wedsync_apm.notify.channels.email.config import NO_SERVER
from wedsync_apm.rules.model import AlertRule, Operator
from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Severity
from wedsync_apm.web.build.charts import (
    build_data,
    choose_range,
    read_series,
    sentence_of,
    window_of,
)
from wedsync_apm.web.build.inbox import build_message, build_told
from wedsync_apm.web.build.incident_actions import build_actions
from wedsync_apm.web.build.incidents import (
    Scene,
    build_list,
    build_problem,
    build_timeline,
    first_name,
)
from wedsync_apm.web.build.rules import build_row
from wedsync_apm.web.build.today import build_service, build_today, week_words
from wedsync_apm.web.build.weddings import build_card, is_on_day, whole_day
from wedsync_apm.web.pages.acknowledge import build_ack
from wedsync_apm.web.pages.charts import by_importance, safe_cell, to_csv
from wedsync_apm.web.session import is_safe_path
from wedsync_apm.web.views.chart import ChartData, Limit, Line

NOW = datetime(2026, 6, 20, 12, 13, tzinfo=UTC)
ZONE = "Europe/London"
SCENE = Scene(NOW, ZONE, "ms", viewer_name="Fern Mills")


def incident(**changes: Any) -> Incident:
    """An open one that began three minutes ago."""
    began = NOW - timedelta(minutes=3)
    values: dict[str, Any] = {
        "id": uuid4(), "number": 1, "organization_id": uuid4(), "alert_id": uuid4(),
        "title": "Form slow", "status": IncidentStatus.OPEN, "severity": Severity.CRITICAL,
        "priority": Priority.CRITICAL, "escalation_level": EscalationLevel.NONE,
        "dedup_key": "k", "generation": 1, "detected_at": began, "acknowledged_at": None,
        "acknowledged_by": None, "acknowledged_by_name": None, "investigating_at": None,
        "resolved_at": None, "resolved_by": None, "closed_at": None, "reopened_at": None,
        "next_update_at": None, "metric_value": 9100.0, "threshold_value": 3000.0,
        "threshold_source": "wedding_value", "repeat_count": 0, "last_seen_at": NOW,
        "was_wedding_day": True, "wedding_date": date(2026, 6, 20), "wedding_phase": "set_up",
        "affected_weddings": (
            AffectedWedding(uuid4(), None, "A & R", "set_up", ZONE, NOW + timedelta(minutes=47)),
        ),
        "vendor_text": VendorText("Your order form", "is slow", "Payments work", ("Ring.",)),
        "merged_into": None, "created_by": None, "created_at": began, "updated_at": NOW,
    }  # fmt: skip
    return Incident(**(values | changes))


def event(kind: str, actor: str = "rule", actor_id: UUID | None = None, **more: Any) -> Event:
    """A line of a timeline."""
    values: dict[str, Any] = {"id": 1, "at": NOW, "message": "", "detail": {}} | more
    return Event(kind=kind, actor=actor, actor_id=actor_id, **values)


def rule(**changes: Any) -> AlertRule:
    """A rule over a time in ms."""
    values: dict[str, Any] = {
        "id": uuid4(), "organization_id": uuid4(), "alert_name": "Form slow",
        "metric_pattern": "order_forms.send_time", "comparison_operator": Operator.ABOVE,
        "threshold_value": 8000.0, "clear_threshold_value": 7000.0,
        "wedding_day_threshold_value": 3000.0, "for_duration": timedelta(minutes=2),
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return AlertRule(**(values | changes))


def check(**changes: Any) -> dict[str, Any]:
    """A health check that was fine ten seconds ago."""
    return {
        "display_name": "Order form", "status": "healthy",
        "last_check_at": NOW - timedelta(seconds=10),
        "check_interval": timedelta(seconds=15), "response_time_ms": 420.0,
        "response_time_threshold_ms": 2000.0, "status_since": NOW,
    } | changes  # fmt: skip


class TestProblem:
    def test_says_what_who_and_when(self) -> None:
        problem = build_problem(incident(), SCENE)
        assert problem.title == "Your order form is slow"
        assert problem.body == "Payments work. It stands at 9.1 s, and today's limit is 3 s."
        assert problem.owner == "Nobody has it yet."
        assert problem.status.word == "Problem since 13:10"

    def test_what_still_works_is_measured(self) -> None:
        watched = (
            Watched("Order form", "order_forms", "order_forms.send_time", True),
            Watched("Gallery", "gallery", "gallery.load_time", True),
            Watched("Payments", "payments", "payments.time", False),
        )
        scene = Scene(NOW, ZONE, "ms", services=watched, pattern="order_forms.send_time")
        body = build_problem(incident(), scene).body
        assert body.startswith("Still working: Gallery. It stands at")
        text = VendorText("Your order form", "is slow", "Orders still arrive.")
        body = build_problem(incident(vendor_text=text), scene).body
        assert body.startswith("Still working: Gallery. Orders still arrive. It stands at")

    def test_names_the_next_call(self) -> None:
        scene = Scene(NOW, ZONE, "ms", NOW + timedelta(minutes=1))
        assert "At 13:14 we call the next person" in build_problem(incident(), scene).owner

    @pytest.mark.parametrize(
        ("name", "words"),
        [("Priya Shah", "Priya has had it in hand"), ("Fern Mills", "You have had it in hand")],
    )
    def test_says_who_has_it(self, name: str, words: str) -> None:
        taken = incident(
            status=IncidentStatus.ACKNOWLEDGED, acknowledged_at=NOW, acknowledged_by_name=name
        )
        assert build_problem(taken, SCENE).owner.startswith(words)

    def test_broken_promise_is_told(self) -> None:
        late = incident(next_update_at=NOW - timedelta(minutes=3))
        assert "3 min late" in build_problem(late, SCENE).promise

    def test_over_is_green_with_its_length(self) -> None:
        over = incident(status=IncidentStatus.RESOLVED, resolved_at=NOW)
        problem = build_problem(over, SCENE)
        assert (problem.status.kind, problem.is_over) == ("ok", True)
        assert problem.body == "It was a problem for 3 min."

    def test_hostile_names_are_text(self) -> None:
        taken = incident(
            status=IncidentStatus.ACKNOWLEDGED,
            acknowledged_at=NOW,
            acknowledged_by_name="<img/src=x>",
        )
        assert "&lt;img" in build_problem(taken, SCENE).owner


class TestTimeline:
    @pytest.mark.parametrize(
        ("message", "step", "words"),
        [
            ("Told Rosa Whitlock", 1, "We called Rosa"),
            ("Told Tom Ashby, Mo Adeyemi", 2, "We called Tom, Mo"),
            ("", 1, "We called the first person"),
            ("", 2, "We called the next person"),
            (
                "Nobody could be told: no contact is set up",
                1,
                "Nobody could be told: no contact is set up",
            ),
        ],
    )
    def test_says_who_was_called(self, message: str, step: int, words: str) -> None:
        told = event("escalated", "ladder", message=message, detail={"step": step})
        (entry,) = build_timeline([told], SCENE, is_engineer=False)
        assert entry.words == words

    def test_vendor_reads_first_names_and_no_inner_steps(self) -> None:
        events = [
            event("opened", detail={"threshold_value": 3000.0}),
            event("delivery", message="E-mail to Priya: sent"),
            event("acknowledged", "Priya Shah", uuid4()),
            event("note", "Priya Shah", uuid4(), message="Looking <now>"),
        ]
        vendor = build_timeline(events, SCENE, is_engineer=False)
        assert [e.words for e in vendor] == [
            "Looking <now>", "Priya took it in hand", "It passed the limit of 3 s",
        ]  # fmt: skip
        assert len(build_timeline(events, SCENE, is_engineer=True)) == 4

    def test_every_kind_has_words(self) -> None:
        kinds = EVENT_KINDS
        for kind in kinds:
            for actor_id in (None, uuid4()):
                (entry,) = build_timeline([event(kind, "Mo A", actor_id)], SCENE, is_engineer=True)
                assert entry.words


class TestActions:
    def offer(self, found: Incident, **changes: bool) -> tuple[str, list[str]]:
        values = {"may_act": True, "is_engineer": False, "was_paged": False, "has_seen": False}
        primary, more = build_actions(found, **(values | changes))
        return (primary.url.rsplit("/", 1)[1] if primary else "", [
            one.url.rsplit("/", 1)[1] for one in more
        ])  # fmt: skip

    def test_whoever_was_called_takes_it_on(self) -> None:
        assert self.offer(incident(), was_paged=True)[0] == "acknowledge"
        assert self.offer(incident(), is_engineer=True)[0] == "acknowledge"

    def test_anybody_else_says_he_has_seen_it(self) -> None:
        assert self.offer(incident()) == ("seen", ["acknowledge", "escalate", "resolve"])
        assert self.offer(incident(), has_seen=True)[0] == ""

    def test_viewer_changes_nothing(self) -> None:
        assert self.offer(incident(), may_act=False) == ("", [])

    def test_over_can_only_come_back(self) -> None:
        over = incident(status=IncidentStatus.RESOLVED, resolved_at=NOW)
        assert self.offer(over) == ("", ["reopen"])
        closed = incident(status=IncidentStatus.CLOSED, closed_at=NOW)
        assert self.offer(closed) == ("", [])


class TestServices:
    def test_fresh_and_well_is_working(self) -> None:
        service = build_service(check(), NOW, is_engine_alive=True)
        assert (service.status.kind, service.status.word) == ("ok", "Working")
        assert service.detail == "0.42 s"

    @pytest.mark.parametrize(
        ("changes", "alive"),
        [
            ({"last_check_at": None}, True),
            ({"last_check_at": NOW - timedelta(seconds=86)}, True),
            ({"status": "unknown"}, True),
            ({}, False),
        ],
    )
    def test_nothing_old_or_unheard_is_green(self, changes: dict[str, Any], alive: bool) -> None:
        service = build_service(check(**changes), NOW, is_engine_alive=alive)
        assert (service.status.kind, service.status.word) == ("none", "Not known")

    def test_critical_but_answering_is_slow_not_down(self) -> None:
        slow = check(status="critical", response_time_ms=9000.0)
        service = build_service(slow, NOW, is_engine_alive=True)
        assert (service.status.kind, service.status.word) == ("crit", "Slow")
        down = check(status="critical", response_time_ms=None)
        assert build_service(down, NOW, is_engine_alive=True).status.word == "Not working"


class TestToday:
    def view(self, checks: list[dict[str, Any]], live: list[Incident], **more: Any) -> Any:
        services = [build_service(one, NOW, is_engine_alive=True) for one in checks]
        values: dict[str, Any] = {
            "live": live, "services": services, "weddings": [], "scene": SCENE, "next_at": {},
            "units": {str(one.id): "ms" for one in live}, "contacts": (), "week": "",
            "figure": None, "phone": "",
        }  # fmt: skip
        return build_today(**(values | more))

    def test_five_states(self) -> None:
        unknown = check(last_check_at=None)
        assert self.view([check()], []).state == "ok"
        assert self.view([], []).state == "empty"
        assert self.view([unknown], []).state == "unknown"
        assert self.view([check(), unknown], []).state == "unknown"
        assert self.view([check(status="warning")], []).state == "warn"
        assert self.view([check()], [incident()]).state == "problem"

    def test_title_begins_with_the_state(self) -> None:
        assert self.view([check()], [incident()]).title == "1 problem: order form is slow"
        assert self.view([check()], [incident(), incident()]).title == "2 problems"

    def test_week_in_one_line(self) -> None:
        over = incident(status=IncidentStatus.RESOLVED, resolved_at=NOW + timedelta(minutes=3))
        assert week_words([], NOW) == "No problems in the last 7 days."
        assert week_words([over], NOW) == "Last 7 days: 1 problem, 6 min in all."


class TestList:
    def test_groups_by_who_has_it(self) -> None:
        taken = incident(
            status=IncidentStatus.ACKNOWLEDGED, acknowledged_at=NOW, acknowledged_by_name="Mo A"
        )
        view = build_list([incident(), taken], [], SCENE)
        assert [g.heading for g in view.groups] == ["Nobody has it", "In hand"]
        assert view.groups[0].rows[0].detail == "Wedding today, next part in 47 min"
        assert view.groups[1].rows[0].detail.endswith("Mo has it")
        assert view.empty == ""

    def test_empty_tells_of_the_last_one(self) -> None:
        over = incident(status=IncidentStatus.RESOLVED, resolved_at=NOW)
        view = build_list([], [over], SCENE)
        assert view.empty == "No problems. The last one began 13:10 and took 3 min."
        assert build_list([], [], SCENE).empty == "No problems."


class TestRules:
    def test_sentence(self) -> None:
        row = build_row(rule(), "ms", NOW, ZONE)
        assert row.sentence == (
            "When the average of order forms, send time is over 8 s for 2 min, "
            "tell the people on the ladder."
        )
        assert row.wedding == "On wedding days over 3 s."
        assert row.told == "has never told anyone"

    def test_factor_is_told_as_the_number_that_holds(self) -> None:
        halved = rule(wedding_day_threshold_value=None)
        assert build_row(halved, "ms", NOW, ZONE).wedding == "On wedding days over 4 s."
        same = rule(wedding_day_override=False)
        assert build_row(same, "ms", NOW, ZONE).wedding == "On wedding days the same limit holds."


class TestCharts:
    chosen = choose_range("1h")

    def answer(self, pace: int, values: list[float], step: float = 30.0) -> RangeAnswer:
        end = window_of(self.chosen, NOW)[1].timestamp()
        points = [(end - (len(values) - i) * pace, value) for i, value in enumerate(values)]
        return RangeAnswer([RangeSeries("a.b", {}, "ms", points)], "raw", step)

    def data(self, answer: RangeAnswer) -> ChartData:
        return build_data(
            answer, chosen=self.chosen, now=NOW, zone=ZONE, aggregation=Aggregation.AVG, unit="ms"
        )

    def test_missing_steps_are_null_never_zero(self) -> None:
        answer = self.answer(30, [1.0] * 100)
        (series,) = answer.series
        holed = [p for i, p in enumerate(series.points) if not 40 <= i < 50]
        data = self.data(RangeAnswer([RangeSeries("a.b", {}, "ms", holed)], "raw", 30.0))
        values = data.lines[0].values
        assert len(values) == len(data.x) == 120
        assert values[:20] == (None,) * 20
        assert values[60:70] == (None,) * 10
        assert 0 not in values

    def test_slow_sender_is_no_row_of_gaps(self) -> None:
        answer = self.answer(60, [1.0, 2.0] * 25)
        assert step_of(answer) == 60
        values = self.data(answer).lines[0].values
        assert len(values) in (60, 61)
        assert None not in values[-49:-1]

    def test_peak_survives_thinning(self) -> None:
        values = [1.0] * 100
        values[37] = 9.0
        assert 9.0 in thin(values, 24)
        assert len(thin(values, 24)) <= 24
        assert thin([None] * 100, 24) == (None,) * 20

    def test_sentence_with_and_without_limit(self) -> None:
        answer = self.answer(30, [1200.0] * 99 + [9100.0])
        reading = read_series(answer, chosen=self.chosen, now=NOW)
        known: dict[str, Any] = {"unit": "ms", "now": NOW, "zone": ZONE, "step": 30}
        limit = Limit(3000, "limit 3 s")
        assert sentence_of(reading, limit=limit, **known) == (
            "9.1 s now, usually 1.2 s, limit 3 s."
        )
        assert sentence_of(reading, limit=None, **known) == "9.1 s now, usually 1.2 s."

    def test_old_value_is_not_told_as_now(self) -> None:
        answer = self.answer(30, [1200.0] * 10)
        reading = read_series(answer, chosen=self.chosen, now=NOW)
        later = NOW + timedelta(minutes=20)
        words = sentence_of(reading, unit="ms", limit=None, now=later, zone=ZONE, step=30)
        assert words == "No sample since 13:13."

    def test_csv_leaves_gaps_empty_and_formulas_harmless(self) -> None:
        data = ChartData("ms", ZONE, 0, 60, 60, 30, (0.0, 30.0), (Line("=1+1", (None, 2.5)),))
        assert to_csv(data).decode().splitlines() == [
            "time,'=1+1 (ms)", "1970-01-01T00:00:00Z,", "1970-01-01T00:00:30Z,2.5",
        ]  # fmt: skip
        assert safe_cell("plain") == "plain"


class TestWeddings:
    def card(self, now: datetime) -> Any:
        windows = [
            (name, NOW.replace(hour=a, minute=0), NOW.replace(hour=b, minute=0))
            for name, a, b in (("ceremony", 13, 14), ("set_up", 9, 13), ("reception", 14, 22))
        ]
        return build_card(
            wedding_id=uuid4(), couple="A & R", venue=None, zone=ZONE, windows=windows, now=now
        )

    def test_phases_in_order_with_the_next_one(self) -> None:
        card = self.card(NOW)
        assert [p.state for p in card.phases] == ["now", "next", "next"]
        assert card.milestone.name == "Ceremony"
        assert card.phases[0].left == 0
        assert card.phases[-1].left + card.phases[-1].width == 1000

    def test_is_on_its_day_until_it_is_over(self) -> None:
        assert is_on_day(self.card(NOW), NOW)
        before = NOW - timedelta(days=1)
        assert not is_on_day(self.card(before), before)
        last = NOW.replace(hour=21, minute=59)
        assert self.card(last).milestone is None

    def test_day_of_23_hours(self) -> None:
        _, begins, ends = whole_day(date(2026, 3, 29), ZONE)
        assert ends.astimezone(UTC) - begins.astimezone(UTC) == timedelta(hours=23)


@pytest.mark.parametrize(
    ("path", "is_safe"),
    [
        ("/", True), ("/incidents?x=1", True), ("//evil", False), ("/\\evil", False),
        ("https://evil", False), ("", False), ("/a\nb", False), ("/a\\b", False),
    ],
)  # fmt: skip
def test_only_paths_of_ours_are_followed(path: str, is_safe: bool) -> None:
    assert is_safe_path(path) is is_safe


def test_first_name() -> None:
    assert first_name("Priya Shah") == "Priya"
    assert first_name("priya@example.com") == "priya"
    assert first_name(None) == ""


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "open"), ({"status": "acknowledged", "acknowledged_at": NOW}, "used"),
        ({"status": "resolved", "resolved_at": NOW}, "resolved"), ({"is_expired": True}, "old"),
        ({"is_used": True}, "used"),
    ],
)  # fmt: skip
def test_one_tap_page_offers_only_what_it_can_do(changes: dict[str, Any], state: str) -> None:
    found = {
        "vendor_text": {"subject": "Your order form", "problem": "is slow"}, "title": "x",
        "incident_id": uuid4(), "status": "open", "acknowledged_by_name": "Mo A",
        "acknowledged_at": None, "resolved_at": None, "is_expired": False, "is_used": False,
        "next_step_at": NOW + timedelta(minutes=1), "organization_name": "Fern & Field",
        "detected_at": NOW, "affected_weddings": [],
    } | changes  # fmt: skip
    view = build_ack(found, NOW, ZONE, is_done=False)
    assert view.state == state
    assert view.title == "Your order form is slow"


def delivery(**changes: Any) -> dict[str, Any]:
    """A call that went out, with its one-tap link."""
    return {
        "id": uuid4(), "channel": "email", "state": "sent", "created_at": NOW, "sent_at": NOW,
        "recipient": {"name": "Rosa"}, "subject": "Slow", "state_reason": "",
        "body": "Slow.\nI'm on it: https://apm.example/ack/7KQ2-M9_XF\n",
    } | changes  # fmt: skip


class TestInbox:
    @pytest.mark.parametrize("state", ["sent", "delivered", "unknown", "retry", "failed"])
    def test_a_link_that_went_out_is_its_receivers(self, state: str) -> None:
        shown = build_message(delivery(state=state), ZONE, is_own=False).body
        assert "7KQ2" not in shown
        assert "XF" not in shown
        assert shown.endswith("/ack/(only for the receiver)")
        assert "/ack/7KQ2-M9_XF" in build_message(delivery(state=state), ZONE, is_own=True).body

    def test_what_lies_only_here_stays_of_use(self) -> None:
        assert "/ack/7KQ2-M9_XF" in build_message(delivery(state="inbox"), ZONE).body

    def test_a_notification_is_shown_as_the_phone_does(self) -> None:
        said = {
            "title": "Order form slow", "body": "Orders still arrive.", "tag": "x",
            "acknowledge_url": "https://apm.example/ack/7KQ2-M9_XF", "severity": "critical",
        }  # fmt: skip
        row = delivery(channel="push", body=json.dumps(said))
        for is_own, link in ((True, "7KQ2-M9_XF"), (False, "(only for the receiver)")):
            shown = build_message(row, ZONE, is_own=is_own)
            assert shown.subject == "Order form slow"
            assert shown.body == f"Orders still arrive.\nhttps://apm.example/ack/{link}"
        plain = build_message(row | {"body": json.dumps(said | {"acknowledge_url": None})}, ZONE)
        assert plain.body == "Orders still arrive."
        for odd in ("{", "[1]", "Just words"):
            shown = build_message(row | {"body": odd}, ZONE)
            assert (shown.subject, shown.body) == ("Slow", odd)

    def test_a_setting_is_named_to_engineers_only(self) -> None:
        row = delivery(state="inbox", state_reason=NO_SERVER)
        plain = build_message(row, ZONE).reason
        assert plain == "E-mail is not set up here, so this stays here and went to nobody."
        assert "WEDSYNC_APM_SMTP_URL" in build_message(row, ZONE, is_engineer=True).reason
        (told,) = build_told([row])
        assert told.reason == plain


def test_charts_come_by_importance() -> None:
    def metric(service: str, name: str) -> Metric:
        return Metric(service, name, "gauge", "ms", 1, NOW)

    catalogue = [
        metric("chat", "time"), metric("form", "time"),
        metric("pay", "errors"), metric("web", "hits"),
    ]  # fmt: skip
    order = by_importance(
        catalogue,
        troubled=[rule(metric_pattern="pay.errors")],
        first=["form.time", "chat.time"],
        watched={("chat", "time")},
    )
    assert [one.service_name for one in order] == ["pay", "form", "chat", "web"]
