"""A small client for vendors' own programs: it records, keeps and sends samples in the background.

    from wedsync_apm.client import Client

    apm = Client("https://apm.example.org", key, service_name="shop", queue_dir="/var/lib/shop/apm")
    apm.gauge("basket_value", 129.5, unit="EUR")
    apm.count("orders_total")
    with apm.timer("checkout_time"):
        ...

It needs Python's own library only and nothing else of this package, so the folder can also be
copied. What holds:

- Recording takes microseconds, never waits for a disk or a network, and raises nothing.
- A sample gets its time in milliseconds when it is recorded. The server shows a series and a
  millisecond once, so sending again is safe, and is done until the server has answered.
- With `queue_dir` what was flushed is on disk, synced, until then: it outlives `kill -9` and a
  power cut. Without, it waits in memory.
- Memory and disk are bounded. What had to be dropped, oldest first, is counted in `Client.stats()`
  and reported as the metric `wedsync_client_dropped_total`.
"""

from wedsync_apm.client.client import Client, Stats
from wedsync_apm.client.sender import Rejection
from wedsync_apm.client.timer import Timer

__all__ = ["Client", "Rejection", "Stats", "Timer"]
