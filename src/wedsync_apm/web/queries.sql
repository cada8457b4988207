-- What surrounds every page, in one round trip.

-- read_frame --
-- The database's clock, what the caller is on the platform, and how much is wrong where he looks.
select
    clock_timestamp() as at,
    public.apm_operator_role() as operator_role,
    (
        select count(*)
        from public.apm_incidents as i
        where i.organization_id = %(organization_id)s::uuid
            and i.status in ('open', 'acknowledged', 'investigating')
    ) as live_incidents,
    exists (
        select from public.wedding_window_at(%(organization_id)s::uuid, clock_timestamp())
    ) as is_wedding

-- find_engine_silence [apm_api] --
-- Seconds since the engine last got through a job; null: never.
select extract(epoch from clock_timestamp() - max(r.finished_at))::float8 as seconds
from apm_private.read_job_runs() as r

-- look_up_acknowledge_link [apm_api] --
-- What a one-tap link is about; nobody is signed in.
select l.*, clock_timestamp() as at
from apm_private.look_up_acknowledge_link(%(token_hash)s::bytea, clock_timestamp()) as l

-- use_acknowledge_link [apm_api] --
-- Takes the incident in hand, once.
select apm_private.use_acknowledge_link(%(token_hash)s::bytea, clock_timestamp()) as outcome

-- list_weddings_near --
-- The weddings around a moment with their parts; names and contacts stay away from those who may not read them.
select
    w.id,
    coalesce(p.couple_names, w.couple_initials) as couple,
    w.venue_name,
    w.wedding_date,
    w.time_zone,
    coalesce(p.contacts, '[]'::jsonb) as contacts,
    coalesce(x.windows, '[]'::jsonb) as windows
from public.apm_weddings as w
left join public.apm_wedding_people as p
    on p.organization_id = w.organization_id and p.wedding_id = w.id
left join lateral (
    select jsonb_agg(
        jsonb_build_object('phase', v.phase, 'begins', lower(v.span), 'ends', upper(v.span)) order by lower(v.span)
    ) as windows
    from public.apm_wedding_windows as v
    where v.organization_id = w.organization_id and v.wedding_id = w.id
) as x on true
where w.organization_id = %(organization_id)s::uuid
    and w.status <> 'cancelled'
    and w.wedding_date between %(earliest)s::date and %(latest)s::date
order by w.wedding_date, w.id
limit %(limit)s::int
