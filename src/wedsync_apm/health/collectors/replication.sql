-- read_replication_from_15 [apm_engine] --
-- How far each standby that is connected lies behind.
select
    coalesce(nullif(r.application_name, ''), r.client_addr::text, 'a standby') as subject,
    coalesce(extract(epoch from r.replay_lag), 0)::float8 as figure,
    r.state,
    r.sync_state,
    pg_wal_lsn_diff(r.sent_lsn, r.replay_lsn)::bigint as bytes_behind
from pg_stat_replication as r
order by figure desc
