"""What the pages of drills show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from wedsync_apm.web.views.shell import Status


@dataclass(frozen=True, slots=True)
class PersonBar:
    """One person; the bar's width is in thousandths of the whole, None for no answer."""

    name: str
    channels: str
    status: Status
    detail: str
    width: int | None


@dataclass(frozen=True, slots=True)
class DrillCard:
    """One drill; `mark` is where two minutes are on the bars."""

    id: UUID
    status: Status
    when: str
    reason: str
    people: tuple[PersonBar, ...] = ()
    mark: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleForm:
    """When drills are held by themselves, as it was typed."""

    every: str = "month"
    weekday: str = "3"
    local_time: str = "10:30"
    time_zone: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrillsView:
    """The last drill, how fast people are, those before, and when the next one is."""

    last: DrillCard | None
    before: tuple[DrillCard, ...]
    speed: str
    speeds: tuple[tuple[str, str], ...]
    may_manage: bool
    sees_names: bool
    is_running: bool
    refusal: str
    fault: str
    planned: str
    held: str
    is_planned: bool
    form: ScheduleForm
    rhythms: tuple[tuple[str, str], ...]
    days: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class DrillView:
    """One drill."""

    card: DrillCard
    sees_names: bool


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What a link shows: the button only while it would do something."""

    state: Literal["open", "done", "used", "over", "old"]
    organization: str = ""
    words: str = ""
