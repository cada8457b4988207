"""Everything that we raise on purpose.

    WedSyncError
    ├── ConfigurationError      (the CLI ends with 2)
    ├── MalformedBody           400
    ├── Unauthorized            401
    ├── Forbidden               403
    ├── NotFound                404
    ├── Conflict                409
    ├── Changed                 412
    ├── TooLarge                413
    ├── UnsupportedMedia        415
    ├── NotValid                422, with the fields and the reasons
    ├── RateLimited             429, with the seconds to wait
    ├── DatabaseAway            503, with the seconds to wait
    └── StorageFull             507

The docstring of a class is the text that people read when nothing more exact is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with what was sent: where, and why in plain words.

    `index` is the position of the sample or row in its batch; None means the request as a whole.
    """

    field: str
    reason: str
    index: int | None = None


class WedSyncError(Exception):
    """Something went wrong on our side."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.detail)


class ConfigurationError(WedSyncError):
    """The configuration cannot be used as it stands."""

    title = "Wrong configuration"


class MalformedBody(WedSyncError):
    """The body could not be read."""

    status = 400
    title = "Malformed body"


class Unauthorized(WedSyncError):
    """No credentials, or credentials that are not valid."""

    status = 401
    title = "Not signed in"


class Forbidden(WedSyncError):
    """You are known, but you may not do this."""

    status = 403
    title = "Not allowed"


class NotFound(WedSyncError):
    """There is nothing of this name that you can see."""

    status = 404
    title = "Not found"


class Conflict(WedSyncError):
    """This does not fit the present state."""

    status = 409
    title = "Conflict"


class Changed(WedSyncError):
    """Somebody has changed it since you read it. Read it again."""

    status = 412
    title = "Changed meanwhile"


class TooLarge(WedSyncError):
    """What was sent is larger than the limit."""

    status = 413
    title = "Too large"


class UnsupportedMedia(WedSyncError):
    """This content type or encoding is not understood here."""

    status = 415
    title = "Unsupported media type"


class NotValid(WedSyncError):
    """Some of the values are not valid."""

    status = 422
    title = "Not valid"

    def __init__(self, detail: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)


class RateLimited(WedSyncError):
    """Too much at once; try again later."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        """Seconds to wait."""


class DatabaseAway(WedSyncError):
    """The database does not answer at the moment; nothing was stored."""

    status = 503
    title = "Database away"

    def __init__(self, detail: str | None = None, retry_after: float = 2.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        """Seconds to wait."""


class StorageFull(WedSyncError):
    """The disk of the database is full; nothing was stored."""

    status = 507
    title = "Storage full"
