drop function public.apm_ladder_weddings(uuid, date, date);
drop function public.apm_preview_incident(uuid, timestamptz);
drop function public.apm_preview_ladder(uuid, uuid, public.alert_severity, timestamptz);
create or replace function apm_private.steer_escalation() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    chosen uuid;
    climbed jsonb;
begin
    if tg_op = 'UPDATE' then
        if new.status = old.status then
            return null;
        end if;
        update public.apm_escalation_runs as r set state = 'stopped', next_at = null, stop_reason = new.status::text
        where r.organization_id = new.organization_id and r.incident_id = new.id and r.state = 'running';
    end if;
    if new.status <> 'open' then
        return null;
    end if;
    select p.id into chosen
    from public.apm_escalation_policies as p
    left join public.apm_notification_rules as n
        on n.organization_id = p.organization_id and n.escalation_policy_id = p.id
        and n.is_active and new.severity >= n.severity_min
    where p.organization_id = new.organization_id and (n.id is not null or p.is_default)
    order by n.position nulls last
    limit 1;
    select coalesce(jsonb_agg(jsonb_build_object(
        'position', s.position, 'level', s.level,
        'delay_seconds', extract(epoch from s.delay),
        'wedding_delay_seconds', extract(epoch from coalesce(s.wedding_delay, s.delay / 4)),
        'contact_method_ids', (
            select coalesce(jsonb_agg(t.contact_method_id), '[]') from public.apm_escalation_targets as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'schedule_ids', (
            select coalesce(jsonb_agg(t.schedule_id), '[]') from public.apm_escalation_schedules as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        )
    ) order by s.position), '[]') into climbed
    from public.apm_escalation_steps as s
    where s.organization_id = new.organization_id and s.policy_id = chosen;
    insert into public.apm_escalation_runs
        (organization_id, incident_id, generation, policy_id, steps, repeats_left, next_at, started_at)
    values (
        new.organization_id, new.id, new.generation, chosen, climbed,
        coalesce((select p.repeat_count from public.apm_escalation_policies as p where p.organization_id = new.organization_id and p.id = chosen), 0),
        at + make_interval(secs => coalesce(
            (climbed -> 0 ->> case when new.was_wedding_day then 'wedding_delay_seconds' else 'delay_seconds' end)::float8, 0
        )),
        at
    );
    return null;
end
$$;
create or replace function apm_private.readiness_facts(organization_id uuid, wedding_id uuid, wedding_date date, at timestamptz)
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
            ) and not exists (
                select from public.apm_escalation_schedules as t
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
drop function apm_private.ladder_reach(uuid, timestamptz, timestamptz);
drop function apm_private.walk_ladder(uuid, jsonb, int, int, timestamptz, public.alert_severity, boolean);
drop function apm_private.rung_due_at(uuid, jsonb, int, int, timestamptz, boolean);
drop function apm_private.time_to_rung(jsonb, int, int, boolean);
drop function apm_private.is_wedding_paced(uuid, boolean, timestamptz);
drop function apm_private.why_passed(uuid, jsonb, public.alert_severity, boolean, timestamptz);
drop function apm_private.rung_receivers(uuid, jsonb, timestamptz);
drop function apm_private.rung_contacts(uuid, jsonb, timestamptz);
drop function apm_private.is_in_hours(jsonb, text, timestamptz);
drop function apm_private.snapshot_ladder(uuid, uuid);
drop function apm_private.choose_ladder(uuid, public.alert_severity, timestamptz);
alter table public.apm_escalation_runs drop column told;
drop trigger apm_escalation_steps_people on public.apm_escalation_steps;
drop function apm_private.check_step_people();
alter table public.apm_escalation_steps
    drop column user_ids, drop column weddings, drop column severity_min, drop column hours_from,
    drop column hours_until, drop column hours_weekdays, drop column hours_zone;
