from wedsync_apm.ingest.plain_runs import Runs as Runs
from wedsync_apm.ingest.plain_runs import known_labels as known_labels
