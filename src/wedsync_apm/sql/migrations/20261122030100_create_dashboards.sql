-- pre: dashboards, and the views that answer business questions.

create table public.apm_dashboards (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    description text not null default '',
    layout jsonb not null default '{"panels": []}' check (jsonb_typeof(layout) = 'object'),
    variables jsonb not null default '[]' check (jsonb_typeof(variables) = 'array'),
    template_key text,
    is_default boolean not null default false,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_dashboards_name_key unique (organization_id, name)
);
call apm_private.protect_table('public.apm_dashboards');
create unique index idx_apm_dashboards_default on public.apm_dashboards (organization_id) where is_default;
create trigger apm_dashboards_audit after insert or update or delete on public.apm_dashboards
for each row execute function apm_private.write_audit();
grant select on public.apm_dashboards to authenticated;
call apm_private.grant_writes('public.apm_dashboards');
create policy apm_dashboards_authenticated_select on public.apm_dashboards for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_dashboards_authenticated_insert on public.apm_dashboards for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_dashboards_authenticated_update on public.apm_dashboards for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_dashboards_authenticated_delete on public.apm_dashboards for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- How did the incidents of each day go: how many, how long until a person had them, until they were over?
create view public.apm_incident_days with (security_invoker = true) as
select
    i.organization_id,
    (i.detected_at at time zone 'UTC')::date as day,
    count(*) as incidents,
    count(*) filter (where i.was_wedding_day) as on_wedding_days,
    count(*) filter (where i.status in ('open', 'acknowledged', 'investigating')) as still_open,
    percentile_cont(0.5) within group (order by extract(epoch from i.acknowledged_at - i.detected_at)) as median_seconds_to_acknowledge,
    percentile_cont(0.5) within group (order by extract(epoch from i.resolved_at - i.detected_at)) as median_seconds_to_resolve
from public.apm_incidents as i
group by i.organization_id, (i.detected_at at time zone 'UTC')::date;
revoke all on public.apm_incident_days from public, anon, authenticated, service_role;
grant select on public.apm_incident_days to authenticated, service_role, apm_engine;

-- Are the services that a wedding depends on all right?
create view public.apm_wedding_readiness with (security_invoker = true) as
select
    c.organization_id,
    count(*) filter (where c.wedding_critical) as critical_services,
    count(*) filter (where c.wedding_critical and c.status = 'healthy') as critical_services_healthy,
    count(*) filter (where c.status = 'unknown' or c.last_check_at is null or c.last_check_at < now() - 5 * c.check_interval) as services_not_known,
    min(c.last_check_at) as oldest_check_at
from public.service_health_checks as c
where c.is_active
group by c.organization_id;
revoke all on public.apm_wedding_readiness from public, anon, authenticated, service_role;
grant select on public.apm_wedding_readiness to authenticated, service_role, apm_engine;

-- How often each index was used since the statistics were last reset.
create view public.apm_index_usage with (security_invoker = true) as
select
    s.schemaname,
    s.relname as tablename,
    s.indexrelname as indexname,
    s.idx_scan,
    pg_relation_size(s.indexrelid) as bytes
from pg_stat_all_indexes as s
where s.schemaname in ('public', 'apm_private', 'apm_partitions')
    and (s.relname like 'apm\_%' or s.relname = 'service_health_checks' or s.schemaname = 'apm_private');
revoke all on public.apm_index_usage from public, anon, authenticated, service_role;
grant select on public.apm_index_usage to apm_engine, service_role;
