"""Who is on call: now and next, a week, the swap of a stretch, and the rota's form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from wedsync_apm.web.views.edit import NEW, Stood
from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class Stretch:
    """Somebody on call, or nobody, without a change; `href` leads to who else may take it."""

    who: str
    span: str
    note: str
    warning: str
    weddings: tuple[str, ...]
    is_gap: bool
    is_you: bool
    is_past: bool
    href: str


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the week as a bar, in thousandths of it; `words` is told of it, `name` fits in."""

    left: int
    width: int
    name: str
    words: str
    kind: str


@dataclass(frozen=True, slots=True)
class WeekBars:
    """A week from side to side: its days, the weddings over it, who is on call; where now is."""

    days: tuple[Block, ...]
    weddings: tuple[Block, ...]
    turns: tuple[Block, ...]
    now: int | None


@dataclass(frozen=True, slots=True)
class Swap:
    """What comes before the rota, from when to when; `undo` is where that is sent."""

    undo: str
    line: str
    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """A ladder that could call by the rota."""

    policy_id: UUID
    words: str


@dataclass(frozen=True, slots=True)
class ScheduleCard:
    """One schedule: who now, who next, and the week."""

    id: UUID
    name: str
    status: Status
    headline: str
    warning: str
    next: str
    gaps: Status
    stretches: tuple[Stretch, ...]
    bars: WeekBars
    swaps: tuple[Swap, ...]
    zone_note: str
    is_used: bool
    uses: tuple[Use, ...]
    weekend_href: str
    some_href: str


@dataclass(frozen=True, slots=True)
class OnCallView:
    """The page of all schedules in one week."""

    cards: tuple[ScheduleCard, ...]
    week: str
    previous: str
    following: str
    this_week: str
    may_cover: bool
    may_manage: bool
    refusal: str


@dataclass(frozen=True, slots=True)
class CoverForm:
    """Somebody instead of the rota, as typed; the times by the business's clock."""

    starts_at: str = ""
    ends_at: str = ""
    reason: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CoverView:
    """Who takes a stretch over."""

    schedule_id: UUID
    schedule_name: str
    form: CoverForm
    then: str
    me: UUID | None
    people: tuple[tuple[str, str], ...]
    zone: str
    back: str


@dataclass(frozen=True, slots=True)
class RotaForm:
    """A simple rota as typed; people are ids, and empty lines are left out."""

    name: str = ""
    people: tuple[str, ...] = ()
    every: str = "weekly"
    handover: str = "09:00"
    starts_on: str = ""
    time_zone: str = ""
    weekend: str = "same"
    weekend_from: str = "18:00"
    weekend_until: str = "09:00"
    weekend_people: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RotaPreview:
    """What a rota would come to: its turns and gaps in order, and the mark of what was seen."""

    lines: tuple[tuple[str, str, bool], ...]
    more: str
    mark: str


@dataclass(frozen=True, slots=True)
class RotaView:
    """The form of a rota, new or there already; `form` is None for one beyond the form."""

    id: UUID | None
    name: str
    form: RotaForm | None
    people: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]
    weekend_lines: tuple[str, ...]
    preview: RotaPreview | None
    stood: Stood = NEW
