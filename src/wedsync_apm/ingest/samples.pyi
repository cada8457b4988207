from wedsync_apm.ingest.plain_samples import Flush as Flush
from wedsync_apm.ingest.plain_samples import are_known as are_known
from wedsync_apm.ingest.plain_samples import pack_items as pack_items
from wedsync_apm.ingest.plain_samples import tally as tally
