"""Weddings from files: POST the file itself, first with `dry_run`, then without."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromQuery, QueryParameter

from wedsync_apm.api.problems import unsupported
from wedsync_apm.api.requests import ApiRequest, Organization, one_organization
from wedsync_apm.errors import FieldError, MalformedBody, NotValid, UnsupportedMedia
from wedsync_apm.weddings.imports import store
from wedsync_apm.weddings.imports.apart import readers_of
from wedsync_apm.weddings.imports.model import (
    MOST_FAULTS,
    Action,
    DateOrder,
    FileKind,
    Reading,
    state_date,
)
from wedsync_apm.weddings.imports.store import Outcome, Report

_KINDS: Final = {
    "text/calendar": FileKind.CALENDAR,
    "text/csv": FileKind.TABLE,
    "application/csv": FileKind.TABLE,
}


class Change(msgspec.Struct, kw_only=True):
    """A field of a wedding that the file changes. Of contacts only their number is told."""

    field: str
    before: Any
    after: Any


class ImportedWedding(msgspec.Struct, kw_only=True):
    """What one entry of the file does. `place` is its line or the number of its event; `day` is the
    date in words, so that nobody takes April for March."""

    place: int | None
    action: Action
    wedding_id: UUID | None
    wedding_date: date
    day: str
    couple_names: str | None
    reason: str | None
    changes: list[Change]
    notes: list[str]


class ImportFault(msgspec.Struct, kw_only=True):
    """What could not be taken: the line or event (0: the file), the field, and why."""

    place: int
    field: str
    reason: str


class ImportReport(msgspec.Struct, kw_only=True):
    """What the file did to the calendar; after a dry run, what it would do."""

    is_dry_run: bool
    format: FileKind
    created: int
    updated: int
    moved: int
    cancelled: int
    unchanged: int
    skipped: int
    refused: int
    date_order: DateOrder | None
    date_order_from: str | None
    ignored_columns: list[str]
    items: list[ImportedWedding]
    faults: list[ImportFault]


@dataclass
class _ImportOperation(Operation):
    """The framework knows no body that is not JSON."""

    def __post_init__(self) -> None:
        text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
        self.request_body = RequestBody(
            content={"text/calendar": text, "text/csv": text},
            description="The file itself, up to 1 MiB.",
            required=True,
        )


@post(
    "/api/v1/weddings/import",
    tags=["weddings"],
    status_code=200,
    operation_class=_ImportOperation,
)
async def import_weddings(
    request: ApiRequest,
    *,
    dry_run: FromQuery[bool] = False,
    date_order: FromQuery[DateOrder | None] = None,
    matching: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            max_length=100,
            required=False,
            description="Only events with this in their title or categories",
        ),
    ] = None,
    organization_id: Organization = None,
) -> ImportReport:
    """Import weddings from an iCalendar or CSV file; a second time it changes nothing."""
    kind = _kind_of(request)
    async with request.tenant() as cx:
        owner = await one_organization(cx, organization_id)
        habits = await store.read_habits(cx, owner, date_order=date_order, matching=matching)
    body = await request.body()
    if not body.strip():
        raise MalformedBody("The body is empty; send the file itself.")
    # No connection is held while the file is read.
    reading = await readers_of(request.app.state).read(kind, body, habits)
    async with request.tenant() as cx:
        report = await store.import_weddings(cx, owner, kind, reading, is_dry_run=dry_run)
    if not report.outcomes and report.faults:
        raise NotValid(
            "Nothing in the file could be taken.",
            [FieldError(one.field, one.reason, one.place) for one in report.faults[:MOST_FAULTS]],
        )
    return _tell(kind, reading, report, is_dry_run=dry_run)


def _kind_of(request: ApiRequest) -> FileKind:
    content_type = request.headers.get("content-type", "")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("Send the file as it is, not compressed.")
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        given = unsupported(content_type).detail.partition(", not ")[2]
        raise UnsupportedMedia(f"Send text/calendar or text/csv, not {given}")
    return kind


def _tell(kind: FileKind, reading: Reading, report: Report, *, is_dry_run: bool) -> ImportReport:
    return ImportReport(
        is_dry_run=is_dry_run,
        format=kind,
        **{action.value: number for action, number in report.counts.items()},
        refused=len(report.faults),
        date_order=reading.date_order,
        date_order_from=reading.date_order_from,
        ignored_columns=reading.ignored_columns,
        items=[_tell_one(one) for one in report.outcomes],
        faults=[
            ImportFault(place=one.place, field=one.field, reason=one.reason)
            for one in report.faults[:MOST_FAULTS]
        ],
    )


def _tell_one(one: Outcome) -> ImportedWedding:
    return ImportedWedding(
        place=one.entry.place if one.entry else None,
        action=one.action,
        wedding_id=one.wedding_id,
        wedding_date=one.wedding_date,
        day=state_date(one.wedding_date),
        couple_names=one.entry.couple_names if one.entry else None,
        reason=one.reason,
        changes=[Change(field=name, before=was, after=now) for name, was, now in one.changes],
        notes=list(one.entry.notes) if one.entry else [],
    )


HANDLERS: Final = (import_weddings,)
