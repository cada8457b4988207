drop table public.apm_postmortem_actions;
drop table public.apm_postmortems;
drop function apm_private.approve_postmortem();
