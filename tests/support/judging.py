"""An engine that only judges, as a process of its own: `python -m tests.support.judging`.

The database and the lease in seconds come as arguments.
"""

import asyncio
import sys
from datetime import timedelta

from wedsync_apm.db.pool import open_pool
from wedsync_apm.engine.cycle import Cycle, run_forever
from wedsync_apm.engine.evaluate import Evaluator
from wedsync_apm.engine.leases import Leases
from wedsync_apm.engine.wake import Wakes


async def main(conninfo: str, lease: float) -> None:
    """Runs until it is killed."""
    leases = Leases(timedelta(seconds=lease))
    wakes = Wakes()
    listening = asyncio.create_task(wakes.run(conninfo))
    judge = Cycle(
        "evaluate",
        0.2,
        Evaluator(leases=leases).run_once,
        is_exclusive=False,
        wake=wakes.events["evaluate"],
    )
    attend = Cycle(
        "attend", lease / 4, leases.attend, is_exclusive=False, is_needed=leases.is_quiet
    )
    async with await open_pool(conninfo, name="engine", min_size=1, max_size=4) as pool:
        stop = asyncio.Event()
        await asyncio.gather(listening, *(run_forever(pool, one, stop) for one in (judge, attend)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
