drop index public.idx_apm_series_ended;
drop trigger apm_alerts_touch_changes on public.apm_alerts;
create trigger apm_alerts_touch before update on public.apm_alerts
for each row execute function apm_private.touch_updated_at();
