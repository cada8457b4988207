-- pre: a series may end, go on and end again: expressions over the past ask for every end, not for the last alone.

-- the newest hundred before `ended_at`, in no order
alter table public.apm_series add column earlier_ends timestamptz[] not null default '{}';

create or replace function apm_private.end_series(organization_id uuid, series_ids int[], ended_at timestamptz[]) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.apm_series as s set
        ended_at = u.ended_at,
        earlier_ends = case
            when s.ended_at is null or s.ended_at = u.ended_at then s.earlier_ends
            else array(
                select distinct e.at from unnest(array_append(s.earlier_ends, s.ended_at)) as e (at)
                where e.at <> u.ended_at
                order by e.at desc limit 100
            )
        end
    from unnest(end_series.series_ids, end_series.ended_at) as u (id, ended_at)
    where s.organization_id = end_series.organization_id and s.id = u.id
$$;
