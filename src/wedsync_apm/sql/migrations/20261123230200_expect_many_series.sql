-- pre: an organization has many series, also where the statistics were taken before it brought them.

-- Where they say one, any index of the organization looks as good as the series' own.
alter table public.apm_series alter column organization_id set (n_distinct = -0.02);
