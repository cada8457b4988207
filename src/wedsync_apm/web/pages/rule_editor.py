"""The rule editor: the kind first, then its fields, and what the rule would have done."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from litestar import get, post
from litestar.params import FromPath

from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import Conflict, Forbidden, NotFound, NotValid, RateLimited
from wedsync_apm.rules import past, store
from wedsync_apm.rules.limits import WINDOW, grade_of
from wedsync_apm.rules.model import AlertRule, RuleDraft, RuleKind
from wedsync_apm.rules.replay import Budget
from wedsync_apm.types import Role
from wedsync_apm.web import say
from wedsync_apm.web.build.board_rule import LIMIT, USUAL, typed_from_address
from wedsync_apm.web.build.edits import carried, compare, opened
from wedsync_apm.web.build.rule_editor import (
    LOOKS,
    build_kinds,
    count_words,
    look_options,
    member_options,
    options_of,
    suggest,
    unit_in,
    watched,
)
from wedsync_apm.web.build.rule_form import new_draft, read_draft, typed_from, typed_of
from wedsync_apm.web.build.rule_lines import lines_of_rule
from wedsync_apm.web.build.rule_preview import (
    Look,
    Reader,
    build_nears,
    build_preview,
    rule_unit,
)
from wedsync_apm.web.pages.frame import Html, PageRequest, Visit, see, visit, web_of
from wedsync_apm.web.session import check_form
from wedsync_apm.web.store import lock
from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.rule_form import EditorView, Option, PartsView, PreviewView, Typed
from wedsync_apm.web.words import say as words

RANGES: Final = (
    ("7d", timedelta(days=7)),
    ("3d", timedelta(days=3)),
    ("24h", timedelta(days=1)),
    ("6h", timedelta(hours=6)),
    ("1h", timedelta(hours=1)),
)
QUICK_SAMPLES: Final = 25_000
QUICK_VERDICTS: Final = 60_000
"""What one try may cost, about a second of one core; with more of it a shorter range is tried."""
POINTS: Final = QUICK_VERDICTS
"""Nearly all of them: the drawing keeps the lowest and the highest of each stretch."""


def may_edit(here: Visit) -> bool:
    """Owners and admins, as the API has it."""
    return here.role in (Role.OWNER, Role.ADMIN)


@get("/rules/new")
async def new_rule_page(request: PageRequest) -> Html:
    """Which kind; and once that is chosen, its form."""
    asked = dict(request.query_params.items())
    kind = _kind_of(asked.get("kind"))
    async with visit(request) as here:
        if not may_edit(here):
            raise Forbidden
        if kind is None:
            metric = asked.get("metric", "")[:256]
            return here.page("rule_kinds.html", "rules", build_kinds(metric))
        typed = typed_from_address(kind, asked)
        begun = {LIMIT: words("rule.from_limit"), USUAL: words("rule.from_usual")}
        return await show(
            here, None, new_draft(kind), typed, begun=begun.get(asked.get("from", ""), "")
        )


@get("/rules/{rule_id:uuid}/edit")
async def edit_rule_page(request: PageRequest, rule_id: FromPath[UUID]) -> Html:
    """The form of one rule, as it stands, with what it would have done."""
    async with visit(request) as here:
        rule = await find_own_rule(here, rule_id)
        if not may_edit(here):
            raise Forbidden
        typed = typed_of(rule)
        return await show(here, rule.id, rule, typed, stood=opened(typed))


@post("/rules/new", status_code=200)
async def make_rule(request: PageRequest) -> Html:
    """Makes the rule, or shows what it would have done."""
    form = await request.form()
    check_form(web_of(request), request, form)
    kind = _kind_of(form.get("kind"))
    if kind is None:
        raise NotFound
    async with visit(request) as here:
        if not may_edit(here):
            raise Forbidden
        return await take(here, None, new_draft(kind), form)


@post("/rules/{rule_id:uuid}/edit", status_code=200)
async def save_rule(request: PageRequest, rule_id: FromPath[UUID]) -> Html:
    """Saves the rule, or shows what it would have done like this."""
    form = await request.form()
    check_form(web_of(request), request, form)
    async with visit(request) as here:
        rule = await find_own_rule(here, rule_id)
        if not may_edit(here):
            raise Forbidden
        return await take(here, rule.id, rule, form)


@post("/rules/preview", status_code=200)
async def preview_rule(request: PageRequest) -> Html:
    """The parts of the editor that follow what is typed."""
    form = await request.form()
    check_form(web_of(request), request, form)
    kind = _kind_of(form.get("kind"))
    if kind is None:
        raise NotFound
    async with visit(request) as here:
        base: RuleDraft = new_draft(kind)
        if isinstance(sent := form.get("rule_id"), str) and sent:
            base = await find_own_rule(here, _id_of(sent))
        typed = typed_from(kind, form)
        parts = await read_parts(here, base, typed, look_of(form), is_new=not sent)
        return here.page("rule_parts.html", "rules", parts)


async def take(here: Visit, rule_id: UUID | None, base: RuleDraft, form: Any) -> Html:
    """One form that was sent: kept, or shown again with its faults or its preview."""
    typed = typed_from(base.rule_kind, form)
    stood = carried(form)
    if form.get("do") == "try":
        return await show(here, rule_id, base, typed, look=look_of(form), stood=stood)
    series = await store.list_series(here.cx, here.organization_id)
    unit = unit_in(series, watched(None, typed)[0])
    draft, errors = read_draft(typed, base, unit)
    if draft is not None:
        if isinstance(base, AlertRule):
            await lock(here.cx, "rule", base.id)
            base = await find_own_rule(here, base.id)
            stands = typed_of(base)
            members = await list_members(here, base)
            stood = compare(
                form,
                stands,
                mine=lines_of_rule(typed_of(draft), members),
                theirs=lines_of_rule(stands, members),
                href=f"/rules/{base.id}/edit",
            )
            if stood.clash:
                return await show(
                    here, rule_id, base, typed, look=look_of(form), stood=stood, status=409
                )
            draft = read_draft(typed, base, unit)[0] or draft
        try:
            with wrap_database_errors():
                async with here.cx.transaction():
                    return await keep(here, rule_id, draft)
        except Conflict:
            errors = {"alert_name": words("rule.fault.taken")}
        except NotValid as exc:
            errors = {one.field: words("rule.fault.other", reason=one.reason) for one in exc.errors}
            errors = errors or {"": words("rule.fault.other", reason=exc.detail)}
    return await show(
        here, rule_id, base, typed, errors=errors, look=look_of(form), stood=stood, status=422
    )


async def keep(here: Visit, rule_id: UUID | None, draft: RuleDraft) -> Html:
    """Makes or changes the rule, and leads to its page."""
    if rule_id is None:
        made = await store.create_rule(here.cx, here.organization_id, draft)
        return see(f"/rules/{made.id}", said="made")
    await store.update_rule(here.cx, rule_id, draft)
    return see(f"/rules/{rule_id}", said="saved")


async def show(
    here: Visit,
    rule_id: UUID | None,
    base: RuleDraft,
    typed: Typed,
    *,
    errors: dict[str, str] | None = None,
    look: str = LOOKS[0],
    stood: Stood = NEW,
    status: int = 200,
    begun: str = "",
) -> Html:
    """The editor with what was typed; `begun` says where a suggested limit comes from."""
    parts = await read_parts(here, base, typed, look, is_new=rule_id is None)
    kind = typed.kind
    view = EditorView(
        id=rule_id,
        title=base.alert_name if rule_id else words("rule.new"),
        kind=words(f"rule.kind.{kind.value}"),
        typed=typed,
        options=options_of(kind),
        members=await list_members(here, base),
        looks=look_options(),
        look=look,
        parts=parts,
        errors=errors or {},
        fault=count_words(errors) if errors else "",
        stood=stood,
        begun=begun,
    )
    return here.page("rule_edit.html", "rules", view, status=status)


async def list_members(here: Visit, base: RuleDraft) -> tuple[Option, ...]:
    """The rules that a composite one may count; none for any other kind."""
    if base.rule_kind is not RuleKind.COMPOSITE:
        return ()
    return member_options(await store.list_rules(here.cx, here.organization_id), base)


async def read_parts(
    here: Visit, base: RuleDraft, typed: Typed, look: str, *, is_new: bool
) -> PartsView:
    """What follows what is typed: suggestions, the graded limits, the preview."""
    named = {**typed.texts, "alert_name": typed.texts["alert_name"][:200] or "-"}
    series = await store.list_series(here.cx, here.organization_id)
    unit = unit_in(series, watched(None, typed)[0])
    draft, errors = read_draft(replace(typed, texts=named), base, unit)
    above, below = watched(draft, typed)
    reader = reader_of(here)
    # the limits near a wedding need the limit only
    limited = draft or limits_of(typed, errors, unit)
    preview = PreviewView(words("rule.would_first"))
    if draft is not None:
        preview = await try_out(here, draft, look, reader)
    shown = rule_unit(draft or base, unit) or ""
    return PartsView(
        nears=build_nears(limited, typed, unit, reader),
        suggestions=suggest(series, above, below, is_new=is_new),
        preview=preview,
        unit="" if shown == "ratio" else shown,
        typed=typed,
    )


def limits_of(typed: Typed, errors: dict[str, str], unit: str | None) -> RuleDraft | None:
    """As much of a rule that is not whole yet as its limits need."""
    if any(name.startswith(("threshold_value", "near_", "factor_")) for name in errors):
        return None
    patched = {"alert_name": "-", "metric_pattern": "a.b", "denominator_pattern": "a.b"}
    kept = {
        name: text
        for name, text in typed.texts.items()
        if name.startswith(("near_", "factor_")) or name in ("threshold_value", "aggregation")
    }
    plain = typed_of(new_draft(typed.kind, "a.b"))
    whole = replace(
        plain,
        texts={
            **plain.texts,
            **patched,
            **kept,
            "comparison_operator": typed.texts["comparison_operator"],
        },
        chosen={**plain.chosen, "member_rule_ids": frozenset({str(store.UNSTORED)})},
        ticked=typed.ticked,
    )
    return read_draft(whole, new_draft(typed.kind), unit)[0]


def reader_of(here: Visit) -> Reader:
    """Who reads the preview."""
    return Reader(here.at, here.zone, here.is_engineer, here.web.settings.wedding_factor)


class _Asked(NamedTuple):
    look: Look
    budget: Budget


async def try_out(here: Visit, draft: RuleDraft, look: str, reader: Reader) -> PreviewView:
    """What a rule would have done, over as much of the past as is gone through quickly."""
    rule = (
        replace(draft, organization_id=here.organization_id)
        if isinstance(draft, AlertRule)
        else store.as_if_stored(draft, here.organization_id, here.at)
    )
    asked = await asked_for(here, look)
    if not asked:
        return PreviewView(words("rule.would_no_wedding"))
    try:
        with past.JUDGING.one_of(here.subject):
            for one in asked:
                question = past.Question(
                    one.look.start, one.look.end, reader.factor, POINTS, one.budget
                )
                try:
                    found = await past.judge_past(here.cx, rule, question)
                except NotValid:
                    continue
                return build_preview(found, one.look, reader)
    except RateLimited:
        return PreviewView(words("rule.would_busy"), is_busy=True)
    except NotFound:
        return PreviewView(words("rule.fault.member_rule_ids"))
    return PreviewView(words("rule.would_long"))


async def asked_for(here: Visit, look: str) -> list[_Asked]:
    """The ranges to try, the one that was asked for first."""
    end = past.whole_milliseconds(here.at)
    if look == "wedding":
        found = await last_wedding(here, end)
        if found is None:
            return []
        begins, ends = found
        range_words = words("rule.range.wedding", day=say.day(begins, here.zone))
        return [_Asked(Look(look, begins, ends, range_words), Budget())]
    first = next((n for n, (key, _) in enumerate(RANGES) if key == look), 0)
    return [
        _Asked(
            Look(key, end - span, end, words(f"rule.range.{key}"), is_shorter=key != look),
            Budget(QUICK_SAMPLES, QUICK_VERDICTS),
        )
        for key, span in RANGES[first:]
    ]


async def last_wedding(here: Visit, now: datetime) -> tuple[datetime, datetime] | None:
    """From when to when the last wedding was, or the one under way is; None without one in the
    calendar's 90 days."""
    windows = [
        one
        for one in await past.list_phases(here.cx, here.organization_id, now, now)
        if one.wedding_id is not None and grade_of(one.phase) == WINDOW and one.starts_at < now
    ]
    if not windows:
        return None
    last = max(windows, key=lambda one: one.starts_at).wedding_id
    own = [one for one in windows if one.wedding_id == last]
    begins = min(one.starts_at for one in own)
    return begins, min(max(one.ends_at for one in own), now, begins + timedelta(days=3))


async def find_own_rule(here: Visit, rule_id: UUID) -> AlertRule:
    """A rule of the business that is looked at. Raises NotFound for any other."""
    rule = await store.find_rule(here.cx, rule_id)
    if rule.organization_id != here.organization_id:
        raise NotFound
    return rule


def look_of(form: Any) -> str:
    """The range that was asked for."""
    sent = form.get("look")
    return sent if sent in LOOKS else LOOKS[0]


def _kind_of(sent: object) -> RuleKind | None:
    return RuleKind(sent) if isinstance(sent, str) and sent in set(RuleKind) else None


def _id_of(sent: str) -> UUID:
    try:
        return UUID(sent)
    except ValueError as exc:
        raise NotFound from exc
