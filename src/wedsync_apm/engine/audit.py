"""The auditor's job, and the sign of life that the outside world gets while nothing is wrong."""

from datetime import datetime
from typing import Final

from wedsync_apm.auditor import store
from wedsync_apm.auditor.store import Kind
from wedsync_apm.db.pool import Connection
from wedsync_apm.egress import EgressClient, EgressFailed, EgressRefused
from wedsync_apm.telemetry import Counter, Gauge, get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 60.0
FINDINGS = Gauge(
    "wedsync_apm_auditor_findings", "What the auditor found at its last look.", ("kind",)
)
SIGNS = Counter(
    "wedsync_apm_auditor_signs_total", "Signs of life to the outside world.", ("outcome",)
)


class Audit:
    """The job. A new engine lets one round pass: what waited for it gets the time to be done."""

    def __init__(self, client: EgressClient, url: str | None) -> None:
        self._client, self._url = client, url
        self._is_new = True

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run."""
        if self._is_new:
            self._is_new = False
            return "just started"
        async with cx.transaction():
            findings = await store.look(cx, at)
        counts = {one.kind: one.count for one in findings}
        for kind in Kind:
            FINDINGS.set(counts.get(kind, 0), kind=kind)
        for one in findings:
            log.error(
                "%s: %s",
                one.title,
                one.example,
                extra={"action": "audit", "kind": str(one.kind), "findings": one.count},
            )
        if not findings and self._url is not None:
            await self._give_sign(self._url)
        return ", ".join(f"{one.count} {one.kind}" for one in findings)

    async def _give_sign(self, url: str) -> None:
        """Whoever waits for it outside calls people when it does not come."""
        try:
            answer = await self._client.request("POST", url, read_body=False)
        except (EgressFailed, EgressRefused) as exc:
            outcome, why = "failed", str(exc)
        else:
            outcome = "taken" if answer.status < 300 else "refused"
            why = f"HTTP {answer.status}"
        SIGNS.inc(outcome=outcome)
        if outcome != "taken":
            log.warning("The sign of life was not taken: %s", why, extra={"action": "audit"})
