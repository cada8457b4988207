alter table public.apm_series alter column organization_id reset (n_distinct);
