"""Who may send samples, for the endpoints in front of the framework."""

from collections.abc import Mapping

from wedsync_apm.api.ingest.receive import Authenticate
from wedsync_apm.errors import Forbidden
from wedsync_apm.ingest.model import IngestGrant
from wedsync_apm.organizations.identity import Authenticator
from wedsync_apm.types import KeyScope


def grant_by(authenticator: Authenticator) -> Authenticate:
    """Lets API keys send that are for ingest or for everything. Raises Unauthorized and
    Forbidden."""

    async def grant(headers: Mapping[str, str]) -> IngestGrant:
        identity = await authenticator.identity_from_headers(headers)
        if identity.kind != "key":
            raise Forbidden("Send samples with an API key of the scope ingest.")
        if not identity.may_send_samples:
            raise Forbidden("This key may not send samples; it needs the scope ingest.")
        return IngestGrant(identity.organization_id, (identity.scope or KeyScope.INGEST).value)

    return grant
