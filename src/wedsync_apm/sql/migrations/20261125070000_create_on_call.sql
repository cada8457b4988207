-- pre: APM extended: who is on call: rotations by the clock on the wall, overrides, temporary schedules, and what they leave uncovered.

create table public.apm_on_call_schedules (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    -- whose clock hands over
    time_zone text not null check (length(time_zone) between 1 and 100),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_on_call_schedules_name_key unique (organization_id, name)
);
call apm_private.protect_table('public.apm_on_call_schedules');

-- A rotation: who follows whom, every so many days at a time of the clock, and at which hours it counts. Of several the
-- first one that has somebody answers.
create table public.apm_on_call_layers (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    schedule_id uuid not null,
    position int not null check (position between 1 and 50),
    -- in their order; somebody may come more than once
    participants uuid[] not null,
    -- the first hand-over; before it the rotation has nobody
    starts_on date not null check (starts_on between '2000-01-01' and '2100-01-01'),
    handover_time time not null default '09:00',
    shift_days int not null default 7 check (shift_days between 1 and 366),
    -- 1 is Monday: the days on which its hours begin
    weekdays int[] not null default array[1, 2, 3, 4, 5, 6, 7],
    -- an end that is not later than the start is the next day's; both the same: the whole day
    from_time time not null default '00:00',
    until_time time not null default '00:00',
    primary key (organization_id, id),
    constraint apm_on_call_layers_position_key unique (organization_id, schedule_id, position),
    foreign key (organization_id, schedule_id) references public.apm_on_call_schedules (organization_id, id) on delete cascade,
    constraint apm_on_call_layers_participants_check check (
        array_ndims(participants) = 1 and cardinality(participants) between 1 and 100
        and array_position(participants, null) is null
    ),
    constraint apm_on_call_layers_weekdays_check check (
        cardinality(weekdays) between 1 and 7 and weekdays <@ array[1, 2, 3, 4, 5, 6, 7]
    ),
    constraint apm_on_call_layers_minutes check (
        greatest(handover_time, from_time, until_time) < '24:00'
        and extract(second from handover_time) = 0 and extract(second from from_time) = 0
        and extract(second from until_time) = 0
    )
);
call apm_private.protect_table('public.apm_on_call_layers');

-- One person instead of all else, for a while: a swap, an illness.
create table public.apm_on_call_overrides (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    schedule_id uuid not null,
    user_id uuid not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    reason text not null default '' check (length(reason) <= 1000),
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    foreign key (organization_id, schedule_id) references public.apm_on_call_schedules (organization_id, id) on delete cascade,
    constraint apm_on_call_overrides_ends_at_check check (
        starts_at < ends_at and starts_at >= '2000-01-01' and ends_at < '2200-01-01'
    )
);
call apm_private.protect_table('public.apm_on_call_overrides');
-- on_call_between: those of a schedule that reach into a range; the cascade when it goes
create index idx_apm_on_call_overrides_schedule on public.apm_on_call_overrides (organization_id, schedule_id, ends_at);

-- For a while the rotations are put aside, and these shifts count, and no others: a festival, a season's peak.
create table public.apm_on_call_temporary_schedules (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    schedule_id uuid not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    reason text not null default '' check (length(reason) <= 1000),
    -- its shifts as parallel arrays; what they leave open has nobody
    shift_user_ids uuid[] not null,
    shift_starts timestamptz[] not null,
    shift_ends timestamptz[] not null,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    foreign key (organization_id, schedule_id) references public.apm_on_call_schedules (organization_id, id) on delete cascade,
    constraint apm_on_call_temporary_schedules_ends_at_check check (
        starts_at < ends_at and starts_at >= '2000-01-01' and ends_at < '2200-01-01'
    ),
    constraint apm_on_call_temporary_schedules_shifts check (
        cardinality(shift_user_ids) between 1 and 200
        and cardinality(shift_starts) = cardinality(shift_user_ids)
        and cardinality(shift_ends) = cardinality(shift_user_ids)
    )
);
call apm_private.protect_table('public.apm_on_call_temporary_schedules');
-- on_call_between: those of a schedule that reach into a range; the cascade when it goes
create index idx_apm_on_call_temporary_schedule
on public.apm_on_call_temporary_schedules (organization_id, schedule_id, ends_at);

-- Whom a step of a ladder tells besides its contacts: whoever is on call when it is due.
create table public.apm_escalation_schedules (
    organization_id uuid not null,
    step_id uuid not null,
    schedule_id uuid not null,
    primary key (organization_id, step_id, schedule_id),
    foreign key (organization_id, step_id) references public.apm_escalation_steps (organization_id, id) on delete cascade,
    foreign key (organization_id, schedule_id) references public.apm_on_call_schedules (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_escalation_schedules');
-- the cascade when a schedule goes
create index idx_apm_escalation_schedules_schedule on public.apm_escalation_schedules (organization_id, schedule_id);

do $$
declare
    name text;
    -- a swap needs no admin
    writer text;
begin
    foreach name in array array[
        'apm_on_call_schedules', 'apm_on_call_layers', 'apm_on_call_overrides', 'apm_on_call_temporary_schedules',
        'apm_escalation_schedules'
    ]
    loop
        writer := case when name = 'apm_on_call_overrides' then 'MEMBER' else 'ADMIN' end;
        execute format('grant select on public.%I to authenticated', name);
        call apm_private.grant_writes(format('public.%I', name)::regclass, kept => array['created_by']);
        execute format('create policy %I on public.%I for select to authenticated
            using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]))',
            name || '_authenticated_select', name);
        execute format('create policy %I on public.%I for insert to authenticated
            with check (organization_id = any ((select public.apm_organization_ids_as(%L))::uuid[]))',
            name || '_authenticated_insert', name, writer);
        execute format('create policy %I on public.%I for update to authenticated
            using (organization_id = any ((select public.apm_organization_ids_as(%L))::uuid[]))
            with check (organization_id = any ((select public.apm_organization_ids_as(%L))::uuid[]))',
            name || '_authenticated_update', name, writer, writer);
        execute format('create policy %I on public.%I for delete to authenticated
            using (organization_id = any ((select public.apm_organization_ids_as(%L))::uuid[]))',
            name || '_authenticated_delete', name, writer);
        execute format('create trigger %I after insert or update or delete on public.%I
            for each row execute function apm_private.write_audit()', name || '_audit', name);
    end loop;
end
$$;

-- Those of some people who belong to the organization now and may sign in: by the host's profile, by our memberships,
-- or as an operator in the platform's own.
create function apm_private.members_among(organization_id uuid, user_ids uuid[]) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select distinct u.id
    from unnest(members_among.user_ids) as u (id)
    where (
        exists (
            select from public.apm_memberships as m
            where m.organization_id = members_among.organization_id and m.user_id = u.id
        )
        or exists (
            select from apm_private.host_memberships(u.id) as h
            where h.organization_id = members_among.organization_id
        )
        or exists (
            select from public.apm_operators as o
            cross join apm_private.platform as p
            where p.organization_id = members_among.organization_id and o.user_id = u.id and o.disabled_at is null
        )
    ) and not exists (select from apm_private.users as k where k.id = u.id and k.disabled_at is not null)
$$;
call apm_private.hand_over('apm_private.members_among(uuid, uuid[])');

-- Only people of the organization are put on call. They may leave afterwards, and count no more then.
create function apm_private.check_on_call() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    people uuid[];
    place text;
begin
    if tg_table_name = 'apm_on_call_schedules' then
        if not apm_private.is_time_zone(new.time_zone) then
            raise exception 'is no time zone'
                using errcode = 'check_violation', constraint = 'time_zone', table = tg_table_name;
        end if;
        return new;
    elsif tg_table_name = 'apm_on_call_layers' then
        people := new.participants;
        place := 'participants';
    else
        if tg_op = 'INSERT' then
            new.created_by := apm_private.caller_id();
        end if;
        -- Whoever writes second waits here, and then sees what the first one wrote.
        perform from public.apm_on_call_schedules as s
        where s.organization_id = new.organization_id and s.id = new.schedule_id for no key update;
        if tg_table_name = 'apm_on_call_overrides' then
            people := array[new.user_id];
            place := 'user_id';
            if exists (
                select from public.apm_on_call_overrides as o
                where o.organization_id = new.organization_id and o.schedule_id = new.schedule_id and o.id <> new.id
                    and o.starts_at < new.ends_at and o.ends_at > new.starts_at
            ) then
                raise exception 'There is an override in this time already: delete it first.'
                    using errcode = 'AP409', constraint = 'apm_on_call_overrides_overlap';
            end if;
        else
            people := new.shift_user_ids;
            place := 'shifts';
            if exists (
                select from public.apm_on_call_temporary_schedules as t
                where t.organization_id = new.organization_id and t.schedule_id = new.schedule_id and t.id <> new.id
                    and t.starts_at < new.ends_at and t.ends_at > new.starts_at
            ) then
                raise exception 'There is a temporary schedule in this time already: delete it first.'
                    using errcode = 'AP409', constraint = 'apm_on_call_temporary_schedules_overlap';
            end if;
            if exists (
                select from unnest(new.shift_starts, new.shift_ends) as s (starts_at, ends_at)
                where not coalesce(
                    s.starts_at < s.ends_at and s.starts_at >= new.starts_at and s.ends_at <= new.ends_at, false
                )
            ) then
                raise exception 'lie outside of the temporary schedule, or end before they begin'
                    using errcode = 'check_violation', constraint = 'shifts', table = tg_table_name;
            end if;
        end if;
    end if;
    if array_position(people, null) is not null
        or (select count(*) from apm_private.members_among(new.organization_id, people))
            < (select count(distinct u.id) from unnest(people) as u (id)) then
        raise exception 'names somebody who does not belong to the organization'
            using errcode = 'check_violation', constraint = place, table = tg_table_name;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_on_call()');
create trigger apm_on_call_schedules_check before insert or update of time_zone on public.apm_on_call_schedules
for each row execute function apm_private.check_on_call();
create trigger apm_on_call_layers_check before insert or update of participants on public.apm_on_call_layers
for each row execute function apm_private.check_on_call();
create trigger apm_on_call_overrides_check before insert or update of schedule_id, user_id, starts_at, ends_at
on public.apm_on_call_overrides
for each row execute function apm_private.check_on_call();
create trigger apm_on_call_temporary_schedules_check
before insert or update of schedule_id, starts_at, ends_at, shift_user_ids, shift_starts, shift_ends
on public.apm_on_call_temporary_schedules
for each row execute function apm_private.check_on_call();

-- Who is on call in a range: each shift, or the part of it that is left. An override comes before a temporary schedule,
-- that before the rotations, and of these the first one with somebody. Whoever has left the organization has no shift.
-- A hand-over at a time that the clock shows twice is at its first showing; at one that it skips, when the clock would
-- have shown it. For an instant ask until a microsecond later.
create function apm_private.on_call_between(
    organization_id uuid, schedule_id uuid, earliest timestamptz, latest timestamptz
)
returns table (user_id uuid, starts_at timestamptz, ends_at timestamptz, source text, layer int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select s.organization_id, s.id, z.zone, tstzrange(on_call_between.earliest, on_call_between.latest) as span,
            (on_call_between.earliest at time zone z.zone)::date - 2 as first_day,
            (on_call_between.latest at time zone z.zone)::date + 1 as last_day
        from public.apm_on_call_schedules as s
        -- A zone that a new time zone database no longer knows must not stop the ladders of everybody.
        cross join lateral (
            select case when apm_private.is_time_zone(s.time_zone) then s.time_zone else 'UTC' end as zone offset 0
        ) as z
        where s.organization_id = on_call_between.organization_id and s.id = on_call_between.schedule_id
            and on_call_between.earliest < on_call_between.latest
    ), layers as (
        select l.*, a.zone, a.span as asked, a.first_day, a.last_day,
            cardinality(l.weekdays) = 7 and l.from_time = l.until_time as is_whole
        from asked as a
        join public.apm_on_call_layers as l on l.organization_id = a.organization_id and l.schedule_id = a.id
    ), hours as (
        select l.id, range_agg(tstzrange(h.begins, greatest(h.begins, h.finishes))) as spans
        from layers as l
        cross join lateral generate_series(0, l.last_day - l.first_day) as d (n)
        cross join lateral (
            select
                apm_private.wall_instant(l.first_day + d.n + l.from_time, l.zone, false) as begins,
                apm_private.wall_instant(
                    l.first_day + d.n + case when l.until_time > l.from_time then 0 else 1 end + l.until_time, l.zone, false
                ) as finishes
            offset 0
        ) as h
        where not l.is_whole and extract(isodow from l.first_day + d.n) = any (l.weekdays)
        group by l.id
    ), turns as (
        select l.id, l.position, l.participants[1 + t.n % cardinality(l.participants)] as user_id,
            tstzrange(b.begins, greatest(b.begins, b.finishes)) * l.asked as span, l.is_whole
        from layers as l
        cross join lateral generate_series(
            greatest(0, (l.first_day - l.starts_on) / l.shift_days), (l.last_day - l.starts_on) / l.shift_days
        ) as t (n)
        cross join lateral (
            select
                apm_private.wall_instant(l.starts_on + t.n * l.shift_days + l.handover_time, l.zone, false) as begins,
                apm_private.wall_instant(l.starts_on + (t.n + 1) * l.shift_days + l.handover_time, l.zone, false) as finishes
            offset 0
        ) as b
    ), overrides as (
        select o.user_id, tstzrange(o.starts_at, o.ends_at) * a.span as span
        from asked as a
        join public.apm_on_call_overrides as o on o.organization_id = a.organization_id and o.schedule_id = a.id
        where o.ends_at > on_call_between.earliest and o.starts_at < on_call_between.latest
    ), temporary as (
        select t.shift_user_ids, t.shift_starts, t.shift_ends, tstzrange(t.starts_at, t.ends_at) * a.span as span
        from asked as a
        join public.apm_on_call_temporary_schedules as t on t.organization_id = a.organization_id and t.schedule_id = a.id
        where t.ends_at > on_call_between.earliest and t.starts_at < on_call_between.latest
    ), claimed as (
        select 0 as rank, 'override' as source, null::int as layer, o.user_id, o.span
        from overrides as o
        union all
        select 1, 'temporary', null, s.user_id, tstzrange(s.starts_at, s.ends_at) * t.span
        from temporary as t
        cross join lateral unnest(t.shift_user_ids, t.shift_starts, t.shift_ends) as s (user_id, starts_at, ends_at)
        union all
        select 1 + t.position, 'rotation', t.position, t.user_id, p.span
        from turns as t
        left join hours as h on h.id = t.id
        cross join lateral unnest(
            case when t.is_whole then tstzmultirange(t.span) else tstzmultirange(t.span) * h.spans end
        ) as p (span)
        where not isempty(t.span)
    ), present as materialized (
        select c.* from claimed as c
        where not isempty(c.span) and c.user_id in (
            select m.id
            from apm_private.members_among(
                on_call_between.organization_id, array(select distinct x.user_id from claimed as x)
            ) as m (id)
        )
    ), taken as (
        select p.rank, p.span from present as p
        union all
        -- also where it names nobody
        select 1, t.span from temporary as t
    )
    select p.user_id, lower(s.span), upper(s.span), p.source, p.layer
    from present as p
    cross join lateral unnest(
        tstzmultirange(p.span)
        - coalesce((select range_agg(t.span) from taken as t where t.rank < p.rank and t.span && p.span), '{}')
    ) as s (span)
    order by 2, p.rank, p.user_id
$$;
call apm_private.hand_over('apm_private.on_call_between(uuid, uuid, timestamptz, timestamptz)');

-- The ways in which somebody can be told, and those of them that are proven to be his.
create function apm_private.reach_of(organization_id uuid, user_id uuid)
returns table (contacts int, verified int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select count(*)::int, count(*) filter (where m.verified_at is not null)::int
    from public.apm_contact_methods as m
    where m.organization_id = reach_of.organization_id and m.user_id = reach_of.user_id and m.disabled_at is null
$$;
call apm_private.hand_over('apm_private.reach_of(uuid, uuid)');

-- The contacts of whoever is on call at an instant: whom a step tells that names the schedule.
create function apm_private.contacts_on_call(organization_id uuid, schedule_id uuid, at timestamptz) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select distinct m.id
    from apm_private.on_call_between(
        contacts_on_call.organization_id, contacts_on_call.schedule_id, contacts_on_call.at,
        contacts_on_call.at + interval '1 microsecond'
    ) as p
    join public.apm_contact_methods as m
        on m.organization_id = contacts_on_call.organization_id and m.user_id = p.user_id and m.disabled_at is null
$$;
call apm_private.hand_over('apm_private.contacts_on_call(uuid, uuid, timestamptz)');
grant execute on function apm_private.contacts_on_call(uuid, uuid, timestamptz) to apm_engine;

-- What an organization's schedules leave open in a range: the time with nobody, and how many of those on call have no
-- verified contact, or only one. On a schedule that no ladder in use names nobody's call depends. Of a range that is
-- longer than a hundred days only those are looked through.
create function apm_private.on_call_cover(organization_id uuid, earliest timestamptz, latest timestamptz)
returns table (
    schedule_id uuid, name text, time_zone text, is_used boolean, gaps tstzmultirange, people int, unreachable int, thin int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.name, s.time_zone,
        exists (
            select from public.apm_escalation_schedules as e
            join public.apm_escalation_steps as t on t.organization_id = e.organization_id and t.id = e.step_id
            join public.apm_escalation_policies as p on p.organization_id = t.organization_id and p.id = t.policy_id
            where e.organization_id = s.organization_id and e.schedule_id = s.id
                and (p.is_default or exists (
                    select from public.apm_notification_rules as n
                    where n.organization_id = p.organization_id and n.escalation_policy_id = p.id and n.is_active
                ))
        ),
        tstzmultirange(tstzrange(on_call_cover.earliest, r.latest)) - coalesce(c.spans, '{}'),
        c.people, c.unreachable, c.thin
    from public.apm_on_call_schedules as s
    cross join (
        select least(on_call_cover.latest, on_call_cover.earliest + interval '100 days') as latest
    ) as r
    cross join lateral (
        select range_agg(p.spans) as spans, count(*)::int as people,
            count(*) filter (where w.verified = 0)::int as unreachable,
            count(*) filter (where w.verified = 1)::int as thin
        from (
            select b.user_id, range_agg(tstzrange(b.starts_at, b.ends_at)) as spans
            from apm_private.on_call_between(
                s.organization_id, s.id, on_call_cover.earliest, r.latest
            ) as b
            group by b.user_id
        ) as p
        cross join lateral apm_private.reach_of(s.organization_id, p.user_id) as w
    ) as c
    where s.organization_id = on_call_cover.organization_id and on_call_cover.earliest < on_call_cover.latest
$$;
call apm_private.hand_over('apm_private.on_call_cover(uuid, timestamptz, timestamptz)');

-- A range that somebody asks for is looked through day by day.
create function apm_private.check_on_call_range(earliest timestamptz, latest timestamptz) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not coalesce(
        check_on_call_range.earliest < check_on_call_range.latest
        and check_on_call_range.earliest >= '2000-01-01' and check_on_call_range.latest < '2200-01-01'
        and check_on_call_range.latest - check_on_call_range.earliest <= interval '100 days', false
    ) then
        raise exception 'is not later than the beginning, or more than 100 days after it'
            using errcode = 'check_violation', constraint = 'end', table = 'apm_on_call_schedules';
    end if;
end
$$;
revoke all on function apm_private.check_on_call_range(timestamptz, timestamptz) from public, anon, authenticated, service_role;
grant execute on function apm_private.check_on_call_range(timestamptz, timestamptz) to apm_definer;

-- Who is on call, for the organization's people and for services: at an instant, or over a range where an end is given.
-- Nothing for a schedule of others, known or not. Names are for members and above.
create function public.apm_on_call(schedule_id uuid, earliest timestamptz default now(), latest timestamptz default null)
returns table (
    user_id uuid, name text, starts_at timestamptz, ends_at timestamptz, source text, layer int, contacts int,
    verified int
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    until timestamptz := coalesce(apm_on_call.latest, apm_on_call.earliest + interval '1 microsecond');
begin
    perform apm_private.check_on_call_range(apm_on_call.earliest, until);
    return query
    select b.user_id, case when w.sees_names then n.name end, b.starts_at, b.ends_at, b.source, b.layer, r.contacts,
        r.verified
    from public.apm_on_call_schedules as s
    cross join lateral (
        select apm_private.is_service() or public.apm_role_in(s.organization_id) <> 'VIEWER' as sees_names
    ) as w
    cross join lateral apm_private.on_call_between(s.organization_id, s.id, apm_on_call.earliest, until) as b
    cross join lateral apm_private.reach_of(s.organization_id, b.user_id) as r
    cross join lateral (
        select coalesce(
            (select u.display_name from apm_private.users as u where u.id = b.user_id),
            (select min(m.name) from public.apm_contact_methods as m
                where m.organization_id = s.organization_id and m.user_id = b.user_id)
        ) as name
    ) as n
    where s.id = apm_on_call.schedule_id
        and (apm_private.is_service() or s.organization_id = any (public.apm_current_organization_ids()));
end
$$;
call apm_private.hand_over('public.apm_on_call(uuid, timestamptz, timestamptz)');

-- Of every wedding dated in a range, its span and what each schedule leaves open in it.
create function public.apm_on_call_weddings(organization_id uuid, earliest date, latest date)
returns table (
    wedding_id uuid, wedding_date date, wedding_zone text, starts_at timestamptz, ends_at timestamptz, schedule_id uuid,
    schedule_name text, is_used boolean, gaps tstzmultirange, people int, unreachable int, thin int
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform apm_private.check_on_call_range(
        apm_on_call_weddings.earliest::timestamp at time zone 'UTC',
        (apm_on_call_weddings.latest + 1)::timestamp at time zone 'UTC'
    );
    return query
    select w.wedding_id, w.wedding_date, w.time_zone, w.starts_at, w.ends_at, c.schedule_id, c.name, c.is_used, c.gaps,
        c.people, c.unreachable, c.thin
    from apm_private.weddings_to_prepare(
        apm_private.askable(apm_on_call_weddings.organization_id), apm_on_call_weddings.earliest, apm_on_call_weddings.latest
    ) as w
    left join lateral apm_private.on_call_cover(w.organization_id, w.starts_at, w.ends_at) as c on true
    order by w.starts_at, w.wedding_id, c.name;
end
$$;
call apm_private.hand_over('public.apm_on_call_weddings(uuid, date, date)');

-- What a readiness report needs to know of the schedules that the ladders in use name: counts, and minutes without
-- anybody, of the schedule that leaves most open.
create function apm_private.on_call_facts(organization_id uuid, starts_at timestamptz, ends_at timestamptz)
returns table (rotas int, open_rotas int, open_minutes int, unreachable int, thin int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select count(*)::int, count(*) filter (where c.gaps <> '{}')::int,
        ceil(coalesce(max(g.seconds), 0) / 60)::int, coalesce(max(c.unreachable), 0), coalesce(max(c.thin), 0)
    from apm_private.on_call_cover(on_call_facts.organization_id, on_call_facts.starts_at, on_call_facts.ends_at) as c
    cross join lateral (
        select sum(extract(epoch from upper(g.gap) - lower(g.gap))) as seconds from unnest(c.gaps) as g (gap)
    ) as g
    where c.is_used
$$;
call apm_private.hand_over('apm_private.on_call_facts(uuid, timestamptz, timestamptz)');
grant execute on function apm_private.on_call_facts(uuid, timestamptz, timestamptz) to apm_engine;

-- The same for whoever may see the wedding.
create function public.apm_on_call_facts(wedding_id uuid, starts_at timestamptz, ends_at timestamptz)
returns table (rotas int, open_rotas int, open_minutes int, unreachable int, thin int)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform apm_private.check_on_call_range(
        apm_on_call_facts.starts_at, least(apm_on_call_facts.ends_at, apm_on_call_facts.starts_at + interval '100 days')
    );
    return query
    select f.rotas, f.open_rotas, f.open_minutes, f.unreachable, f.thin
    from apm_private.find_wedding_to_prepare(apm_on_call_facts.wedding_id) as w
    cross join lateral apm_private.on_call_facts(
        w.organization_id, apm_on_call_facts.starts_at, apm_on_call_facts.ends_at
    ) as f;
end
$$;
call apm_private.hand_over('public.apm_on_call_facts(uuid, timestamptz, timestamptz)');
grant execute on function public.apm_on_call(uuid, timestamptz, timestamptz), public.apm_on_call_weddings(uuid, date, date)
    to authenticated, service_role;
grant execute on function public.apm_on_call_facts(uuid, timestamptz, timestamptz) to authenticated;
