-- read_lost_slots_from_15 [apm_engine] --
-- Slots whose log is gone: whoever read from them must begin anew.
select s.slot_name::text as subject, 1::float8 as figure, s.wal_status as why_lost, null::timestamptz as inactive_since
from pg_replication_slots as s
where s.wal_status in ('lost', 'unreserved')

-- read_lost_slots_from_16 [apm_engine] --
-- The same, and logical slots that a standby had to give up.
select s.slot_name::text as subject, 1::float8 as figure,
    case when s.conflicting then 'conflict' else s.wal_status end as why_lost, null::timestamptz as inactive_since
from pg_replication_slots as s
where s.wal_status in ('lost', 'unreserved') or s.conflicting

-- read_lost_slots_from_17 [apm_engine] --
-- The same with the reason and since when nobody read.
select s.slot_name::text as subject, 1::float8 as figure, coalesce(s.invalidation_reason, s.wal_status) as why_lost,
    s.inactive_since
from pg_replication_slots as s
where s.wal_status in ('lost', 'unreserved') or s.invalidation_reason is not null
