"""The readiness report as a card: what is open first, each line with where it is mended."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

from wedsync_apm.web import say
from wedsync_apm.web.build import Row
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.views.wedding_page import ReadinessCard, ReadinessLine
from wedsync_apm.web.words import say as words

MENDED_AT: Final[Mapping[str, str]] = {
    "contacts": "/contacts",
    "on_call": "/on-call",
    "channels": "/inbox",
    "drilled": "/drills",
    "checks": "/checks",
    "silences": "/silences",
    "backups": "/docs",
}
"""Where somebody mends what a line says."""

_KINDS: Final[Mapping[str, Kind]] = {"pass": "ok", "fail": "crit", "unknown": "none"}


def build_readiness(row: Row, now: datetime, here: str, *, may_ask: bool) -> ReadinessCard:
    """The card of a report, kept or made for this page."""
    lines = [_line(line, row.get("wedding_date")) for line in row["lines"]]
    failed = [line for line in lines if line.status.kind == "crit"]
    unknown = [line for line in lines if line.status.kind == "none"]
    if failed:
        verdict, headline = Status("crit", words("ready.fail")), words("ready.n", n=len(failed))
    elif unknown:
        verdict = Status("none", words("ready.unknown"))
        headline = words("ready.unknown_n", n=len(unknown))
    else:
        verdict, headline = Status("ok", words("ready.pass")), words("ready.pass_head")
    key = "ready.made" if row["id"] else "ready.looked"
    return ReadinessCard(
        wedding_id=row["wedding_id"],
        verdict=verdict,
        headline=headline,
        made=words(key, time=say.when(row["made_at"], now, here)),
        open_lines=(*failed, *unknown),
        passed=tuple(line for line in lines if line.status.kind == "ok"),
        may_ask=may_ask,
    )


def _line(line: Mapping[str, str], on: date | None) -> ReadinessLine:
    outcome, key = line["outcome"], line["key"]
    is_open = outcome != "pass" and key in MENDED_AT
    return ReadinessLine(
        title=line["title"],
        status=Status(_KINDS[outcome], words(f"ready.line.{outcome}")),
        reason=line["reason"],
        mend=_mend(key, on) if is_open else "",
        mend_words=words(f"ready.mend.{key}") if is_open else "",
    )


def _mend(key: str, on: date | None) -> str:
    # the gap lies in the week of the wedding, which may not be this one
    return f"{MENDED_AT[key]}?week={on}" if key == "on_call" and on else MENDED_AT[key]
