-- pre: a rule that fires is the same rule as before, and the series that ended lately are found without the others.

-- The engine reads its rules anew when one was changed, which counting how often it has fired is not.
drop trigger apm_alerts_touch on public.apm_alerts;
create trigger apm_alerts_touch_changes before update on public.apm_alerts
for each row when (
    to_jsonb(new) - '{last_triggered_at,trigger_count}'::text[]
    is distinct from to_jsonb(old) - '{last_triggered_at,trigger_count}'::text[]
) execute function apm_private.touch_updated_at();

-- list_ended_series
create index idx_apm_series_ended on public.apm_series (organization_id, ended_at) where ended_at is not null;
