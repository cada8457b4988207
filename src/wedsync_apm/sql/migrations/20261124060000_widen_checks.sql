-- pre: checks of names, ports and certificates, shared probes, damping, causes, tallies of results, and incidents of checks.

alter table public.service_health_checks
    drop constraint service_health_checks_source,
    drop constraint service_health_checks_endpoint_url_check,
    -- the scheme says what is done: http(s) calls, tcp connects, tls looks at the certificate, dns asks (RFC 4501)
    add constraint service_health_checks_endpoint_url_check check (endpoint_url is null or endpoint_url ~ '^(https?|tcp|tls)://|^dns:'),
    -- the service of the platform's catalogue whose one probe answers for this check
    add column shared_key text check (length(shared_key) between 1 and 100),
    add constraint service_health_checks_source check (num_nonnulls(endpoint_url, source_metric, shared_key) = 1),
    -- the platform's own check that others share
    add column is_shared boolean not null default false,
    add column body_contains text check (length(body_contains) between 1 and 200),
    add column body_lacks text check (length(body_lacks) between 1 and 200),
    -- every one of these must be among the answers; empty: any answer will do
    add column dns_expected text[] not null default '{}' check (cardinality(dns_expected) <= 20),
    -- a certificate that ends sooner is a warning
    add column certificate_days int not null default 14 check (certificate_days between 1 and 365),
    -- so many looks in a row that found it worse (better) make it so
    add column failures_to_confirm int not null default 2 check (failures_to_confirm between 1 and 10),
    add column recoveries_to_confirm int not null default 2 check (recoveries_to_confirm between 1 and 10),
    -- shares of 1: of the last hour's looks
    add column error_rate_threshold float8 not null default 0.05 check (error_rate_threshold between 0 and 1),
    -- percent of the last 24 hours
    add column availability_threshold float8 not null default 99 check (availability_threshold between 0 and 100),
    add column opens_incidents boolean not null default true,
    -- checks of the same organization without which this one cannot work
    add column depends_on uuid[] not null default '{}' check (cardinality(depends_on) <= 20),
    -- the limits in force at the last look
    add column limits jsonb check (jsonb_typeof(limits) = 'object'),
    -- how often it is looked at now; null before the first look
    add column effective_interval interval,
    -- the change that is not confirmed yet, and how often in a row it was seen
    add column candidate public.service_status,
    add column candidate_count int not null default 0,
    -- since when every look failed
    add column failing_since timestamptz,
    -- "service:<key>" or "check:<id>": what it is down because of
    add column caused_by text,
    -- it wanted an incident at the last look
    add column is_alarming boolean not null default false,
    -- somebody asked for a look
    add column last_run_at timestamptz;

-- What was there before does not begin to page by itself.
update public.service_health_checks set opens_incidents = false;

-- the probe that others share: who wants it, and how often
create index idx_apm_health_checks_shared on public.service_health_checks (shared_key, effective_interval)
where shared_key is not null and is_active;

grant insert (shared_key, body_contains, body_lacks, dns_expected, certificate_days, failures_to_confirm,
        recoveries_to_confirm, error_rate_threshold, availability_threshold, opens_incidents, depends_on),
    update (shared_key, body_contains, body_lacks, dns_expected, certificate_days, failures_to_confirm,
        recoveries_to_confirm, error_rate_threshold, availability_threshold, opens_incidents, depends_on)
    on public.service_health_checks to authenticated;

-- A check of something else knows nothing yet; one that is asked for otherwise is looked at anew. Results that are
-- under way are void with that: next_check_at is also the fence of whoever makes the check.
create function apm_private.restart_check() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row(new.endpoint_url, new.source_metric, new.shared_key)
        is distinct from row(old.endpoint_url, old.source_metric, old.shared_key) then
        new.status := 'unknown';
        new.status_reason := 'not checked yet';
        new.status_since := clock_timestamp();
        new.last_check_at := null;
        new.response_time_ms := null;
    end if;
    new.candidate := null;
    new.candidate_count := 0;
    new.failing_since := null;
    new.next_check_at := clock_timestamp();
    return new;
end
$$;
revoke all on function apm_private.restart_check() from public, anon, authenticated, service_role;
create trigger service_health_checks_restart before update of endpoint_url, source_metric, shared_key
on public.service_health_checks for each row
when (
    row(new.endpoint_url, new.source_metric, new.shared_key, new.expected_status_codes, new.body_contains, new.body_lacks,
        new.dns_expected, new.response_time_threshold_ms, new.is_active)
    is distinct from row(old.endpoint_url, old.source_metric, old.shared_key, old.expected_status_codes, old.body_contains,
        old.body_lacks, old.dns_expected, old.response_time_threshold_ms, old.is_active)
)
execute function apm_private.restart_check();

-- What a check depends on is a check of the same organization, and not in the end the check itself.
create function apm_private.check_dependencies() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from unnest(new.depends_on) as d (id)
        where not exists (
            select from public.service_health_checks as c
            where c.organization_id = new.organization_id and c.id = d.id and c.id <> new.id
        )
    ) then
        raise exception 'a check depends on other checks of its organization'
            using errcode = 'check_violation', constraint = 'service_health_checks_depends_on', table = 'service_health_checks',
            column = 'depends_on';
    end if;
    if exists (
        with recursive below (id) as (
            select unnest(new.depends_on)
            union
            select d.id from below as b
            join public.service_health_checks as c on c.organization_id = new.organization_id and c.id = b.id
            cross join lateral unnest(c.depends_on) as d (id)
        )
        select from below as b where b.id = new.id
    ) then
        raise exception 'a check cannot depend on itself'
            using errcode = 'check_violation', constraint = 'service_health_checks_depends_in_a_circle',
            table = 'service_health_checks', column = 'depends_on';
    end if;
    return null;
end
$$;
call apm_private.hand_over('apm_private.check_dependencies()');
create trigger service_health_checks_dependencies after insert or update of depends_on on public.service_health_checks
for each row when (cardinality(new.depends_on) > 0) execute function apm_private.check_dependencies();

create trigger service_health_checks_audit_update after update of endpoint_url, source_metric, shared_key, is_active
on public.service_health_checks for each row execute function apm_private.write_audit();

-- Results, twelve times five minutes a row: counts are all that windows need, and a row a result would be a hundred
-- times as much. A check that shares a probe has none of its own; the shared one has them.
create table public.apm_service_tallies (
    organization_id uuid not null,
    check_id uuid not null,
    hour timestamptz not null check (hour = date_trunc('hour', hour, 'UTC')),
    looks int2[] not null default array_fill(0::int2, array[12]) check (cardinality(looks) = 12),
    failures int2[] not null default array_fill(0::int2, array[12]) check (cardinality(failures) = 12),
    primary key (organization_id, check_id, hour),
    foreign key (organization_id, check_id) references public.service_health_checks (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_service_tallies');
grant select on public.apm_service_tallies to authenticated;
create policy apm_service_tallies_authenticated_select on public.apm_service_tallies for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

-- Looks and failures of a check since an instant, to the five minutes.
create function apm_private.count_looks(organization_id uuid, check_id uuid, since timestamptz)
returns table (looks bigint, failures bigint)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(sum(t.looks[s.n]), 0), coalesce(sum(t.failures[s.n]), 0)
    from public.apm_service_tallies as t
    cross join generate_series(1, 12) as s (n)
    where t.organization_id = count_looks.organization_id and t.check_id = count_looks.check_id
        and t.hour > count_looks.since - interval '1 hour'
        and t.hour + s.n * interval '5 minutes' > count_looks.since
$$;
revoke all on function apm_private.count_looks(uuid, uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function apm_private.count_looks(uuid, uuid, timestamptz) to apm_engine, apm_definer;

-- How long a check's service was known, and known to be down, since an instant.
create function apm_private.sum_spans(organization_id uuid, check_id uuid, since timestamptz, until timestamptz)
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
revoke all on function apm_private.sum_spans(uuid, uuid, timestamptz, timestamptz) from public, anon, authenticated, service_role;
grant execute on function apm_private.sum_spans(uuid, uuid, timestamptz, timestamptz) to apm_engine, apm_definer;

-- Error rate and availability of one check over the usual windows. Of a check that shares a probe these are the
-- probe's, which say nothing of who else shares it. Empty for a check of somebody else's.
create function public.apm_check_windows(check_id uuid, at timestamptz default now())
returns table (window_name text, looks bigint, failures bigint, error_rate float8, known_seconds float8, availability_percentage float8)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with mine as (
        select c.organization_id, c.id, c.shared_key
        from public.service_health_checks as c
        where c.id = apm_check_windows.check_id
            and (apm_private.is_service() or c.organization_id = any (public.apm_current_organization_ids()))
    ), counted as (
        select coalesce(s.organization_id, m.organization_id) as organization_id, coalesce(s.id, m.id) as id
        from mine as m
        left join apm_private.platform as p on m.shared_key is not null
        left join public.service_health_checks as s
            on s.organization_id = p.organization_id and s.service_name = m.shared_key and s.is_shared
    )
    select w.name, l.looks, l.failures, l.failures::float8 / nullif(l.looks, 0), k.known_seconds,
        100 * (1 - k.down_seconds / nullif(k.known_seconds, 0))
    from counted as c
    cross join (values
        (1, '1h', interval '1 hour'), (2, '24h', interval '24 hours'), (3, '7d', interval '7 days'), (4, '30d', interval '30 days')
    ) as w (position, name, width)
    cross join lateral apm_private.count_looks(c.organization_id, c.id, apm_check_windows.at - w.width) as l
    cross join lateral apm_private.sum_spans(c.organization_id, c.id, apm_check_windows.at - w.width, apm_check_windows.at) as k
    order by w.position
$$;

-- Whether a look may be made now by whoever asks: 0, else the seconds to wait; null where he may not see or ask. A
-- check is asked for once in ten seconds, an organization's checks twenty times a minute. The engine looks soon too.
create function public.apm_take_check_run(check_id uuid, at timestamptz default now()) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    mine record;
    asked record;
begin
    select c.organization_id, c.id, c.last_run_at into mine
    from public.service_health_checks as c
    where c.id = apm_take_check_run.check_id
        and (apm_private.is_service() or c.organization_id = any (public.apm_organization_ids_as('MEMBER')));
    if not found then
        return null;
    end if;
    -- one after the other, or two would both be the twentieth
    perform pg_advisory_xact_lock(hashtextextended('check runs ' || mine.organization_id, 0));
    select count(*) as runs, min(c.last_run_at) as first_at,
        max(c.last_run_at) filter (where c.id = mine.id) as last_at
    into asked
    from public.service_health_checks as c
    where c.organization_id = mine.organization_id and c.last_run_at > apm_take_check_run.at - interval '1 minute';
    if asked.last_at > apm_take_check_run.at - interval '10 seconds' then
        return greatest(1, ceil(extract(epoch from asked.last_at + interval '10 seconds' - apm_take_check_run.at)))::int;
    end if;
    if asked.runs >= 20 then
        return greatest(1, ceil(extract(epoch from asked.first_at + interval '1 minute' - apm_take_check_run.at)))::int;
    end if;
    update public.service_health_checks as c set
        last_run_at = apm_take_check_run.at,
        -- what is shared keeps its own time, or one member would make it for everybody
        next_check_at = case when c.is_shared then c.next_check_at else least(c.next_check_at, apm_take_check_run.at) end
    where c.organization_id = mine.organization_id and c.id = mine.id;
    return 0;
end
$$;

call apm_private.hand_over('public.apm_check_windows(uuid, timestamptz)');
call apm_private.hand_over('public.apm_take_check_run(uuid, timestamptz)');
grant execute on function public.apm_check_windows(uuid, timestamptz), public.apm_take_check_run(uuid, timestamptz)
    to authenticated, service_role, apm_engine;
