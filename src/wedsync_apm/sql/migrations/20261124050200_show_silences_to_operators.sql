-- pre: operators see why nobody was told, and may be the second person; a heartbeat can be given its token.

alter policy apm_silences_authenticated_select on public.apm_silences
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);

-- To whoever is no member the weddings are a number: date and names are read with a reason.
create or replace function public.apm_silence_at(silence_id uuid, at timestamptz default now())
returns table (state text, works_until timestamptz, weddings jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
            when apm_silence_at.at >= least(s.ends_at, s.expired_at) then 'ended'
            when s.needs_approval and s.approved_at is null then 'needs_approval'
            when apm_silence_at.at >= e.works_until then 'ended'
            when apm_silence_at.at < s.starts_at then 'scheduled'
            else 'active'
        end,
        case when not s.needs_approval or s.approved_at is not null then e.works_until end,
        (
            select coalesce(jsonb_agg(jsonb_build_object(
                'wedding_id', w.wedding_id,
                'wedding_date', case when k.is_told then w.wedding_date end,
                'initials', case when k.is_told then coalesce(w.initials, '') else '' end,
                'starts_at', case when k.is_told then w.starts_at end,
                'ends_at', case when k.is_told then w.ends_at end,
                'is_approved', apm_private.wedding_mark(s.organization_id, w.wedding_id, w.wedding_date) = any (s.approved_weddings)
            ) order by w.starts_at), '[]')
            from apm_private.weddings_in_the_way(s.organization_id, s.starts_at, s.ends_at) as w
        )
    from public.apm_silences as s
    cross join lateral (select apm_private.end_of_silence(s)) as e (works_until)
    cross join lateral (
        select apm_private.is_service() or s.organization_id = any (public.apm_current_organization_ids())
    ) as k (is_told)
    where s.id = apm_silence_at.silence_id
        and (k.is_told or public.apm_operator_role() is not null)
$$;

create or replace function public.apm_set_heartbeat_token(heartbeat_id uuid, token_hash bytea) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    heartbeat public.apm_heartbeats%rowtype;
begin
    select h.* into heartbeat from public.apm_heartbeats as h
    where h.id = apm_set_heartbeat_token.heartbeat_id
        and h.organization_id = any (public.apm_current_organization_ids());
    if not found then
        raise exception 'There is no such heartbeat.' using errcode = 'AP404';
    end if;
    if heartbeat.organization_id <> all (public.apm_organization_ids_as('ADMIN')) then
        raise exception 'Only an owner or admin may change a heartbeat.' using errcode = 'AP403';
    end if;
    insert into apm_private.heartbeat_tokens as t (organization_id, heartbeat_id, token_hash)
    values (heartbeat.organization_id, heartbeat.id, apm_set_heartbeat_token.token_hash)
    on conflict on constraint heartbeat_tokens_pkey do update set token_hash = excluded.token_hash;
end
$$;
