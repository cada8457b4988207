"""What each panel shows, as numbers: the API's answer, and what pages draw."""

import msgspec

from wedsync_apm.dashboards.model import Level, When
from wedsync_apm.metrics.drawing import Point


class Line(msgspec.Struct, omit_defaults=True):
    """One value a step, None where nothing was measured. `is_before`: of the earlier time, laid
    upon the present one."""

    name: str
    values: tuple[Point, ...]
    tags: dict[str, str] = {}
    agg: str = ""
    metric: str = ""
    is_before: bool = False


class Mark(msgspec.Struct, omit_defaults=True):
    """A limit. `rule` names the alert rule that it is of, whose function may be another one than
    the panel's; `is_today`: it is moved by today's wedding."""

    value: float
    when: When = When.ABOVE
    level: Level = Level.CRITICAL
    label: str = ""
    rule: str = ""
    agg: str = ""
    is_today: bool = False


class Answer(msgspec.Struct, omit_defaults=True, tag_field="kind"):
    """What a panel shows."""


class Lines(Answer, omit_defaults=True, tag="series"):
    """Courses in one unit. With `x` and `step` of its own where its samples come more slowly than
    the steps of the dashboard."""

    unit: str
    style: str
    lines: tuple[Line, ...]
    more: int = 0
    limits: tuple[Mark, ...] = ()
    x: tuple[float, ...] | None = None
    step: float | None = None
    has_phases: bool = False
    has_events: bool = False


class Number(Answer, omit_defaults=True, tag="stat"):
    """The newest figure. `at` is when its step began; without one nothing was measured lately."""

    unit: str
    agg: str
    value: Point = None
    at: float | None = None
    is_old: bool = False
    usual: Point = None
    before: Point = None
    level: Level | None = None
    limits: tuple[Mark, ...] = ()
    spark: tuple[Point, ...] = ()
    least: float | None = None
    most: float | None = None


class Row(msgspec.Struct, omit_defaults=True):
    """A line of a table."""

    name: str
    metric: str
    agg: str
    unit: str
    now: Point = None
    usual: Point = None
    lowest: Point = None
    highest: Point = None
    before: Point = None
    tags: dict[str, str] = {}


class Table(Answer, omit_defaults=True, tag="table"):
    """Lines as figures."""

    rows: tuple[Row, ...]
    more: int = 0


class HeatRow(msgspec.Struct):
    """Fields side by side."""

    name: str
    values: tuple[Point, ...]


class Heat(Answer, omit_defaults=True, tag="heat"):
    """Fields between the lowest and the highest figure; columns are Unix seconds, or hours of the
    day."""

    unit: str
    rows: tuple[HeatRow, ...]
    columns: tuple[float, ...]
    is_by_hour: bool = False
    lowest: Point = None
    highest: Point = None
    more: int = 0


class Service(msgspec.Struct, omit_defaults=True):
    """A watched service; its status is unknown where nobody has looked for five intervals."""

    name: str
    service_name: str
    status: str
    checked_at: str | None = None
    response_time_ms: float | None = None
    availability_percentage: float | None = None


class Services(Answer, omit_defaults=True, tag="services"):
    """How services stand."""

    services: tuple[Service, ...]


class Trouble(msgspec.Struct, omit_defaults=True):
    """An incident."""

    id: str
    title: str
    status: str
    severity: str
    detected_at: str
    resolved_at: str | None = None


class Troubles(Answer, omit_defaults=True, tag="incidents"):
    """Incidents, the newest first."""

    incidents: tuple[Trouble, ...]


class Countdown(Answer, omit_defaults=True, tag="countdown"):
    """The part of a wedding that begins next; nothing where none is in the calendar."""

    wedding_id: str | None = None
    initials: str = ""
    phase: str = ""
    at: str | None = None
    seconds: float | None = None
    time_zone: str = ""


class Text(Answer, omit_defaults=True, tag="text"):
    """Plain text."""

    text: str


class Refused(Answer, omit_defaults=True, tag="refused"):
    """Why a panel shows nothing: `mixed_units`, or `not_valid` for a question that is none."""

    code: str
    reason: str
    units: tuple[str, ...] = ()


class Band(msgspec.Struct):
    """A phase of a wedding, in Unix seconds."""

    begins: float
    ends: float
    name: str


class Tick(msgspec.Struct):
    """An incident, or what another system told (a deployment, for one), in Unix seconds."""

    at: float
    name: str
    kind: str
