-- read_slots_from_15 [apm_engine] --
-- What each replication slot keeps of the log: one that nobody reads fills the disk.
select
    s.slot_name::text as subject,
    round(coalesce(pg_wal_lsn_diff(p.lsn, s.restart_lsn), 0) / 1048576, 2)::float8 as figure,
    s.active,
    s.slot_type,
    s.wal_status
from pg_replication_slots as s
cross join (
    select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end as lsn
) as p
order by figure desc
