-- Whom to tell, and the ladders, as members see and change them.

-- list_notification_rules --
-- The organizations' notification rules, newest first.
select *, channels::text[] as channels
from public.apm_notification_rules
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_notification_rule --
-- A notification rule that the caller can see.
select *, channels::text[] as channels
from public.apm_notification_rules
where id = %(id)s::uuid

-- create_notification_rule --
-- A new notification rule.
insert into public.apm_notification_rules (
    organization_id, name, severity_min, channels, recipients, quiet_hours, escalation_policy_id,
    wedding_day_override, is_active, position
)
select
    %(organization_id)s::uuid, v.name, v.severity_min, v.channels, v.recipients, v.quiet_hours,
    v.escalation_policy_id, v.wedding_day_override, v.is_active, v.position
from jsonb_populate_record(null::public.apm_notification_rules, %(values)s::jsonb) as v
returning *, channels::text[] as channels

-- update_notification_rule --
-- Changes the named values and no others.
update public.apm_notification_rules as t
set (
    name, severity_min, channels, recipients, quiet_hours, escalation_policy_id, wedding_day_override,
    is_active, position
) = (
    select
        v.name, v.severity_min, v.channels, v.recipients, v.quiet_hours, v.escalation_policy_id,
        v.wedding_day_override, v.is_active, v.position
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*, t.channels::text[] as channels

-- delete_notification_rule --
-- Gone, with what hangs on it.
delete from public.apm_notification_rules
where id = %(id)s::uuid

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
        )
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
        )
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
    insert into public.apm_escalation_steps (organization_id, policy_id, position, level, delay, wedding_delay)
    values (
        %(organization_id)s::uuid, %(policy_id)s::uuid, %(position)s::int, %(level)s::public.escalation_level,
        make_interval(secs => %(delay_seconds)s::float8), make_interval(secs => %(wedding_delay_seconds)s::float8)
    )
    returning id
)
insert into public.apm_escalation_targets (organization_id, step_id, contact_method_id)
select %(organization_id)s, a.id, t.contact_method_id
from added as a
cross join unnest(%(contact_method_ids)s::uuid[]) as t (contact_method_id)
