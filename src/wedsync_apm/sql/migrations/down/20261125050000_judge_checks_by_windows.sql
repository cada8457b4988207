drop function public.apm_check_course(uuid, timestamptz);

create or replace function apm_private.sum_spans(organization_id uuid, check_id uuid, since timestamptz, until timestamptz)
returns table (known_seconds float8, down_seconds float8)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with spans as (
        select h.status, greatest(h.since, sum_spans.since) as since,
            least(lead(h.since, 1, sum_spans.until) over (order by h.since), sum_spans.until) as until
        from public.apm_service_status_history as h
        where h.organization_id = sum_spans.organization_id and h.check_id = sum_spans.check_id
    )
    select
        coalesce(sum(extract(epoch from s.until - s.since)), 0)::float8,
        coalesce(sum(extract(epoch from s.until - s.since)) filter (where s.status = 'critical'), 0)::float8
    from spans as s
    where s.until > s.since and s.status in ('healthy', 'warning', 'critical')
$$;

create or replace function apm_private.keep_status_history() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.apm_service_status_history (organization_id, check_id, status, reason, since)
    values (new.organization_id, new.id, new.status, new.status_reason, new.status_since)
    on conflict (organization_id, check_id, since) do nothing;
    return null;
end
$$;

alter table public.apm_service_status_history drop column is_by_figures;
alter table public.service_health_checks
    drop column judged_over, drop column error_rate_critical, drop column availability_warning,
    drop column availability_critical, drop column is_by_figures;
