from wedsync_apm.ingest.plain_runs import Runs as Runs
