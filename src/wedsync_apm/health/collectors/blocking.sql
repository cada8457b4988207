-- read_blocking_from_15 [apm_engine] --
-- Who waits for a lock, since when, for whom, and who stands first in that queue.
with recursive waiting as (
    select s.pid, pg_blocking_pids(s.pid) as holders
    from pg_stat_activity as s
    where s.wait_event_type = 'Lock'
),
chain as (
    select w.pid, h.pid as holder, array[w.pid, h.pid] as path
    from waiting as w
    cross join unnest(w.holders) as h (pid)
    union all
    select c.pid, h.pid, c.path || h.pid
    from chain as c
    join waiting as w on w.pid = c.holder
    cross join unnest(w.holders) as h (pid)
    where h.pid <> all (c.path)
)
select
    format('session %s of %s', s.pid, s.usename) as subject,
    extract(epoch from clock_timestamp() - coalesce(min(l.waitstart), s.query_start))::float8 as figure,
    s.application_name,
    w.holders as waits_for,
    (
        select array_agg(distinct c.holder) from chain as c
        where c.pid = s.pid and not exists (select from waiting as x where x.pid = c.holder)
    ) as first_in_queue,
    min(l.locktype) as lock_of,
    min(l.relation::regclass::text) as relation
from waiting as w
join pg_stat_activity as s on s.pid = w.pid
left join pg_locks as l on l.pid = w.pid and not l.granted
group by s.pid, s.usename, s.query_start, s.application_name, w.holders
order by figure desc
