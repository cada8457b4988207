"""The catalogue: complete, whole sentences, and in the vendor's tongue where a vendor reads it."""

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Final

import pytest
from markupsafe import Markup

from wedsync_apm.dashboards.model import Compare, Span
from wedsync_apm.dashboards.model import Level as BoardLevel
from wedsync_apm.drills.model import Every
from wedsync_apm.drills.model import Result as DrillResult
from wedsync_apm.escalation.model import Clock, Weddings
from wedsync_apm.health.model import Outcome
from wedsync_apm.incidents.reviews.model import Scope
from wedsync_apm.metrics.ranges import Aggregation
from wedsync_apm.notify.channels import SENDERS
from wedsync_apm.notify.model import State
from wedsync_apm.organizations.monitoring.model import Monitoring, StepName
from wedsync_apm.types import (
    Channel,
    EscalationLevel,
    IncidentStatus,
    Role,
    ServiceStatus,
    Severity,
)
from wedsync_apm.web.build.board_editor import WORDS_OF_EDITOR as BOARD_EDITOR_WORDS
from wedsync_apm.web.build.contacts import ELSEWHERE
from wedsync_apm.web.build.ladder_form import UNITS
from wedsync_apm.web.build.ladders import SEVERITIES
from wedsync_apm.web.build.readiness import MENDED_AT
from wedsync_apm.web.build.reviews import LISTS
from wedsync_apm.web.build.rota import EVERY, WEEKENDS
from wedsync_apm.web.render import EXTRAS
from wedsync_apm.web.views.shell import THEMES
from wedsync_apm.web.words import PARTS, WORDS, say
from wedsync_apm.weddings.guard.model import Decision, Emergency, GuardMode
from wedsync_apm.weddings.imports.model import Action
from wedsync_apm.weddings.model import Phase
from wedsync_apm.weddings.readiness.model import Outcome as Ready

EVENT_KINDS = (
    "opened", "acknowledged", "investigating", "resolved", "closed", "reopened", "expired",
    "merged", "repeated", "seen", "note", "escalated", "exhausted", "delivery", "update", "held",
    "released", "warned", "late", "joined", "postmortem",
)  # fmt: skip
BY_PEOPLE = {
    "opened", "acknowledged", "investigating", "resolved", "closed", "reopened", "seen",
    "merged",
}  # fmt: skip
WEB = Path(str(files("wedsync_apm.web")))
SOURCES = [*WEB.rglob("*.html"), *(p for p in WEB.rglob("*.py") if p.parent.name != "words")]
# Keys put together from data, by their beginning and what may follow.
STEP_CODES: Final = {
    StepName.CALENDAR: ("past", "none", "action"),
    StepName.PHONE: ("there", "unverified", "none"),
    StepName.RULES: ("there", "none", "no_rules", "no_board"),
    StepName.TEST: (
        "none", "pending", "failed", "sent", "unknown", "inbox", "delivered", "action",
    ),
    StepName.INSTALL: ("there", "unproved", "none", "action"),
}  # fmt: skip
"""What the database may say of each first step, and its button."""
BUILT: dict[str, set[str]] = {
    "board.span.": {one.value for one in Span},
    "board.window.": {*(one.value for one in Span), "fixed"},
    "board.compare.": {one.value for one in Compare},
    "board.level.": {one.value for one in BoardLevel},
    "board.column.": {"name", "now", "usual", "highest", "before"},
    "board.samples_": {"time", "value", "metric", "tags"},
    "editor.": set(BOARD_EDITOR_WORDS),
    "ladder.": {"only_weddings", "never_weddings"},
    "phone.": {
        *("on", "waiting", "stopped", "none", "viewer"),
        *(f"{key}_body" for key in ("on", "waiting", "stopped", "none", "viewer")),
        *("denied", "unsupported", "install_first", "lost", "failed"),
        *("ios", "android", "other", "sent_verify", "sent_test"),
        *(f"ios_{n}" for n in range(1, 5)),
        *(f"android_{n}" for n in range(1, 4)),
        *("other_1", "other_2"),
    },
    "worker.": {"news", "take", "answer", "unsent", "lost", "lost_body"},
    "ladder.weddings.": {one.value for one in Weddings},
    "ladder.hours.": {"", *(one.value for one in Clock)},
    "ladder.unit.": set(UNITS),
    "ladder.level.": {one.value for one in EscalationLevel},
    "ladder.severity.": {"", *(one.value for one in Severity)},
    "ladders.severity.": {one.value for one in SEVERITIES},
    "calls.via_": {"everybody", "owner"},
    "heartbeat.": {
        "new",
        "up",
        "started",
        "late",
        "down",
        "paused",
        "last",
        "due",
        "alarm",
        "took",
        "severity",
        "service",
    },
    "check.window.": {"1h", "24h", "7d", "30d"},
    "check.every.": {"15", "30", "60", "300", "900", "3600"},
    "check.over.": {"3600", "21600", "86400", "604800"},
    "check.": {f"cadence_{one}" for one in ("under_way", "day", "week", "month", "guard")}
    | {f"limit.{one}" for one in ("errors_critical", "available_warning", "available_critical")},
    "status_page.": {"slow", "down"},
    "status_page.state.": {"working", "slow", "down", "planned", "unknown"},
    "status_link.": {
        "confirm",
        "leave",
        "confirm_button",
        "leave_button",
        "confirmed",
        "left",
    },
    "heartbeat.signal.": {"success", "start", "fail"},
    "heartbeat.unit.": {"seconds", "minutes", "hours", "days"},
    "heartbeat.severity.": {"info", "warning", "critical", "emergency"},
    "match.": {"service", "metric", "rule", "severity"},
    "match.operator.": {"=", "!=", "=~", "!~"},
    "silence.": {
        "needs_approval",
        "scheduled",
        "active",
        "ended",
        "what",
        "from",
        "until",
        "why",
        "owner",
        "made",
    },
    "silence.say.": {"needs_approval", "scheduled", "active", "ended", "never"},
    "silences.": {
        "waiting",
        *(f"{k}{e}" for k in ("now", "coming", "past") for e in ("", "_none")),
    },
    "rule.agg.": {
        "avg",
        "count",
        "increase",
        "last",
        "max",
        "min",
        "p50",
        "p90",
        "p95",
        "p99",
        "rate",
        "stddev",
        "sum",
    },
    "rule.bad.": {"critical", "emergency", "info", "warning"},
    "rule.baseline.": {"last_wedding", "same_weekday"},
    "rule.fault.": {
        "aggregation",
        "alert_name",
        "baseline",
        "baseline_weeks",
        "clear_threshold_value",
        "cooldown_period",
        "denominator_pattern",
        "denominator_selectors",
        "evaluation_window",
        "factor",
        "flap_changes",
        "flap_window",
        "for_duration",
        "group_by",
        "horizon",
        "keep_firing_for",
        "metric_pattern",
        "near",
        "objective",
        "severity",
        "short_window",
        "tag_selectors",
        "threshold_value",
    },
    "rule.field.": {
        "aggregation",
        "alert_name",
        "auto_resolve",
        "baseline",
        "baseline_weeks",
        "burn",
        "change",
        "clear_threshold_value",
        "comparison_operator",
        "cooldown_period",
        "count",
        "denominator_pattern",
        "denominator_selectors",
        "evaluation_window",
        "flap_changes",
        "flap_window",
        "for_duration",
        "group_by",
        "grouping",
        "horizon",
        "keep_firing_for",
        "metric_pattern",
        "no_data_policy",
        "numerator",
        "objective",
        "opens_incident",
        "severity",
        "short_window",
        "stale_policy",
        "tag_selectors",
        "threshold_value",
        "wedding_day_override",
        "wedding_day_severity",
    },
    "rule.grouping.": {"each", "tags"},
    "rule.hint.": {
        "burn",
        "change",
        "clear_threshold_value",
        "flap",
        "for_duration",
        "group_by",
        "horizon",
        "keep_firing_for",
        "metric_pattern",
        "share",
        "short_window",
        "span",
    },
    "rule.kind.": {
        "burn_rate",
        "burn_rate_as",
        "change",
        "change_as",
        "composite",
        "composite_as",
        "deadline",
        "deadline_as",
        "ratio",
        "ratio_as",
        "threshold",
        "threshold_as",
    },
    "rule.look.": {"24h", "7d", "wedding"},
    "rule.match.": {"absent", "equal", "glob", "in", "not_equal"},
    "rule.near.": {
        "after",
        "ceremony",
        "day",
        "days_before",
        "declared",
        "enhanced",
        "evening_before",
        "maximum",
        "reception",
        "rule",
        "set_up",
        "tear_down",
        "window",
    },
    "rule.near_from.": {"rule", "wedding_factor", "wedding_value"},
    "rule.phase.": {
        "after",
        "days_before",
        "declared",
        "enhanced",
        "evening_before",
        "maximum",
        "window",
    },
    "rule.range.": {"1h", "24h", "3d", "6h", "7d"},
    "rule.silence.": {"alert", "keep", "ok"},
    "why.gap.": {"absent", "not_applicable", "stale"},
    "why.limit_": {"wedding_factor", "wedding_value"},
    "why.side.": {"above", "at_least", "at_most", "below"},
    "why.state.": {"firing", "flapping", "keeping", "no_data", "ok", "pending"},
    "work.": {"off", "open", "scheduled", "ended"},
    "work.weeks.": {"1", "2", "3", "4"},
    "held.": {"silence", "maintenance", "inhibition"},
    "held.engineer.": {"silence", "maintenance", "inhibition"},
    "nav.": {"today", "incidents", "weddings", "charts", "more", *(key for key, _ in EXTRAS)},
    "more.": {f"{key}_note" for key, _ in EXTRAS},
    "theme.": set(THEMES),
    "wedding.source.": {"manual", "client", "import", "simulated"},
    "wedding_form.": {"booked", "completed"},
    "wedding_form.visible.": {"MEMBER", "ADMIN"},
    "guard.": {
        f"{kind}{ending}"
        for kind in ("freeze", "enhanced", "maximum", "order")
        for ending in ("", ".from", ".until", ".why")
    },
    "guard.mode.": {one.value for one in GuardMode},
    "guard.now.": {"calendar", "override"},
    "emergency.": {one.value for one in Emergency},
    "freeze.": {one.value for one in Decision},
    "freeze.word.": {one.value for one in Decision},
    "import.action.": {*(one.value for one in Action), "refused"},
    "import.order.": {"", "dmy", "mdy", "ymd"},
    "import.field.": {
        "wedding_date",
        "time_zone",
        "status",
        "couple_names",
        "venue_name",
        "contacts",
        "windows",
    },
    "ready.line.": {one.value for one in Ready},
    "started.": {
        f"{step.value}.{part}"
        for step in StepName
        for part in ("title", "why", "help", *STEP_CODES[step])
    },
    "started.test.": {"delivered_untimed", "failed_plain"},
    "started.phone.": {"action", "action_unverified"},
    "started.rules.": {"action_rules", "action_boards"},
    "started.channel.": {"email", "sms", "voice", "push", "other"},
    "tenants.step.": {step.value for step in StepName},
    "tenants.state.": {one.value for one in Monitoring},
    "tenants.result.": {"incident", "wedding", "platform", "unknown"},
    "drills.": {"sent", "received", "p50", "p95"},
    "drills.result.": {one.value for one in DrillResult},
    "drills.every.": {one.value for one in Every},
    "drills.held.": {"wedding", "quiet_hours", "running", "nobody"},
    "ready.mend.": set(MENDED_AT),
    "contacts.": {
        f"{key}{end}" for key in ("thin", "aside", "unproven", "nobody") for end in ("", "_body")
    },
    "contact.form.": {one.value for one in SENDERS if one not in ELSEWHERE},
    "contact.sent_": {"verify", "test"},
    "rota.every.": set(EVERY),
    "rota.weekend.": set(WEEKENDS),
    "error.": {
        f"{status}.{part}"
        for status in (401, 403, 404, 409, 413, 422, 429, 500, 503)
        for part in ("title", "body", "do")
    },
    "status.": {one.value for one in ServiceStatus},
    "phase.": {*(one.value for one in Phase), "day"},
    "incident.": {one.value for one in IncidentStatus},
    "incident.engineer.": {one.value for one in IncidentStatus},
    "delivery.": {one.value for one in State},
    "attempt.": {"sent", "retry", "failed", "unknown", "open"},
    "channel.": {one.value for one in Channel},
    "role.": {one.value for one in Role},
    "function.": {one.value for one in Aggregation},
    "report.": {one.value for one in Outcome},
    "event.": {
        f"{kind}{ending}"
        for kind in EVENT_KINDS
        for ending in (("", "_by") if kind in BY_PEOPLE else ("",))
    },
    "incidents.figures_": {one.value for one in Scope} | {"taken_once", "fixed_once"},
    "told.": {"page", "reopened", "update", "resolved"},
    "review.": {*LISTS, "customers_affected", "data_loss", "financial_impact_pounds"},
    "": {"database.title", "report.title"},
}


def used_keys() -> set[str]:
    """Every key that a template or module names in full."""
    found: set[str] = set()
    for path in SOURCES:
        text = path.read_text()
        found |= set(re.findall(r"""(?:\bsay\(|words\[)\s*["']([\w.#]+)["']""", text))
        found |= set(re.findall(r"""\bsay\(["']([\w.]+)["'] if""", text))
    return found


def test_every_key_used_exists() -> None:
    known = set(WORDS) | {key.partition("#")[0] for key in WORDS}
    assert used_keys() - known - {key for key in used_keys() if key.endswith(".")} == set()


def test_every_key_built_from_data_exists() -> None:
    wanted = {start + end for start, ends in BUILT.items() for end in ends}
    assert wanted - set(WORDS) == set()


def test_every_key_is_used() -> None:
    text = "\n".join(path.read_text() for path in SOURCES)
    built = {start + end for start, ends in BUILT.items() for end in ends}
    unused = {
        key
        for key in (key.partition("#")[0] for key in WORDS)
        if f'"{key}"' not in text and f"'{key}'" not in text and key not in built
    }
    assert unused == set()


def test_plurals_come_in_pairs() -> None:
    ones = {key.removesuffix("#one") for key in WORDS if key.endswith("#one")}
    others = {key.removesuffix("#other") for key in WORDS if key.endswith("#other")}
    assert ones == others
    assert say("today.problems", n=1) == "1 problem"
    assert say("today.problems", n=3) == "3 problems"


def test_gaps_are_escaped_once() -> None:
    assert say("call.whom", name="<b>&") == "Call &lt;b&gt;&amp;"
    assert say("call.whom", name=Markup("<b>x</b>")) == "Call <b>x</b>"


def test_missing_key_and_gap_are_loud() -> None:
    with pytest.raises(KeyError):
        say("no.such.key")
    with pytest.raises(KeyError):
        say("call.whom")


def test_gaps_have_names() -> None:
    for key, words in WORDS.items():
        gaps = [name for _, name, _, _ in Formatter().parse(words) if name is not None]
        assert all(gap.isidentifier() for gap in gaps), key


NEVER = re.compile(
    r"\b(p95|p99|latency|threshold|endpoint|5xx|tenant|acknowledge\w*|escalat\w*|node|RLS|critical|"
    r"severity|oops|unfortunately|please|sorry)\b|!",
    re.IGNORECASE,
)


def test_vendors_never_read_these() -> None:
    for_engineers = ("engineer.", "incident.engineer.", "report.", "database.", "charts.p95")
    bad = {
        key: words
        for key, words in WORDS.items()
        if NEVER.search(words) and not key.startswith(for_engineers)
    }
    assert bad == {}


def test_no_part_of_the_catalogue_takes_a_key_from_another() -> None:
    keys = Counter(key for part in PARTS for key in part.WORDS)
    assert [key for key, count in keys.items() if count > 1] == []
