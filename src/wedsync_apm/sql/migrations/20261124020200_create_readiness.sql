-- pre: whether everything is ready for a wedding, looked at on the evening before at the venue, once for each.

create table public.apm_readiness_reports (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    -- ours, or the host's client whose wedding it is
    wedding_id uuid not null,
    wedding_date date not null,
    due_at timestamptz not null,
    -- counted for one evening: the first one, and what followed
    attempt int not null check (attempt >= 1),
    -- the evening's own; again, as it had failed; asked for by a person
    cause text not null check (cause in ('evening', 'again', 'asked')),
    made_at timestamptz not null,
    outcome text not null check (outcome in ('pass', 'fail', 'unknown')),
    -- [{"key", "title", "outcome", "reason"}]: counts and services, never people
    lines jsonb not null check (jsonb_typeof(lines) = 'array'),
    primary key (organization_id, id),
    -- a report is made once, whoever comes second; find_report: the last one of a wedding
    constraint apm_readiness_reports_attempt_key unique (organization_id, wedding_id, due_at, attempt)
);
call apm_private.protect_table('public.apm_readiness_reports');
grant select on public.apm_readiness_reports to authenticated;
create policy apm_readiness_reports_authenticated_select on public.apm_readiness_reports for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);

-- The timer of each wedding of these days.
create table apm_private.readiness_timers (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    wedding_id uuid not null,
    wedding_date date not null,
    due_at timestamptz not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    -- null: nothing is to be done any more
    next_at timestamptz,
    asked_at timestamptz,
    -- the lines that failed last
    failed text[] not null default '{}',
    primary key (organization_id, wedding_id)
);
call apm_private.protect_table('apm_private.readiness_timers');

-- 18:00 (as it is set) on the evening before, by the venue's clock; where that cannot be read, where it comes first.
create function apm_private.readiness_due_at(wedding_date date, time_zone text, is_zone_known boolean) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
        when readiness_due_at.is_zone_known then
            (readiness_due_at.wedding_date - 1 + s.readiness_time) at time zone readiness_due_at.time_zone
        else (readiness_due_at.wedding_date - 1 + s.readiness_time - interval '14 hours') at time zone 'UTC'
    end
    from apm_private.guard_settings as s
$$;
call apm_private.hand_over('apm_private.readiness_due_at(date, text, boolean)');

-- The weddings of these days with the span of their phases: the day where no phase can be placed.
create function apm_private.weddings_to_prepare(organization_ids uuid[], earliest date, latest date)
returns table (
    organization_id uuid, wedding_id uuid, wedding_date date, time_zone text, is_zone_known boolean, initials text,
    due_at timestamptz, starts_at timestamptz, ends_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with weddings as (
        select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.is_zone_known, w.initials
        from apm_private.weddings_between(
            weddings_to_prepare.organization_ids, weddings_to_prepare.earliest, weddings_to_prepare.latest
        ) as w
    ), spans as (
        select p.organization_id, p.wedding_id,
            coalesce(min(lower(p.span)) filter (where p.phase <> 'day'), min(lower(p.span))) as starts_at,
            coalesce(max(upper(p.span)) filter (where p.phase <> 'day'), max(upper(p.span))) as ends_at
        from apm_private.wedding_windows_between(
            weddings_to_prepare.organization_ids,
            (weddings_to_prepare.earliest - 3)::timestamp at time zone 'UTC',
            (weddings_to_prepare.latest + 4)::timestamp at time zone 'UTC'
        ) as p
        where p.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
        group by p.organization_id, p.wedding_id
    )
    select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.is_zone_known, w.initials,
        apm_private.readiness_due_at(w.wedding_date, w.time_zone, w.is_zone_known), s.starts_at, s.ends_at
    from weddings as w
    join spans as s on s.organization_id = w.organization_id and s.wedding_id = w.wedding_id
$$;
call apm_private.hand_over('apm_private.weddings_to_prepare(uuid[], date, date)');

-- Sets the timers by the calendar as it is now: a wedding that moved is due anew, one that is off has none. Returns how
-- many changed. What is long past is forgotten, and so are reports after 400 days.
create function apm_private.plan_readiness(at timestamptz) returns int
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with wanted as (
        select w.*
        from apm_private.weddings_to_prepare(
            array(select o.organization_id from apm_private.host_organizations(null) as o),
            (plan_readiness.at at time zone 'UTC')::date - 3, (plan_readiness.at at time zone 'UTC')::date + 3
        ) as w
        where w.ends_at > plan_readiness.at
    ), gone as (
        delete from apm_private.readiness_timers as t
        where not exists (
            select from wanted as w where w.organization_id = t.organization_id and w.wedding_id = t.wedding_id
        )
        returning t.wedding_id
    ), planned as (
        insert into apm_private.readiness_timers as t
            (organization_id, wedding_id, wedding_date, due_at, starts_at, ends_at, next_at)
        select w.organization_id, w.wedding_id, w.wedding_date, w.due_at, w.starts_at, w.ends_at, w.due_at
        from wanted as w
        on conflict (organization_id, wedding_id) do update set
            wedding_date = excluded.wedding_date, due_at = excluded.due_at, starts_at = excluded.starts_at,
            ends_at = excluded.ends_at,
            next_at = case when t.due_at <> excluded.due_at then excluded.due_at else t.next_at end,
            failed = case when t.due_at <> excluded.due_at then '{}' else t.failed end
        where (t.wedding_date, t.due_at, t.starts_at, t.ends_at)
            is distinct from (excluded.wedding_date, excluded.due_at, excluded.starts_at, excluded.ends_at)
        returning t.wedding_id
    ), forgotten as (
        delete from public.apm_readiness_reports as r where r.made_at < plan_readiness.at - interval '400 days'
        returning r.id
    )
    select (select count(*) from gone)::int + (select count(*) from planned)::int
$$;
call apm_private.hand_over('apm_private.plan_readiness(timestamptz)');

-- What is known about a wedding's readiness at an instant: counts, and the names of services; nothing of people.
-- Contacts count where they are switched on, tests and verifications for thirty days.
create function apm_private.readiness_facts(organization_id uuid, wedding_id uuid, wedding_date date, at timestamptz)
returns table (
    time_zone text, is_zone_known boolean, initials text, due_at timestamptz, starts_at timestamptz, ends_at timestamptz,
    contacts int, unverified int, stale int, rungs int, empty_rungs int, tested int, failing int, checks int, red text[],
    troubled text[], unseen text[]
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    wedding record;
begin
    select w.* into wedding
    from apm_private.weddings_to_prepare(
        array[readiness_facts.organization_id], readiness_facts.wedding_date, readiness_facts.wedding_date
    ) as w
    where w.wedding_id = readiness_facts.wedding_id;
    if not found then
        return;
    end if;
    return query
    with methods as (
        select m.id, m.verified_at, m.last_ok_at,
            exists (
                select from public.apm_deliveries as d
                where d.organization_id = m.organization_id and d.contact_method_id = m.id and d.state = 'failed'
                    and d.updated_at > coalesce(m.last_ok_at, '-infinity')
                    and d.created_at > readiness_facts.at - interval '30 days'
            ) as is_failing
        from public.apm_contact_methods as m
        where m.organization_id = readiness_facts.organization_id and m.disabled_at is null
    ), contacts as (
        select count(*)::int as total,
            count(*) filter (where m.verified_at is null)::int as unverified,
            count(*) filter (where m.verified_at <= readiness_facts.at - interval '30 days')::int as stale,
            count(*) filter (where not m.is_failing and m.last_ok_at > readiness_facts.at - interval '30 days')::int as tested,
            count(*) filter (where m.is_failing)::int as failing
        from methods as m
    ), ladder as (
        select count(*)::int as rungs,
            count(*) filter (where not exists (
                select from public.apm_escalation_targets as t
                join methods as m on m.id = t.contact_method_id
                where t.organization_id = s.organization_id and t.step_id = s.id
            ))::int as empty_rungs
        from public.apm_escalation_steps as s
        join public.apm_escalation_policies as p on p.organization_id = s.organization_id and p.id = s.policy_id
        where s.organization_id = readiness_facts.organization_id and p.is_default
    ), every_check as (
        select c.*, bool_or(c.wedding_critical) over () as has_critical
        from public.service_health_checks as c
        where c.organization_id = readiness_facts.organization_id and c.is_active
    ), looked as (
        -- those that are marked as critical for a wedding; without such a mark, all
        select c.display_name, c.status,
            c.status in ('warning', 'critical') as is_red,
            c.status in ('unknown', 'maintenance')
                or c.last_check_at is null or c.last_check_at < readiness_facts.at - greatest(5 * c.check_interval, interval '15 minutes')
                as is_unseen,
            exists (
                select from public.apm_service_status_history as h
                where h.organization_id = c.organization_id and h.check_id = c.id and h.status = 'critical'
                    and h.since > readiness_facts.at - interval '1 day' and h.since <= readiness_facts.at
            ) as was_red
        from every_check as c
        where c.wedding_critical or not c.has_critical
    ), checks as (
        select count(*)::int as total,
            coalesce(array_agg(l.display_name order by l.display_name) filter (where l.is_red), '{}') as red,
            coalesce(array_agg(l.display_name order by l.display_name) filter (where l.was_red and not l.is_red), '{}') as troubled,
            coalesce(array_agg(l.display_name order by l.display_name) filter (where l.is_unseen and not l.is_red), '{}') as unseen
        from looked as l
    )
    select wedding.time_zone, wedding.is_zone_known, wedding.initials, wedding.due_at, wedding.starts_at, wedding.ends_at,
        c.total, c.unverified, c.stale, l.rungs, l.empty_rungs, c.tested, c.failing, k.total, k.red, k.troubled, k.unseen
    from contacts as c
    cross join ladder as l
    cross join checks as k;
end
$$;
call apm_private.hand_over('apm_private.readiness_facts(uuid, uuid, date, timestamptz)');
grant execute on function apm_private.plan_readiness(timestamptz),
    apm_private.readiness_facts(uuid, uuid, date, timestamptz) to apm_engine;

-- Whose wedding it is and when, for a member and for operators; no row for anybody else's, known or not.
create function apm_private.find_wedding_to_prepare(wedding_id uuid)
returns table (organization_id uuid, wedding_date date)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with found as (
        select w.organization_id, w.wedding_date from public.apm_weddings as w
        where w.id = find_wedding_to_prepare.wedding_id and w.status <> 'cancelled'
            and (
                (select public.apm_operator_role()) is not null
                or w.organization_id = any (public.apm_current_organization_ids())
            )
        union all
        select h.organization_id, h.wedding_date
        from apm_private.host_weddings(
            case when public.apm_operator_role() is not null
                then array(select o.organization_id from apm_private.host_organizations(null) as o)
                else public.apm_current_organization_ids() end,
            '-infinity', 'infinity'
        ) as h
        where h.client_id = find_wedding_to_prepare.wedding_id
    )
    select f.organization_id, f.wedding_date from found as f limit 1
$$;
call apm_private.hand_over('apm_private.find_wedding_to_prepare(uuid)');

-- The facts for whoever may see the wedding.
create function public.apm_readiness_facts(wedding_id uuid, at timestamptz default now())
returns table (
    organization_id uuid, wedding_date date, time_zone text, is_zone_known boolean, initials text, due_at timestamptz,
    starts_at timestamptz, ends_at timestamptz, contacts int, unverified int, stale int, rungs int, empty_rungs int,
    tested int, failing int, checks int, red text[], troubled text[], unseen text[]
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.organization_id, w.wedding_date, f.time_zone, f.is_zone_known, f.initials, f.due_at, f.starts_at, f.ends_at,
        f.contacts, f.unverified, f.stale, f.rungs, f.empty_rungs, f.tested, f.failing, f.checks, f.red, f.troubled,
        f.unseen
    from apm_private.find_wedding_to_prepare(apm_readiness_facts.wedding_id) as w
    cross join lateral apm_private.readiness_facts(
        w.organization_id, apm_readiness_facts.wedding_id, w.wedding_date, apm_readiness_facts.at
    ) as f
$$;
call apm_private.hand_over('public.apm_readiness_facts(uuid, timestamptz)');

-- A person does not want to wait: the engine makes the report next. A member of the organization or an acting operator.
create function public.apm_ask_readiness(wedding_id uuid) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := clock_timestamp();
    owner uuid;
    standing text;
begin
    select w.organization_id into owner from apm_private.find_wedding_to_prepare(apm_ask_readiness.wedding_id) as w;
    standing := public.apm_role_in(owner);
    if owner is null then
        raise exception 'There is no such wedding.' using errcode = 'AP404';
    elsif coalesce(standing, 'VIEWER') = 'VIEWER' then
        perform apm_private.require_operator();
    end if;
    update apm_private.readiness_timers as t set asked_at = at, next_at = least(t.next_at, at)
    where t.organization_id = owner and t.wedding_id = apm_ask_readiness.wedding_id;
    if not found then
        raise exception 'A report is made within three days of the wedding, until it is over.'
            using errcode = 'AP409', constraint = 'apm_readiness_reports_time';
    end if;
end
$$;
call apm_private.hand_over('public.apm_ask_readiness(uuid)');
grant execute on function public.apm_readiness_facts(uuid, timestamptz), public.apm_ask_readiness(uuid) to authenticated;
