"""Who is on call, in words and bars. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from wedsync_apm.escalation.schedules.model import Source, Span, find_present, intersect, subtract
from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.build.bars import town
from wedsync_apm.web.build.holding import wall
from wedsync_apm.web.build.people import People
from wedsync_apm.web.build.weeks import Week, read_week
from wedsync_apm.web.views.on_call import Block, ScheduleCard, Stretch, Swap, Use, WeekBars
from wedsync_apm.web.views.shell import Status
from wedsync_apm.web.words import say as words

AHEAD: Final = timedelta(days=35)
"""How far who-is-on-call-now looks for the next hand-over."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody on call, as the database has it; `name` is None for who may not know it."""

    user_id: UUID
    name: str | None
    starts_at: datetime
    ends_at: datetime
    source: Source
    verified: int


@dataclass(frozen=True, slots=True)
class Feast:
    """A wedding from its first phase to its last."""

    couple: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks, when, and what he may do."""

    at: datetime
    subject: UUID
    people: People
    may_cover: bool
    may_manage: bool = False


def turn_of(row: Row) -> Turn:
    """A shift as the store gives it."""
    return Turn(
        row["user_id"],
        row["name"],
        row["starts_at"],
        row["ends_at"],
        Source(row["source"]),
        row["verified"],
    )


def join_turns(turns: Iterable[Turn]) -> list[Turn]:
    """The same turns, with those of one person that follow each other as one."""
    joined: list[Turn] = []
    for turn in sorted(turns, key=lambda one: one.starts_at):
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.user_id, last.source, last.verified)
            == (turn.user_id, turn.source, turn.verified)
            and last.ends_at == turn.starts_at
        ):
            joined[-1] = replace(last, ends_at=turn.ends_at)
        else:
            joined.append(turn)
    return joined


def name_of(turn: Turn, reader: Reader) -> str:
    """What to call whoever is on call."""
    if turn.user_id == reader.subject:
        return words("oncall.you")
    return turn.name or words("oncall.covered")


def _names(turns: Sequence[Turn], reader: Reader) -> str:
    return " and ".join(dict.fromkeys(name_of(one, reader) for one in turns))


def present_words(turns: Sequence[Turn], reader: Reader, zone: str) -> tuple[Status, str, str]:
    """Who is on call now, as a status and a headline, and who follows."""
    present = find_present(turns, reader.at, reader.at + AHEAD)
    following = _names(present.following, reader)
    time_words = say.when(present.until, reader.at, zone) if present.until else ""
    if not present.on_call:
        status = Status("crit", words("oncall.nobody"))
        after = words("oncall.from", names=following, time=time_words) if following else ""
        return status, words("oncall.nobody"), after
    names = words("oncall.now", names=_names(present.on_call, reader))
    is_heard = all(one.verified for one in present.on_call)
    status = Status("ok" if is_heard else "warn", names)
    if present.until is None:
        return status, names, words("oncall.steady")
    key = "oncall.until" if following else "oncall.until_nobody"
    return status, names, words(key, time=time_words, names=following)


def warning_of(turns: Sequence[Turn], reader: Reader) -> str:
    """What may keep somebody who is on call from hearing of it; empty for nothing."""
    for turn in sorted(turns, key=lambda one: one.verified):
        if turn.verified < 2:
            is_you = turn.user_id == reader.subject
            whom = words("oncall.yourself") if is_you else name_of(turn, reader)
            return words("oncall.thin" if turn.verified else "oncall.unproven", name=whom)
    return ""


def cover_href(schedule_id: UUID, span: Span, zone: str) -> str:
    """The page on which somebody else takes a stretch."""
    query = urlencode({"from": wall(span[0], zone), "until": wall(span[1], zone)})
    return f"/on-call/{schedule_id}/cover?{query}"


def build_stretches(
    schedule_id: UUID, turns: Sequence[Turn], feasts: Sequence[Feast], week: Week, reader: Reader
) -> tuple[Stretch, ...]:
    """The week in order: who is on call from when to when, and where nobody is."""
    shown = [one for one in turns if one.starts_at < week.ends and one.ends_at > week.begins]
    found = [(one.starts_at, _turn(schedule_id, one, feasts, week, reader)) for one in shown]
    found += [
        (gap[0], _gap(schedule_id, gap, feasts, week, reader)) for gap in gaps_of(turns, week)
    ]
    return tuple(stretch for _, stretch in sorted(found, key=lambda one: one[0]))


def gaps_of(turns: Iterable[Turn], week: Week) -> list[Span]:
    """When nobody is on call."""
    return subtract((week.begins, week.ends), [(one.starts_at, one.ends_at) for one in turns])


def _href(schedule_id: UUID, span: Span, week: Week, reader: Reader) -> str:
    if not reader.may_cover or span[1] <= reader.at:
        return ""
    return cover_href(schedule_id, (max(span[0], reader.at), span[1]), week.zone)


def _turn(
    schedule_id: UUID, turn: Turn, feasts: Sequence[Feast], week: Week, reader: Reader
) -> Stretch:
    name = name_of(turn, reader)
    warning = warning_of([turn], reader) if turn.ends_at > reader.at else ""
    span = (turn.starts_at, turn.ends_at)
    return Stretch(
        who=name,
        span=words("oncall.span", start=week.clock(span[0]), end=week.clock(span[1])),
        note="" if turn.source is Source.ROTATION else words("oncall.swap"),
        warning=warning,
        weddings=tuple(_feast_words(one, week) for one in _touching(span, feasts)),
        is_gap=False,
        is_you=turn.user_id == reader.subject,
        is_past=turn.ends_at <= reader.at,
        href=_href(schedule_id, span, week, reader),
    )


def _gap(
    schedule_id: UUID, gap: Span, feasts: Sequence[Feast], week: Week, reader: Reader
) -> Stretch:
    couples = [one.couple for one in _touching(gap, feasts)]
    start, end = week.clock(gap[0]), week.clock(gap[1])
    text = (
        words("oncall.gap_wedding", start=start, end=end, couple=", ".join(couples))
        if couples
        else words("oncall.gap", start=start, end=end)
    )
    return Stretch(
        who=text,
        span="",
        note="",
        warning="",
        weddings=(),
        is_gap=True,
        is_you=False,
        is_past=gap[1] <= reader.at,
        href=_href(schedule_id, gap, week, reader),
    )


def _touching(span: Span, feasts: Sequence[Feast]) -> list[Feast]:
    return [one for one in feasts if intersect(span, [(one.starts_at, one.ends_at)])]


def _feast_words(feast: Feast, week: Week) -> str:
    span = words("oncall.span", start=week.clock(feast.starts_at), end=week.clock(feast.ends_at))
    return f"{feast.couple}, {span}"


def build_bars(
    turns: Sequence[Turn], feasts: Sequence[Feast], week: Week, reader: Reader
) -> WeekBars:
    """The week from side to side."""

    def block(span: Span, name: str, text: str, kind: str) -> Block:
        left, right = week.place(span[0]), week.place(span[1])
        return Block(left, max(right - left, 3), name, text, kind)

    midnights = week.midnights()
    days = tuple(
        block((first, last), f"{first:%a} {first.day}", "", "")
        for first, last in pairwise(midnights)
    )
    blocks: list[Block] = []
    for turn in turns:
        span = (turn.starts_at, turn.ends_at)
        if span[0] >= week.ends or span[1] <= week.begins:
            continue
        name = name_of(turn, reader)
        told = words("oncall.span", start=week.clock(span[0]), end=week.clock(span[1]))
        kind = "you" if turn.user_id == reader.subject else ""
        if turn.source is not Source.ROTATION:
            kind += " swap"
        blocks.append(block(span, name, f"{name}, {told}", kind.strip()))
    for gap in gaps_of(turns, week):
        told = words("oncall.gap", start=week.clock(gap[0]), end=week.clock(gap[1]))
        blocks.append(block(gap, words("oncall.nobody_short"), told, "gap"))
    return WeekBars(
        days=days,
        weddings=tuple(
            block((one.starts_at, one.ends_at), one.couple, _feast_words(one, week), "")
            for one in feasts
            if one.starts_at < week.ends and one.ends_at > week.begins
        ),
        turns=tuple(sorted(blocks, key=lambda one: one.left)),
        now=week.place(reader.at) if week.begins <= reader.at < week.ends else None,
    )


def build_swaps(
    overrides: Iterable[Row], temporary: Iterable[Row], week: Week, reader: Reader
) -> tuple[Swap, ...]:
    """What comes before the rota from now on, the nearest first; a viewer sees none."""
    if not reader.may_cover:
        return ()
    found: list[tuple[datetime, Swap]] = []
    for row in overrides:
        if row["ends_at"] <= reader.at:
            continue
        is_you = row["user_id"] == reader.subject
        line = words(
            "oncall.swap_line",
            name=words("oncall.you") if is_you else reader.people.name(row["user_id"]),
            start=week.clock(row["starts_at"]),
            end=week.clock(row["ends_at"]),
        )
        found.append(
            (row["starts_at"], Swap(f"/on-call/covers/{row['id']}/undo", line, row["reason"]))
        )
    for row in temporary:
        if row["ends_at"] > reader.at:
            line = words(
                "oncall.temporary",
                start=week.clock(row["starts_at"]),
                end=week.clock(row["ends_at"]),
            )
            undo = f"/on-call/temporary/{row['id']}/undo" if reader.may_manage else ""
            found.append((row["starts_at"], Swap(undo, line, row["reason"])))
    return tuple(swap for _, swap in sorted(found, key=lambda one: one[0]))


def uses_of(schedule_id: UUID, policies: Iterable[Row]) -> tuple[bool, tuple[Use, ...]]:
    """Whether a ladder calls by a rota, and if none does, which ones could."""
    rows = list(policies)
    if any(str(schedule_id) in step["schedule_ids"] for row in rows for step in row["steps"]):
        return True, ()
    rows = sorted(rows, key=lambda row: (not row["is_default"], row["name"]))[:3]
    return False, tuple(Use(row["id"], words("oncall.use", ladder=row["name"])) for row in rows)


def build_card(
    schedule: Row,
    *,
    ahead: Sequence[Turn],
    turns: Sequence[Turn],
    feasts: Sequence[Feast],
    week: Week,
    reader: Reader,
    swaps: tuple[Swap, ...],
    policies: Iterable[Row],
) -> ScheduleCard:
    """One schedule; `ahead` are its turns from now on, `turns` those around the week."""
    turns = join_turns(turns)
    status, headline, following = present_words(ahead, reader, week.zone)
    gaps = gaps_of(turns, week)
    is_used, uses = uses_of(schedule["id"], policies)
    weekend = week.weekend()
    if weekend[1] <= reader.at:
        weekend = read_week(None, reader.at, week.zone).weekend()
    zone = schedule["time_zone"]
    note = words("oncall.zone", town=town(week.zone))
    if zone != week.zone:
        note = words("oncall.zone_other", town=town(week.zone), other=town(zone))
    tomorrow = reader.at + timedelta(days=1)
    return ScheduleCard(
        id=schedule["id"],
        name=schedule["name"],
        status=status if is_used or status.kind != "ok" else replace(status, kind="warn"),
        headline=headline,
        warning=warning_of([one for one in ahead if one.starts_at <= reader.at], reader),
        next=say.sentence(following),
        gaps=Status("crit", words("oncall.gaps", n=len(gaps)))
        if gaps
        else Status("ok", words("oncall.no_gaps")),
        stretches=build_stretches(schedule["id"], turns, feasts, week, reader),
        bars=build_bars(turns, feasts, week, reader),
        swaps=swaps,
        zone_note=note,
        is_used=is_used,
        uses=uses,
        weekend_href=cover_href(
            schedule["id"], (max(weekend[0], reader.at), weekend[1]), week.zone
        ),
        some_href=cover_href(schedule["id"], (reader.at, tomorrow), week.zone),
    )
