-- pre: a check may be judged by its error rate and availability over a window, with a limit for each of two statuses.

alter table public.service_health_checks
    -- what error rate and availability are counted over where they are judged
    add column judged_over interval not null default '1 hour' check (judged_over between '5 minutes' and '7 days'),
    -- shares of 1 and percents; null: this alone makes it no worse
    add column error_rate_critical float8 check (error_rate_critical between 0 and 1),
    add column availability_warning float8 check (availability_warning between 0 and 100),
    add column availability_critical float8 check (availability_critical between 0 and 100),
    add constraint service_health_checks_error_rate_critical check (error_rate_critical >= error_rate_threshold),
    add constraint service_health_checks_availability_critical check (availability_critical <= availability_warning),
    -- by its figures alone: it answers, so that critical time is not down time, or it would never be well again, and
    -- whoever shares the probe judges what was before by his own limits
    add column is_by_figures boolean not null default false;
alter table public.apm_service_status_history add column is_by_figures boolean not null default false;

grant insert (judged_over, error_rate_critical, availability_warning, availability_critical),
    update (judged_over, error_rate_critical, availability_warning, availability_critical)
    on public.service_health_checks to authenticated;

create or replace function apm_private.keep_status_history() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.apm_service_status_history (organization_id, check_id, status, reason, since, is_by_figures)
    values (new.organization_id, new.id, new.status, new.status_reason, new.status_since, new.is_by_figures)
    on conflict (organization_id, check_id, since) do nothing;
    return null;
end
$$;

create or replace function apm_private.sum_spans(organization_id uuid, check_id uuid, since timestamptz, until timestamptz)
returns table (known_seconds float8, down_seconds float8)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with spans as (
        select h.status, h.is_by_figures, greatest(h.since, sum_spans.since) as since,
            least(lead(h.since, 1, sum_spans.until) over (order by h.since), sum_spans.until) as until
        from public.apm_service_status_history as h
        where h.organization_id = sum_spans.organization_id and h.check_id = sum_spans.check_id
    )
    select
        coalesce(sum(extract(epoch from s.until - s.since)), 0)::float8,
        coalesce(sum(extract(epoch from s.until - s.since)) filter (where s.status = 'critical' and not s.is_by_figures), 0)::float8
    from spans as s
    where s.until > s.since and s.status in ('healthy', 'warning', 'critical')
$$;

-- A check's looks and failures by the hour, and the worst status and the known share of each day: what its strip shows.
-- Of a check that shares a probe these are the probe's. Empty for a check of somebody else's.
create function public.apm_check_course(check_id uuid, at timestamptz default now())
returns table (width text, starts_at timestamptz, looks bigint, failures bigint, known_seconds float8, down_seconds float8)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with mine as (
        select c.organization_id, c.id, c.shared_key
        from public.service_health_checks as c
        where c.id = apm_check_course.check_id
            and (apm_private.is_service() or c.organization_id = any (public.apm_current_organization_ids()))
    ), counted as (
        select coalesce(s.organization_id, m.organization_id) as organization_id, coalesce(s.id, m.id) as id
        from mine as m
        left join apm_private.platform as p on m.shared_key is not null
        left join public.service_health_checks as s
            on s.organization_id = p.organization_id and s.service_name = m.shared_key and s.is_shared
    )
    select 'hour', h.starts_at,
        coalesce((select sum(n) from unnest(t.looks) as n), 0), coalesce((select sum(n) from unnest(t.failures) as n), 0),
        k.known_seconds, k.down_seconds
    from counted as c
    cross join generate_series(
        date_trunc('hour', apm_check_course.at, 'UTC') - interval '23 hours',
        date_trunc('hour', apm_check_course.at, 'UTC'), interval '1 hour'
    ) as h (starts_at)
    left join public.apm_service_tallies as t
        on t.organization_id = c.organization_id and t.check_id = c.id and t.hour = h.starts_at
    cross join lateral apm_private.sum_spans(
        c.organization_id, c.id, h.starts_at, least(h.starts_at + interval '1 hour', apm_check_course.at)
    ) as k
    union all
    select 'day', d.starts_at, null, null, k.known_seconds, k.down_seconds
    from counted as c
    cross join generate_series(apm_check_course.at - interval '30 days', apm_check_course.at - interval '1 day', interval '1 day')
        as d (starts_at)
    cross join lateral apm_private.sum_spans(c.organization_id, c.id, d.starts_at, d.starts_at + interval '1 day') as k
    order by 1, 2
$$;
call apm_private.hand_over('public.apm_check_course(uuid, timestamptz)');
grant execute on function public.apm_check_course(uuid, timestamptz) to authenticated;
