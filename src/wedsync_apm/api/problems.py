"""Every error as RFC 9457 `application/problem+json`, with the field and the reason where known."""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from wedsync_apm.db.pool import translate
from wedsync_apm.errors import (
    FieldError,
    MalformedBody,
    NotFound,
    NotValid,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
    WedSyncError,
)
from wedsync_apm.shapes import field_error, in_words
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
PROBLEMS = Counter("wedsync_apm_http_problems_total", "Answers that are errors", ("status",))


class Problem(msgspec.Struct, kw_only=True):
    """What went wrong. `errors` names the fields where that is known."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list["FieldProblem"] | msgspec.UnsetType = msgspec.UNSET


class FieldProblem(msgspec.Struct, omit_defaults=True):
    """One field, and why it is refused. `index` is its place in a batch."""

    field: str
    reason: str
    index: int | None = None


def problem_of(error: WedSyncError) -> Problem:
    """The body that says this error."""
    problem = Problem(title=error.title, status=error.status, detail=error.detail)
    if isinstance(error, NotValid):
        problem.errors = [FieldProblem(e.field, e.reason, e.index) for e in error.errors]
    return problem


def headers_of(error: WedSyncError) -> dict[str, str]:
    """The headers that go with it."""
    headers = {"cache-control": "no-store"}
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = 'Bearer realm="wedsync-apm"'
    return headers


def answer_problem(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """Litestar's handler for every exception under the API."""
    error = error_of(request, exc)
    problem = problem_of(error)
    headers = headers_of(error)
    if isinstance(exc, HTTPException):
        if type(error) is WedSyncError:
            # One that has no class among ours, 405 for one.
            problem.status, problem.title = exc.status_code, exc.detail
        if allow := (exc.headers or {}).get("allow"):
            headers["allow"] = allow
    if problem.status >= 500 and problem.status not in (503, 507):
        log.error(
            "A request failed: %s %s",
            request.method,
            request.url.path,
            exc_info=exc,
            extra={"action": "answer_problem", "status": problem.status},
        )
    PROBLEMS.inc(status=str(problem.status))
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def error_of(request: Request[Any, Any, Any], exc: Exception) -> WedSyncError:
    """Our error for whatever was raised; a defect becomes a 500 that tells nothing."""
    found: WedSyncError | None = None
    if isinstance(exc, WedSyncError):
        found = exc
    elif isinstance(exc, ValidationException):
        found = NotValid(errors=list(_fields_of(request, exc)))
    elif isinstance(exc, HTTPException):
        found = _of_framework(request, exc)
    elif isinstance(exc, psycopg.DataError) and exc.sqlstate is None:
        # What the driver cannot even send: a NUL character in a text.
        found = NotValid("The request holds a character that cannot be stored.")
    elif isinstance(exc, psycopg.Error):
        found = translate(exc)
    return found or WedSyncError("Something went wrong on our side. It has been noted.")


def _of_framework(request: Request[Any, Any, Any], exc: HTTPException) -> WedSyncError:
    match exc.status_code:
        case 404:
            return NotFound("There is nothing at this address that you can see.")
        case 413:
            return TooLarge()
        case 400:
            return MalformedBody(exc.detail)
        case 405:
            return WedSyncError(f"{request.method} is not possible here.")
        case _:
            return WedSyncError(exc.detail)


_LACKING: Final = re.compile(r"Missing required \w+ parameter '(?P<name>[^']*)'")


def _fields_of(request: Request[Any, Any, Any], exc: ValidationException) -> Iterator[FieldError]:
    parameters = request.route_handler.parsed_fn_signature.parameters
    entries: list[Any] = exc.extra if isinstance(exc.extra, list) else []
    if lacking := _LACKING.search(exc.detail):
        yield FieldError(lacking["name"], "is missing")
    for entry in entries:
        field = str(entry.get("key", "body"))
        message = str(entry.get("message", "is not valid"))
        if field == "data":
            yield FieldError("body", "is missing")
        else:
            # As the caller spells it: `from` cannot be the name of a variable.
            definition = parameters[field].kwarg_definition if field in parameters else None
            yield FieldError(getattr(definition, "name", None) or field, in_words(message))


def decode_body(body: bytes, kind: Any) -> Any:
    """The body as `kind`, strictly: a number in quotes is no number.

    Raises MalformedBody for what is no JSON, NotValid with the field and the reason for the rest.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise NotValid(errors=[field_error(str(exc), kind)]) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedBody(f"The body is no JSON that can be read: {exc}.") from exc
    except RecursionError as exc:
        raise MalformedBody("The body is nested too deeply.") from exc


def unsupported(content_type: str) -> UnsupportedMedia:
    """For a body that is no JSON."""
    given = content_type[:100] or "no content type"
    return UnsupportedMedia(f"Send application/json, not {given}.")
