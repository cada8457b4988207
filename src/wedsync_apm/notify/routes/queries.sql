-- The tree of notification rules, as members see and change it.

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
    wedding_day_override, is_active, position, parent_id, continues, matchers, wedding, group_by, group_wait_seconds,
    group_interval_seconds, repeat_interval_seconds
)
select
    %(organization_id)s::uuid, v.name, v.severity_min, v.channels, v.recipients, v.quiet_hours,
    v.escalation_policy_id, v.wedding_day_override, v.is_active, v.position, v.parent_id, v.continues, v.matchers,
    v.wedding, v.group_by, v.group_wait_seconds, v.group_interval_seconds, v.repeat_interval_seconds
from jsonb_populate_record(null::public.apm_notification_rules, %(values)s::jsonb) as v
returning *, channels::text[] as channels

-- update_notification_rule --
-- Changes the named values and no others.
update public.apm_notification_rules as t
set (
    name, severity_min, channels, recipients, quiet_hours, escalation_policy_id, wedding_day_override,
    is_active, position, parent_id, continues, matchers, wedding, group_by, group_wait_seconds,
    group_interval_seconds, repeat_interval_seconds
) = (
    select
        v.name, v.severity_min, v.channels, v.recipients, v.quiet_hours, v.escalation_policy_id,
        v.wedding_day_override, v.is_active, v.position, v.parent_id, v.continues, v.matchers, v.wedding, v.group_by,
        v.group_wait_seconds, v.group_interval_seconds, v.repeat_interval_seconds
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*, t.channels::text[] as channels

-- delete_notification_rule --
-- Gone, with those below it.
delete from public.apm_notification_rules
where id = %(id)s::uuid

-- explain_route --
-- Which rules take an incident, and why the others do not: the walk itself.
select w.ordinal, w.rule_id, w.parent_id, w.name, w.level, w.verdict, w.is_taken, w.escalation_policy_id, w.recipients,
    w.group_id, w.group_labels, w.next_at, w.told_at
from public.apm_explain_route(%(incident_id)s::uuid, now()) as w
order by w.ordinal

-- find_routed_incident --
-- Whether the caller can see an incident.
select i.id
from public.apm_incidents as i
where i.id = %(incident_id)s::uuid
