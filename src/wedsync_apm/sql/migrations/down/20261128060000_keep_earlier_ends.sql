create or replace function apm_private.end_series(organization_id uuid, series_ids int[], ended_at timestamptz[]) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.apm_series as s set ended_at = u.ended_at
    from unnest(end_series.series_ids, end_series.ended_at) as u (id, ended_at)
    where s.organization_id = end_series.organization_id and s.id = u.id
$$;

alter table public.apm_series drop column earlier_ends;
