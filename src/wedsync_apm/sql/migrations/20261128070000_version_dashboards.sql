-- pre: every change of a dashboard counts, and says whose it was, so that two editors cannot undo each other's work.

alter table public.apm_dashboards
    add column version int not null default 1,
    add column changed_by text not null default '';

-- Nobody writes the two himself: members have no right on the columns, and this stamps them for everybody else too.
create function apm_private.count_dashboard_change() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.version := case when tg_op = 'INSERT' then 1 else old.version + 1 end;
    new.changed_by := coalesce(apm_private.actor_name(), '');
    return new;
end
$$;
call apm_private.hand_over('apm_private.count_dashboard_change()');
create trigger apm_dashboards_count before insert or update on public.apm_dashboards
for each row execute function apm_private.count_dashboard_change();
