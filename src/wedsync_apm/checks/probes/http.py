"""Calls an address, and looks at the status, the time and, where asked, the words."""

from wedsync_apm.checks.model import DueCheck, Seen
from wedsync_apm.checks.targets import Target
from wedsync_apm.egress import Answer, EgressClient
from wedsync_apm.egress.client import READ_LIMIT_BYTES


async def look(client: EgressClient, target: Target, check: DueCheck) -> Seen:
    """One GET. Redirects are followed, each checked anew, unless one is what is expected."""
    redirects = 0 if any(300 <= code < 400 for code in check.expected_status_codes) else 3
    answer = await client.request(
        "GET",
        target.url,
        timeout_seconds=check.timeout_seconds,
        max_redirects=redirects,
        read_body=check.reads_body,
    )
    return Seen(
        response_time_ms=answer.elapsed_seconds * 1000,
        http_status=answer.status,
        body_problem=_body_problem(check, answer),
    )


def _body_problem(check: DueCheck, answer: Answer) -> str:
    """Plain words are looked for, no pattern: nobody's pattern may cost us more than reading."""
    where = f" in its first {READ_LIMIT_BYTES // 1024} KiB" if answer.truncated else ""
    if check.body_contains and check.body_contains.encode() not in answer.body:
        return f"without the words that should be there{where}"
    if check.body_lacks and check.body_lacks.encode() in answer.body:
        return "with words that should not be there"
    return ""
