-- pre: what other systems say happened, to be read beside the charts.

create table public.apm_annotations (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    -- made of all that it says: what is sent again is there once
    id uuid not null,
    occurred_at timestamptz not null,
    title text not null check (length(title) between 1 and 1000),
    text text not null check (length(text) <= 10000),
    alert_type text not null check (alert_type in ('info', 'success', 'warning', 'error')),
    priority text not null check (priority in ('normal', 'low')),
    host text not null check (length(host) <= 300),
    aggregation_key text not null check (length(aggregation_key) <= 300),
    tags jsonb not null check (jsonb_typeof(tags) = 'object'),
    source text not null check (length(source) <= 100),
    created_at timestamptz not null default now(),
    primary key (organization_id, id)
);
call apm_private.protect_table('public.apm_annotations');
-- list_annotations, and dropping what is too old
create index idx_apm_annotations_organization_occurred on public.apm_annotations (organization_id, occurred_at, id);
grant select on public.apm_annotations to authenticated;
create policy apm_annotations_authenticated_select on public.apm_annotations for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

-- Keeps entries of organizations that exist, and gives those organizations. Drops what is too old of theirs.
create function apm_private.note_annotations(source text, entries jsonb, kept_days int)
returns table (organization_id uuid)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with given as (
        select e.*
        from jsonb_to_recordset(note_annotations.entries) as e (
            id uuid, organization_id uuid, occurred_at timestamptz, title text, text text, alert_type text,
            priority text, host text, aggregation_key text, tags jsonb
        )
    ), existing as (
        select o.organization_id
        from apm_private.host_organizations(array(select distinct g.organization_id from given as g)) as o
    ), made as (
        insert into public.apm_annotations (
            organization_id, id, occurred_at, title, text, alert_type, priority, host, aggregation_key, tags, source
        )
        select
            g.organization_id, g.id, g.occurred_at, g.title, g.text, g.alert_type, g.priority, g.host,
            g.aggregation_key, g.tags, note_annotations.source
        from given as g
        join existing as x on x.organization_id = g.organization_id
        on conflict on constraint apm_annotations_pkey do nothing
    ), dropped as (
        delete from public.apm_annotations as a
        using existing as x
        where a.organization_id = x.organization_id
            and a.occurred_at < now() - make_interval(days => note_annotations.kept_days)
    )
    select x.organization_id from existing as x
$$;
call apm_private.hand_over('apm_private.note_annotations(text, jsonb, int)');
grant execute on function apm_private.note_annotations(text, jsonb, int) to apm_api;
