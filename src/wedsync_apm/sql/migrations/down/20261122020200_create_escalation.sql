drop table public.apm_idempotency_keys;

drop function apm_private.read_job_runs();
drop table apm_private.job_runs;

drop function apm_private.store_organization_key(uuid, bytea, text);
drop function apm_private.find_organization_key(uuid);
drop table apm_private.organization_keys;

drop trigger apm_incidents_steer_escalation on public.apm_incidents;
drop function apm_private.steer_escalation();

drop function apm_private.use_acknowledge_link(bytea, timestamptz);
drop function apm_private.look_up_acknowledge_link(bytea, timestamptz);
drop table apm_private.acknowledge_links;

drop table public.apm_delivery_attempts;
drop table public.apm_deliveries;
drop table public.apm_escalation_runs;
drop table public.apm_notification_rules;
drop table public.apm_escalation_targets;
drop table public.apm_escalation_steps;
drop table public.apm_escalation_policies;
drop table public.apm_contact_methods;
