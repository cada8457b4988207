drop function public.apm_holding_facts(uuid, timestamptz);
drop function apm_private.holding_facts(uuid, uuid, date, timestamptz, timestamptz, timestamptz);
drop trigger apm_api_keys_maker on public.apm_api_keys;
drop function apm_private.name_key_maker();
comment on column public.apm_maintenance_windows.refused_weddings is null;

create or replace function public.apm_maintenance_at(maintenance_id uuid, at timestamptz default now())
returns table (state text, needs_approval boolean, weddings jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
            when not m.is_active then 'off'
            when n.span is null then 'ended'
            when n.span @> apm_maintenance_at.at then 'open'
            else 'scheduled'
        end,
        m.is_active and coalesce(w.is_unseen, false), w.weddings
    from public.apm_maintenance_windows as m
    left join lateral (
        select tstzrange(o.starts_at, o.ends_at) as span from public.apm_maintenance_spans(m.id, apm_maintenance_at.at, 1) as o
    ) as n on true
    cross join lateral (
        select bool_or(not v.is_approved and v.wedding_id <> all (m.refused_weddings)) as is_unseen,
            coalesce(jsonb_agg(jsonb_build_object(
                'wedding_id', v.wedding_id, 'wedding_date', v.wedding_date, 'initials', coalesce(v.initials, ''),
                'starts_at', v.starts_at, 'ends_at', v.ends_at, 'is_approved', v.is_approved,
                'is_refused', v.wedding_id = any (m.refused_weddings)
            ) order by v.starts_at), '[]') as weddings
        from apm_private.weddings_of_maintenance(m, apm_maintenance_at.at) as v
    ) as w
    where m.id = apm_maintenance_at.maintenance_id
        and (
            apm_private.is_service() or m.organization_id = any (public.apm_current_organization_ids())
            or public.apm_operator_role() is not null
        )
$$;

create or replace function public.apm_approve_maintenance(maintenance_id uuid, at timestamptz default now()) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    maintenance public.apm_maintenance_windows%rowtype;
    standing text;
    unseen uuid[];
begin
    select m.* into maintenance from public.apm_maintenance_windows as m
    where m.id = apm_approve_maintenance.maintenance_id for update;
    standing := public.apm_role_in(maintenance.organization_id);
    if maintenance.id is null or (standing is null and coalesce(public.apm_operator_role(), '') <> 'oncall') then
        raise exception 'There is no such maintenance window.' using errcode = 'AP404';
    end if;
    if standing = 'VIEWER' then
        raise exception 'Viewers can look at maintenance windows, not approve them.' using errcode = 'AP403';
    end if;
    select array_agg(w.wedding_id) into unseen
    from apm_private.weddings_of_maintenance(maintenance, apm_approve_maintenance.at) as w
    where not w.is_approved and w.wedding_id <> all (maintenance.refused_weddings);
    if unseen is null or not maintenance.is_active then
        raise exception 'This maintenance window waits for no approval.'
            using errcode = 'AP409', constraint = 'apm_maintenance_windows_approve';
    end if;
    if apm_private.claims() ->> 'kind' = 'key' or apm_private.caller_id() is not distinct from maintenance.planned_by then
        raise exception 'A second person must approve it: not whoever planned it, and no key.' using errcode = 'AP403';
    end if;
    update public.apm_maintenance_windows as m set
        approved_at = apm_approve_maintenance.at,
        approved_by = apm_private.caller_id(),
        approved_by_name = apm_private.actor_name(),
        approved_weddings = m.approved_weddings || unseen
    where m.organization_id = maintenance.organization_id and m.id = maintenance.id;
end
$$;

create or replace function public.apm_refuse_maintenance(maintenance_id uuid, reason text, at timestamptz default now()) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    maintenance public.apm_maintenance_windows%rowtype;
    standing text;
    unseen uuid[];
    why text := btrim(coalesce(apm_refuse_maintenance.reason, ''));
begin
    select m.* into maintenance from public.apm_maintenance_windows as m
    where m.id = apm_refuse_maintenance.maintenance_id for update;
    standing := public.apm_role_in(maintenance.organization_id);
    if maintenance.id is null or (standing is null and coalesce(public.apm_operator_role(), '') <> 'oncall') then
        raise exception 'There is no such maintenance window.' using errcode = 'AP404';
    end if;
    if standing = 'VIEWER' then
        raise exception 'Viewers can look at maintenance windows, not refuse them.' using errcode = 'AP403';
    end if;
    select array_agg(w.wedding_id) into unseen
    from apm_private.weddings_of_maintenance(maintenance, apm_refuse_maintenance.at) as w
    where not w.is_approved and w.wedding_id <> all (maintenance.refused_weddings);
    if unseen is null or not maintenance.is_active then
        raise exception 'This maintenance window waits for no approval.'
            using errcode = 'AP409', constraint = 'apm_maintenance_windows_refuse';
    end if;
    if apm_private.claims() ->> 'kind' = 'key' or apm_private.caller_id() is not distinct from maintenance.planned_by then
        raise exception 'A second person must answer: not whoever planned it, and no key.' using errcode = 'AP403';
    end if;
    if length(why) not between 1 and 1000 then
        raise exception 'needs 1 to 1000 characters, for whoever planned it'
            using errcode = 'check_violation', constraint = 'reason', table = 'apm_maintenance_windows';
    end if;
    update public.apm_maintenance_windows as m set
        refused_at = apm_refuse_maintenance.at,
        refused_by = apm_private.caller_id(),
        refused_by_name = apm_private.actor_name(),
        refused_reason = why,
        refused_weddings = m.refused_weddings || unseen
    where m.organization_id = maintenance.organization_id and m.id = maintenance.id;
end
$$;
