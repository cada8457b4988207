drop function public.apm_withdraw_approval(uuid);
drop function public.apm_approve_change(uuid, text, text, timestamptz, text, text);
drop function public.apm_freeze_approvals(timestamptz, uuid, timestamptz, int, uuid);
drop function public.apm_freeze_calendar(timestamptz, uuid);
drop function public.apm_freeze_weddings(timestamptz, uuid);
drop function apm_private.freeze_scope(uuid);
drop table apm_private.freeze_approvals;
