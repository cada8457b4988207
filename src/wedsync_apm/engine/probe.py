"""Makes the health checks that are due: calls the service, or reads the metric for it."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wedsync_apm.checks import store as checks
from wedsync_apm.checks.model import (
    RETRY_SECONDS,
    DueCheck,
    Finding,
    after_second_try,
    judge_answer,
    judge_refusal,
    judge_silence,
    judge_stale,
    judge_time,
)
from wedsync_apm.db.pool import Connection
from wedsync_apm.egress import EgressClient, EgressFailed, EgressRefused
from wedsync_apm.engine import store
from wedsync_apm.rules.limits import WEDDING_FACTOR
from wedsync_apm.telemetry import Counter, Histogram

PROBES = Counter("wedsync_apm_checks_total", "Health checks made, by what they found.", ("status",))
ANSWERS = Histogram("wedsync_apm_check_seconds", "How long checked services take to answer.")

CLAIMED_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Probe:
    """The job. Calls are made outside any transaction and all at once; each is written down by
    itself."""

    client: EgressClient
    factor: float = WEDDING_FACTOR
    own_client: EgressClient | None = None
    """May also call our own address: for the platform's checks of itself, and for no tenant's."""

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run; `cx` is idle and stays so during the calls."""
        async with cx.transaction():
            due = await checks.claim_due_checks(cx, at, CLAIMED_AT_ONCE)
        writing = asyncio.Lock()

        async def make(check: DueCheck) -> None:
            if check.endpoint_url is not None:
                finding = await self._call_twice(check, check.endpoint_url)
            # One connection serves all, one after the other.
            async with writing, cx.transaction():
                now = await store.read_clock(cx) if check.endpoint_url is not None else at
                if check.endpoint_url is None:
                    finding = await self._read(cx, check, at)
                await checks.record_finding(
                    cx, check, finding, now, keeps_sample=check.endpoint_url is not None
                )
            PROBES.inc(status=finding.status.value)

        results = await asyncio.gather(*map(make, due), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return f"{len(due)} checked" if due else ""

    async def _call_twice(self, check: DueCheck, url: str) -> Finding:
        finding = await self._call(check, url)
        if not finding.is_failure:
            return finding
        await asyncio.sleep(RETRY_SECONDS)
        return after_second_try(await self._call(check, url))

    async def _call(self, check: DueCheck, url: str) -> Finding:
        # Where a redirect is the expected answer it is not followed.
        redirects = 0 if any(300 <= code < 400 for code in check.expected_status_codes) else 3
        client = (self.own_client or self.client) if check.is_platform else self.client
        try:
            answer = await client.request(
                "GET",
                url,
                timeout_seconds=check.timeout_seconds,
                max_redirects=redirects,
                read_body=False,
            )
        except EgressRefused as exc:
            return judge_refusal(exc.reason)
        except EgressFailed as exc:
            return judge_silence(exc.reason)
        ANSWERS.observe(answer.elapsed_seconds)
        return judge_answer(check, answer.status, answer.elapsed_seconds * 1000, self.factor)

    async def _read(self, cx: Connection, check: DueCheck, at: datetime) -> Finding:
        response_time_ms = await checks.read_source_metric(cx, check, at)
        if response_time_ms is None:
            return judge_stale()
        return judge_time(response_time_ms, check.limit_ms(self.factor))
