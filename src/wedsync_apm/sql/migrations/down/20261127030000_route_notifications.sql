drop function public.apm_explain_route(uuid, timestamptz);
drop function apm_private.tick_groups(timestamptz, int);
drop function apm_private.contacts_of_recipients(uuid, jsonb, public.notification_channel[], boolean, timestamptz);
drop function apm_private.person_of(public.apm_contact_methods);
drop trigger apm_incidents_join_groups on public.apm_incidents;
drop function apm_private.join_groups();
drop function apm_private.is_urgent(public.apm_incidents, timestamptz);
drop table apm_private.notification_group_members;
drop table public.apm_notification_groups;
drop function apm_private.ladder_by_route(uuid, uuid, timestamptz);
drop function apm_private.walk_route(uuid, uuid, timestamptz);
drop function apm_private.walk_rules(uuid, uuid, jsonb, public.alert_severity, boolean, int, uuid, jsonb);
drop trigger apm_notification_rules_check on public.apm_notification_rules;
drop function apm_private.check_notification_rule();
alter table public.apm_contact_methods drop column preference;
alter table public.apm_notification_rules
    drop column parent_id, drop column continues, drop column matchers, drop column wedding, drop column group_by,
    drop column group_wait_seconds, drop column group_interval_seconds, drop column repeat_interval_seconds;
