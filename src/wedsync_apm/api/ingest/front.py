"""Which way in a request takes, and that all others go on to the rest of the product."""

from wedsync_apm.api.ingest import datadog, influx, new_relic, otlp, own, prometheus
from wedsync_apm.api.ingest.receive import (
    MOST_BYTES_IN_FLIGHT,
    App,
    Authenticate,
    Door,
    Receive,
    Routes,
    Scope,
    Send,
)
from wedsync_apm.ingest.annotating import Annotate
from wedsync_apm.ingest.intake import Intake

PROTOCOLS = (own, prometheus, otlp, datadog, influx, new_relic)


class IngestApp:
    """Takes the paths of the protocols, and leaves all else to `inner`."""

    def __init__(
        self,
        inner: App,
        authenticate: Authenticate,
        intake: Intake,
        annotate: Annotate | None = None,
        most_in_flight: int = MOST_BYTES_IN_FLIGHT,
    ) -> None:
        door = Door(authenticate, intake, most_in_flight, annotate=annotate)
        self._inner = inner
        self._routes: dict[tuple[str, str], App] = {}
        for protocol in PROTOCOLS:
            routes: Routes = protocol.routes(door)
            self._routes.update(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._inner
        if scope["type"] == "http":
            app = self._routes.get((scope["method"], scope["path"].rstrip("/")), app)
        await app(scope, receive, send)
