"""What the readiness page asks the database."""

from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)


async def find_newest_job_run(cx: Connection) -> float | None:
    """Seconds since the engine last got through a job; None if it never did."""
    row = await (await cx.execute(Q.find_newest_job_run)).fetchone()
    return row["seconds"] if row else None
