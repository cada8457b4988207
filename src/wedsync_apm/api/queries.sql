-- find_newest_job_run [apm_api] --
-- How long ago the engine last got through a job; null: never.
select extract(epoch from clock_timestamp() - max(r.finished_at))::float8 as seconds
from apm_private.read_job_runs() as r
where r.outcome in ('ok', 'skipped', 'failed')
