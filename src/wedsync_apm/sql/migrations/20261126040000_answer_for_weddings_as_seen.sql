-- pre: a yes or no to planned work is to weddings at their time, by a person; readiness sees all that would mute a wedding.

comment on column public.apm_maintenance_windows.refused_weddings is 'Marks of the weddings at their time, as approved_weddings.';

-- Whoever makes a key is known by it: what the key asks for, its maker does not approve.
create function apm_private.name_key_maker() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.created_by := coalesce(apm_private.caller_id(), new.created_by);
    return new;
end
$$;
call apm_private.hand_over('apm_private.name_key_maker()');
create trigger apm_api_keys_maker before insert on public.apm_api_keys
for each row execute function apm_private.name_key_maker();

-- As before; to whoever is no member the weddings are a number: date and names are read with a reason.
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
        select apm_private.is_service() or m.organization_id = any (public.apm_current_organization_ids())
    ) as k (is_told)
    cross join lateral (
        select bool_or(not v.is_approved and not r.is_refused) as is_unseen,
            coalesce(jsonb_agg(jsonb_build_object(
                'wedding_id', v.wedding_id,
                'wedding_date', case when k.is_told then v.wedding_date end,
                'initials', case when k.is_told then coalesce(v.initials, '') else '' end,
                'starts_at', case when k.is_told then v.starts_at end,
                'ends_at', case when k.is_told then v.ends_at end,
                'is_approved', v.is_approved, 'is_refused', r.is_refused
            ) order by v.starts_at), '[]') as weddings
        from apm_private.weddings_of_maintenance(m, apm_maintenance_at.at) as v
        cross join lateral (
            select case when m.refused_weddings = '{}' then false
                else apm_private.wedding_mark(m.organization_id, v.wedding_id, v.wedding_date) = any (m.refused_weddings) end
        ) as r (is_refused)
    ) as w
    where m.id = apm_maintenance_at.maintenance_id
        and (k.is_told or public.apm_operator_role() is not null)
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
    select array_agg(k.mark) into unseen
    from apm_private.weddings_of_maintenance(maintenance, apm_approve_maintenance.at) as w
    cross join lateral apm_private.wedding_mark(maintenance.organization_id, w.wedding_id, w.wedding_date) as k (mark)
    where not w.is_approved and k.mark <> all (maintenance.refused_weddings);
    if unseen is null or not maintenance.is_active then
        raise exception 'This maintenance window waits for no approval.'
            using errcode = 'AP409', constraint = 'apm_maintenance_windows_approve';
    end if;
    if apm_private.claims() ->> 'kind' = 'key' or public.apm_is_own(maintenance.planned_by) then
        raise exception 'A second person must approve it: not whoever planned it, himself or by a key, and no key.'
            using errcode = 'AP403';
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
    select array_agg(k.mark) into unseen
    from apm_private.weddings_of_maintenance(maintenance, apm_refuse_maintenance.at) as w
    cross join lateral apm_private.wedding_mark(maintenance.organization_id, w.wedding_id, w.wedding_date) as k (mark)
    where not w.is_approved and k.mark <> all (maintenance.refused_weddings);
    if unseen is null or not maintenance.is_active then
        raise exception 'This maintenance window waits for no approval.'
            using errcode = 'AP409', constraint = 'apm_maintenance_windows_refuse';
    end if;
    if apm_private.claims() ->> 'kind' = 'key' or public.apm_is_own(maintenance.planned_by) then
        raise exception 'A second person must answer: not whoever planned it, himself or by a key, and no key.'
            using errcode = 'AP403';
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

-- What would keep people from being told during a wedding, from now on: silences that work, planned work that a second
-- person approved for it, and the organization's own inhibition rules that hold back even what is critical.
create function apm_private.holding_facts(
    organization_id uuid, wedding_id uuid, wedding_date date, starts_at timestamptz, ends_at timestamptz, at timestamptz
)
returns table (silences int, works int, inhibitions int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with ahead as (
        select greatest(holding_facts.starts_at, holding_facts.at) as earliest, holding_facts.ends_at as latest
        where holding_facts.ends_at > holding_facts.at
    )
    select
        (
            select count(*) from ahead as a
            join public.apm_silences as s on s.starts_at < a.latest and s.ends_at > a.earliest
            where s.organization_id = holding_facts.organization_id
                and (not s.needs_approval or s.approved_at is not null)
                and apm_private.end_of_silence(s) > greatest(a.earliest, s.starts_at)
        )::int,
        (
            select count(*) from ahead as a
            cross join public.apm_maintenance_windows as m
            where m.organization_id = holding_facts.organization_id and m.is_active
                and apm_private.wedding_mark(m.organization_id, holding_facts.wedding_id, holding_facts.wedding_date)
                    = any (m.approved_weddings)
                and exists (
                    select from apm_private.maintenance_spans(m, a.earliest, a.latest) as o
                    where o.span && tstzrange(a.earliest, a.latest)
                )
        )::int,
        (
            select count(*) from ahead as a
            cross join public.apm_inhibition_rules as r
            where r.organization_id = holding_facts.organization_id and r.is_active
                and r.told_at_weddings > 'critical'
        )::int
$$;
call apm_private.hand_over('apm_private.holding_facts(uuid, uuid, date, timestamptz, timestamptz, timestamptz)');
grant execute on function apm_private.holding_facts(uuid, uuid, date, timestamptz, timestamptz, timestamptz) to apm_engine;

-- The same for whoever may see the wedding.
create function public.apm_holding_facts(wedding_id uuid, at timestamptz default now())
returns table (silences int, works int, inhibitions int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select h.silences, h.works, h.inhibitions
    from public.apm_readiness_facts(apm_holding_facts.wedding_id, apm_holding_facts.at) as f
    cross join lateral apm_private.holding_facts(
        f.organization_id, apm_holding_facts.wedding_id, f.wedding_date, f.starts_at, f.ends_at, apm_holding_facts.at
    ) as h
$$;
call apm_private.hand_over('public.apm_holding_facts(uuid, timestamptz)');
grant execute on function public.apm_holding_facts(uuid, timestamptz) to authenticated;
