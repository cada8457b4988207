drop function public.apm_expire_silence(uuid, timestamptz);
drop function public.apm_approve_silence(uuid, timestamptz);
drop function apm_private.lock_silence(uuid);
drop function public.apm_silence_at(uuid, timestamptz);
drop function apm_private.end_of_silence(public.apm_silences);
drop function public.apm_is_own(uuid);
drop function apm_private.wedding_mark(uuid, uuid, date);
drop table public.apm_silences;
drop function apm_private.prepare_silence();
drop function apm_private.is_wedding_at(uuid, timestamptz);
drop function apm_private.weddings_in_the_way(uuid, timestamptz, timestamptz);
drop function apm_private.fault_of_matchers(jsonb, int);
drop function apm_private.do_matchers_match(jsonb, jsonb);

delete from public.apm_incident_events where kind in ('held', 'released');
alter table public.apm_incident_events drop constraint apm_incident_events_kind_check;
alter table public.apm_incident_events add constraint apm_incident_events_kind_check check (kind in (
    'opened', 'acknowledged', 'investigating', 'resolved', 'closed', 'reopened', 'expired', 'merged',
    'repeated', 'seen', 'note', 'escalated', 'exhausted', 'delivery', 'update'
));
alter table public.apm_escalation_runs
    drop column held_since, drop column held_until, drop column held_by, drop column is_pressed;
alter table public.apm_incidents drop column labels;
