"""How the backups stand, as a page: verdict, promises beside measurements, places, backups."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from wedsync_apm.backups.standing import Standing
from wedsync_apm.web import say
from wedsync_apm.web.views.platform import Line, ReportView, Section
from wedsync_apm.web.views.shell import Kind, Status
from wedsync_apm.web.words import say as words

MOST_SHOWN = 30
MEGABYTE = 1024 * 1024


def build_backups(found: Standing, zone: str) -> ReportView:
    """Everything on one page."""
    lines = (*_promises(found, zone), *_rules(found))
    bad = sum(line.status.kind == "crit" for line in lines)
    if not found.backups:
        verdict = Status("crit", words("backups.none"))
    elif bad:
        verdict = Status("crit", words("backups.bad", n=bad))
    else:
        verdict = Status("ok", words("backups.good"))
    return ReportView(
        title=words("backups.title"),
        verdict=verdict,
        body=words("backups.because", why=found.objective.because),
        measured_at=found.at,
        tiles=(),
        sections=tuple(
            section
            for section in (
                Section(words("backups.promises"), _promises(found, zone)),
                Section(words("backups.rules"), _rules(found)),
                Section(words("backups.archives"), _archives(found, zone)),
                Section(words("backups.list"), _backups(found, zone)),
            )
            if section.lines
        ),
    )


def _promises(found: Standing, zone: str) -> tuple[Line, ...]:
    loss = _long(found.loss) if found.loss is not None else words("backups.all")
    restore = _long(found.restore) if found.restore is not None else words("backups.unmeasured")
    proven = say.when(found.proven_at, found.at, zone) if found.proven_at else None
    return (
        _line(found, "backups.loss", loss, found.is_loss_kept, _long(found.objective.loss)),
        _line(
            found, "backups.restore", restore, found.is_restore_kept, _long(found.objective.restore)
        ),
        _line(
            found,
            "backups.proven",
            proven or words("backups.never"),
            found.is_proven,
            words("backups.each_week"),
        ),
    )


def _rules(found: Standing) -> tuple[Line, ...]:
    return tuple(
        Line(rule.number, rule.reason, "", _status(rule.holds), found.at, "", "")
        for rule in found.rules
    )


def _archives(found: Standing, zone: str) -> tuple[Line, ...]:
    return tuple(
        Line(
            name=row["destination"],
            figure=words("backups.until", time=say.when(row["kept_until"], found.at, zone))
            if row["kept_until"]
            else words("backups.no_log"),
            limit="",
            status=_status(not row["error"]),
            measured_at=row["looked_at"],
            took="",
            statement="",
            reason=say.sentence(row["error"]),
        )
        for row in found.archives
    )


def _backups(found: Standing, zone: str) -> tuple[Line, ...]:
    return tuple(_backup(found, row, zone) for row in found.backups[:MOST_SHOWN])


def _backup(found: Standing, row: Mapping[str, Any], zone: str) -> Line:
    size = words(
        "backups.size",
        stored=f"{row['stored_bytes'] / MEGABYTE:.1f}",
        plain=f"{row['plain_bytes'] / MEGABYTE:.1f}",
        kind=row["kind"],
    )
    kind: Kind = "ok" if row["is_proven"] else "none"
    word = words("backups.is_proven" if row["is_proven"] else "backups.unproven")
    if row["finished_at"] is None or row["is_proven"] is False:
        kind, word = "crit", words("backups.is_bad")
    return Line(
        name=say.when(row["started_at"], found.at, zone),
        figure=f"{size} · {row['destination']}",
        limit="",
        status=Status(kind, word),
        measured_at=row["started_at"],
        took="",
        statement="",
        reason=say.sentence("; ".join([row["error"]] if row["error"] else row["faults"][:3])),
    )


def _line(found: Standing, key: str, figure: str, is_kept: bool, limit: str) -> Line:
    return Line(words(key), figure, limit, _status(is_kept), found.at, "", "")


def _status(holds: bool) -> Status:
    return Status("ok" if holds else "crit", words("backups.holds" if holds else "backups.missing"))


def _long(length: timedelta) -> str:
    seconds = length.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
