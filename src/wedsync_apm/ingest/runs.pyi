from wedsync_apm.ingest.plain_runs import Runs as Runs
from wedsync_apm.ingest.plain_runs import joined_members as joined_members
from wedsync_apm.ingest.plain_runs import known_series as known_series
