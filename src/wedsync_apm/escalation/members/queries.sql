-- The ladders, as members see and change them.

-- list_escalation_policies --
-- The organizations' ladders with their steps and whom each step tells, newest first.
select p.*, (
    select coalesce(jsonb_agg(jsonb_build_object(
        'level', s.level,
        'delay_seconds', extract(epoch from s.delay)::float8,
        'wedding_delay_seconds', extract(epoch from s.wedding_delay)::float8,
        'contact_method_ids', (
            select coalesce(jsonb_agg(t.contact_method_id order by t.contact_method_id), '[]')
            from public.apm_escalation_targets as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'schedule_ids', (
            select coalesce(jsonb_agg(t.schedule_id order by t.schedule_id), '[]')
            from public.apm_escalation_schedules as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'user_ids', s.user_ids,
        'weddings', s.weddings,
        'severity_min', s.severity_min,
        'hours', case when s.hours_zone is not null then jsonb_build_object(
            'from_time', to_char(s.hours_from, 'HH24:MI'), 'until_time', to_char(s.hours_until, 'HH24:MI'),
            'weekdays', s.hours_weekdays, 'zone', s.hours_zone
        ) end
    ) order by s.position), '[]')
    from public.apm_escalation_steps as s
    where s.organization_id = p.organization_id and s.policy_id = p.id
) as steps
from public.apm_escalation_policies as p
where p.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (p.created_at, p.id) < (%(before_at)s, %(before_id)s::uuid))
order by p.created_at desc, p.id desc
limit %(limit)s::int

-- find_escalation_policy --
-- One ladder with its steps.
select p.*, (
    select coalesce(jsonb_agg(jsonb_build_object(
        'level', s.level,
        'delay_seconds', extract(epoch from s.delay)::float8,
        'wedding_delay_seconds', extract(epoch from s.wedding_delay)::float8,
        'contact_method_ids', (
            select coalesce(jsonb_agg(t.contact_method_id order by t.contact_method_id), '[]')
            from public.apm_escalation_targets as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'schedule_ids', (
            select coalesce(jsonb_agg(t.schedule_id order by t.schedule_id), '[]')
            from public.apm_escalation_schedules as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'user_ids', s.user_ids,
        'weddings', s.weddings,
        'severity_min', s.severity_min,
        'hours', case when s.hours_zone is not null then jsonb_build_object(
            'from_time', to_char(s.hours_from, 'HH24:MI'), 'until_time', to_char(s.hours_until, 'HH24:MI'),
            'weekdays', s.hours_weekdays, 'zone', s.hours_zone
        ) end
    ) order by s.position), '[]')
    from public.apm_escalation_steps as s
    where s.organization_id = p.organization_id and s.policy_id = p.id
) as steps
from public.apm_escalation_policies as p
where p.id = %(id)s::uuid

-- create_escalation_policy --
-- A ladder; its steps follow in the same transaction.
insert into public.apm_escalation_policies (organization_id, name, is_default, repeat_count)
select %(organization_id)s::uuid, v.name, v.is_default, v.repeat_count
from jsonb_populate_record(null::public.apm_escalation_policies, %(values)s::jsonb) as v
returning id

-- update_escalation_policy --
-- Changes the named values and no others.
update public.apm_escalation_policies as t
set (name, is_default, repeat_count) = (
    select v.name, v.is_default, v.repeat_count
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.id, t.organization_id

-- delete_escalation_policy --
-- Gone with its steps; a climb that has begun goes on from its snapshot.
delete from public.apm_escalation_policies
where id = %(id)s::uuid

-- clear_escalation_steps --
-- Before new ones take their place.
delete from public.apm_escalation_steps
where organization_id = %(organization_id)s::uuid and policy_id = %(policy_id)s::uuid

-- add_escalation_step --
-- One step with those whom it tells.
with added as (
    insert into public.apm_escalation_steps (
        organization_id, policy_id, position, level, delay, wedding_delay, user_ids, weddings, severity_min, hours_from,
        hours_until, hours_weekdays, hours_zone
    )
    select %(organization_id)s::uuid, %(policy_id)s::uuid, %(position)s::int, %(level)s::public.escalation_level,
        make_interval(secs => %(delay_seconds)s::float8), make_interval(secs => %(wedding_delay_seconds)s::float8),
        array(select distinct u.id from unnest(%(user_ids)s::uuid[]) as u (id) order by u.id), %(weddings)s::text,
        %(severity_min)s::public.alert_severity, h.from_time, h.until_time, h.weekdays, h.zone
    from jsonb_to_record(coalesce(%(hours)s::jsonb, '{}')) as h (from_time time, until_time time, weekdays int[], zone text)
    returning id
),
scheduled as (
    insert into public.apm_escalation_schedules (organization_id, step_id, schedule_id)
    select %(organization_id)s, a.id, s.schedule_id
    from added as a
    cross join (select distinct n.id from unnest(%(schedule_ids)s::uuid[]) as n (id)) as s (schedule_id)
)
insert into public.apm_escalation_targets (organization_id, step_id, contact_method_id)
select %(organization_id)s, a.id, t.contact_method_id
from added as a
cross join unnest(%(contact_method_ids)s::uuid[]) as t (contact_method_id)

-- preview_ladder --
-- Whom a ladder would call, or that which would be chosen, were something wrong at an instant; the same functions as the climb's.
select p.ladder_id as policy_id, p.step, p.level, p.due, p.is_wedding, p.passed, p.contact_method_id, p.channel, p.name, p.via, p.is_verified
from public.apm_preview_ladder(
    %(organization_id)s::uuid, %(policy_id)s::uuid, %(severity)s::public.alert_severity, %(at)s::timestamptz
) as p

-- preview_incident --
-- Whom an incident's own climb calls from now on.
select p.ladder_id as policy_id, p.step, p.level, p.due, p.is_wedding, p.passed, p.contact_method_id, p.channel, p.name, p.via, p.is_verified
from public.apm_preview_incident(%(incident_id)s::uuid, %(at)s::timestamptz) as p

-- list_ladder_faults --
-- What the steps of the ladders in use leave open in each wedding dated in a range that is not over.
select o.id as organization_id, w.wedding_id, w.wedding_date, w.wedding_zone, w.starts_at, w.ends_at, w.policy_id,
    w.policy_name, w.step, w.is_empty, w.unreachable, (
        select coalesce(
            jsonb_agg(jsonb_build_object('starts_at', lower(g.gap), 'ends_at', upper(g.gap)) order by lower(g.gap)), '[]'
        )
        from unnest(w.gaps) as g (gap)
    ) as gaps
from unnest(%(organization_ids)s::uuid[]) as o (id)
cross join lateral public.apm_ladder_weddings(
    o.id, (%(at)s::timestamptz at time zone 'UTC')::date - 3, (%(at)s at time zone 'UTC')::date + %(days)s::int
) as w
where w.ends_at > %(at)s
order by w.starts_at, w.wedding_id, w.policy_name, w.step
