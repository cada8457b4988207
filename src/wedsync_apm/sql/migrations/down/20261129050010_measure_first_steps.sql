drop function public.apm_set_up(interval);
drop function public.apm_first_steps(uuid);
drop function apm_private.first_steps(uuid[], uuid, timestamptz);
drop index public.idx_apm_deliveries_tests;
drop table public.apm_skipped_steps;
