"""Why a call of ours did not come through.

Neither text ever holds more of the address than the host and the port: paths and queries of
webhooks are secrets, and these texts reach logs, pages and tenants.
"""

from enum import StrEnum

from wedsync_apm.errors import WedSyncError


class Failure(StrEnum):
    """What went wrong on the way."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    REDIRECTS = "redirects"


class EgressRefused(WedSyncError):
    """This address may not be called from here."""

    status = 422
    title = "Address not allowed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EgressFailed(WedSyncError):
    """The other side could not be reached."""

    status = 502
    title = "No answer"

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason
