drop trigger apm_dashboards_count on public.apm_dashboards;
drop function apm_private.count_dashboard_change();
alter table public.apm_dashboards drop column version, drop column changed_by;
