"""Every error as RFC 9457 `application/problem+json`, with the field and the reason where known."""

import math
import re
import types
import typing
from collections.abc import Iterator
from enum import Enum
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
            yield FieldError(getattr(definition, "name", None) or field, _in_words(message))


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


_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)


def field_error(message: str, kind: Any) -> FieldError:
    """msgspec's message about a value of `kind`, as the field and a reason for people."""
    match = _AT.match(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    for pattern, reason in ((_UNKNOWN, "is not a field here"), (_MISSING, "is missing")):
        if found := pattern.fullmatch(what):
            name = found["name"][:100]
            return FieldError(f"{path}.{name}" if path else name, reason)
    if what.startswith("Invalid enum value"):
        labels = labels_at(kind, path)
        given = what.removeprefix("Invalid enum value").strip()[:100]
        return FieldError(path or "body", f"{given} is none of {', '.join(labels)}")
    return FieldError(path or "body", _in_words(what))


_WORDS: Final = (
    ("str", "text"),
    ("float", "a number"),
    ("int", "a whole number"),
    ("bool", "true or false"),
    ("array", "a list"),
    ("null", "nothing"),
)


def _in_words(message: str) -> str:
    words = message.replace("`", "").replace(" | null", "").replace("Expected ", "must be ")
    for theirs, ours in _WORDS:
        words = re.sub(rf"\b{theirs}\b", ours, words)
    return words[:300]


def labels_at(kind: Any, path: str) -> list[str]:
    """The labels of the enum that stands at a path such as `channels[0]` of `kind`."""
    found = kind
    for part in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        found = _inside(found, part)
    for option in _options(found):
        if isinstance(option, type) and issubclass(option, Enum):
            return [str(member.value) for member in option]
    return []


def _options(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _options(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for arm in typing.get_args(kind) for one in _options(arm)]
    return [kind]


def _inside(kind: Any, part: str) -> Any:
    for option in _options(kind):
        arguments = typing.get_args(option)
        if part.startswith("[") and arguments:
            return arguments[-1] if typing.get_origin(option) is dict else arguments[0]
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            hints = typing.get_type_hints(option, include_extras=True)
            names = {f.encode_name: f.name for f in msgspec.structs.fields(option)}
            if part in names:
                return hints[names[part]]
    return None


def unsupported(content_type: str) -> UnsupportedMedia:
    """For a body that is no JSON."""
    given = content_type[:100] or "no content type"
    return UnsupportedMedia(f"Send application/json, not {given}.")
