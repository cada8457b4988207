-- pre: exercises: everybody whom the default ladder would reach is called through the real channels, and how fast they answer is kept.

create table public.apm_drills (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    -- somebody wanted it now, or its time had come
    cause text not null check (cause in ('asked', 'schedule')),
    reason text not null default '' check (length(reason) <= 1000),
    -- the wedding of the calendar that it was held for, if any
    wedding_id uuid,
    planned_at timestamptz not null,
    started_at timestamptz not null,
    -- an answer after this does not count
    ends_at timestamptz not null,
    ended_at timestamptz,
    started_by uuid,
    started_by_name text not null default '',
    -- of people, known when it has ended; in time is within two minutes of the start
    called int check (called >= 0),
    answered int check (answered <= called),
    in_time int check (in_time <= answered),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_drills_times check (started_at >= planned_at and ends_at > started_at and ended_at >= started_at),
    constraint apm_drills_ended check ((ended_at is null) = (called is null) and num_nulls(called, answered, in_time) in (0, 3))
);
call apm_private.protect_table('public.apm_drills');
-- list_drills, drill_facts: an organization's, the latest first
create index idx_apm_drills_organization_started on public.apm_drills (organization_id, started_at desc);
-- end_drills: what is under way, over all organizations
create index idx_apm_drills_running on public.apm_drills (ends_at) where ended_at is null;

-- One contact of one person. Without a message he was in his quiet hours and was not called.
create table public.apm_drill_calls (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    drill_id uuid not null,
    contact_method_id uuid,
    user_id uuid,
    -- contacts of the same person have the same
    person text not null,
    name text not null,
    channel public.notification_channel not null,
    delivery_id uuid,
    answered_at timestamptz,
    how text check (how in ('link', 'sms', 'voice', 'slack', 'pagerduty', 'push')),
    primary key (organization_id, drill_id, id),
    constraint apm_drill_calls_delivery_key unique (organization_id, delivery_id),
    constraint apm_drill_calls_answer check ((answered_at is null) = (how is null)),
    foreign key (organization_id, drill_id) references public.apm_drills (organization_id, id) on delete cascade,
    constraint apm_drill_calls_contact_fkey foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete set null (contact_method_id),
    constraint apm_drill_calls_delivery_fkey foreign key (organization_id, delivery_id)
        references public.apm_deliveries (organization_id, id) on delete set null (delivery_id)
);
call apm_private.protect_table('public.apm_drill_calls');
-- the set-null when a contact goes
create index idx_apm_drill_calls_contact on public.apm_drill_calls (organization_id, contact_method_id);

-- When drills are held by themselves; without a row never.
create table public.apm_drill_schedules (
    organization_id uuid not null primary key references public.organizations (id) on delete cascade,
    -- each such weekday, or the first of each month
    every text not null check (every in ('week', 'month')),
    -- 1 is Monday
    weekday int not null check (weekday between 1 and 7),
    local_time time not null check (local_time < '24:00' and extract(second from local_time) = 0),
    time_zone text not null check (length(time_zone) between 1 and 100),
    -- when the next one is meant to be, and the timer: later than that while something holds it back
    planned_at timestamptz not null default now(),
    next_at timestamptz not null default now(),
    held_by text check (held_by in ('wedding', 'quiet_hours', 'running', 'nobody')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
call apm_private.protect_table('public.apm_drill_schedules');
-- start_due_drills: over all organizations
create index idx_apm_drill_schedules_next on public.apm_drill_schedules (next_at);

-- SHA-256 of the token in the address that was sent; the token has random bits enough for a plain hash.
create table apm_private.drill_links (
    token_hash bytea primary key check (length(token_hash) = 32),
    organization_id uuid not null,
    delivery_id uuid not null,
    foreign key (organization_id, delivery_id) references public.apm_deliveries (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.drill_links');
-- the cascade when a message goes
create index idx_apm_drill_links_delivery on apm_private.drill_links (organization_id, delivery_id);

grant select on public.apm_drills, public.apm_drill_calls, public.apm_drill_schedules to authenticated;
create policy apm_drills_authenticated_select on public.apm_drills for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
-- names are for members and above
create policy apm_drill_calls_authenticated_select on public.apm_drill_calls for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
call apm_private.grant_writes('public.apm_drill_schedules', kept => array['planned_at', 'next_at', 'held_by']);
create policy apm_drill_schedules_authenticated_select on public.apm_drill_schedules for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_drill_schedules_authenticated_insert on public.apm_drill_schedules for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_drill_schedules_authenticated_update on public.apm_drill_schedules for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_drill_schedules_authenticated_delete on public.apm_drill_schedules for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create trigger apm_drills_audit after insert or update or delete on public.apm_drills
for each row execute function apm_private.write_audit();
create trigger apm_drill_calls_audit after update of answered_at on public.apm_drill_calls
for each row execute function apm_private.write_audit();
-- what people decide is kept in the log, what the clock does is not
create trigger apm_drill_schedules_audit after insert or delete or update of every, weekday, local_time, time_zone
on public.apm_drill_schedules
for each row execute function apm_private.write_audit();

-- The next time of a schedule after an instant, by the clock on the wall: what it skips is when the clock would have
-- shown it, what it shows twice is at its first showing.
create function apm_private.next_drill_at(every text, weekday int, local_time time, time_zone text, after timestamptz)
returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select min(o.at)
    from (
        select case when apm_private.is_time_zone(next_drill_at.time_zone) then next_drill_at.time_zone else 'UTC' end as zone
        offset 0
    ) as z
    cross join lateral generate_series(
        (next_drill_at.after at time zone z.zone)::date - interval '1 day',
        (next_drill_at.after at time zone z.zone)::date + interval '63 days', interval '1 day'
    ) as d (day)
    cross join lateral (
        select apm_private.instant_of(d.day::date + next_drill_at.local_time, z.zone, false) as at
    ) as o
    where extract(isodow from d.day)::int = next_drill_at.weekday
        and (next_drill_at.every = 'week' or extract(day from d.day) <= 7) and o.at > next_drill_at.after
$$;
call apm_private.hand_over('apm_private.next_drill_at(text, int, time, text, timestamptz)');

create function apm_private.place_drill_schedule() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not apm_private.is_time_zone(new.time_zone) then
        raise exception 'is no time zone'
            using errcode = 'check_violation', constraint = 'time_zone', table = 'apm_drill_schedules';
    end if;
    new.planned_at := apm_private.next_drill_at(
        new.every, new.weekday, new.local_time, new.time_zone,
        coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp())
    );
    new.next_at := new.planned_at;
    new.held_by := null;
    return new;
end
$$;
call apm_private.hand_over('apm_private.place_drill_schedule()');
create trigger apm_drill_schedules_place before insert or update of every, weekday, local_time, time_zone
on public.apm_drill_schedules
for each row execute function apm_private.place_drill_schedule();

-- Whom the default ladder would reach at an instant, by all its steps; who is in his quiet hours then, and until when.
create function apm_private.drill_receivers(organization_id uuid, at timestamptz)
returns table (
    contact_method_id uuid, user_id uuid, person text, channel public.notification_channel, name text, address text,
    quiet_until timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with rungs as materialized (
        select r.rung
        from public.apm_escalation_policies as p
        cross join lateral jsonb_array_elements(apm_private.snapshot_ladder(p.organization_id, p.id)) as r (rung)
        where p.organization_id = drill_receivers.organization_id and p.is_default
            and apm_private.why_passed(p.organization_id, r.rung, 'emergency', false, drill_receivers.at) is null
    ), reached as (
        select distinct on (coalesce(r.contact_method_id::text, r.address)) r.*
        from (
            select rungs.rung from rungs
            union all
            select '{"contact_method_ids": []}' where not exists (select from rungs)
        ) as l
        cross join lateral apm_private.rung_receivers(
            drill_receivers.organization_id, l.rung, drill_receivers.at
        ) as r
    )
    select r.contact_method_id, m.user_id, coalesce(apm_private.person_of(m), 'named ' || lower(r.name)), r.channel, r.name,
        r.address, q.until
    from reached as r
    left join public.apm_contact_methods as m
        on m.organization_id = drill_receivers.organization_id and m.id = r.contact_method_id
    left join lateral apm_private.quiet_hours_at(
        drill_receivers.organization_id, r.contact_method_id, null, drill_receivers.at
    ) as q on true
    order by r.name, r.channel, r.address
$$;
call apm_private.hand_over('apm_private.drill_receivers(uuid, timestamptz)');

-- Begins a drill and puts its messages in line; null where there is nobody to call. Quiet hours are looked at here: its
-- messages are for now or not at all, and they never wait to be told together with others.
create function apm_private.open_drill(
    organization_id uuid, cause text, reason text, wedding_id uuid, started_by uuid, started_by_name text,
    planned_at timestamptz, at timestamptz
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    made uuid := gen_random_uuid();
    until timestamptz := open_drill.at + interval '15 minutes';
    receiver record;
    delivery uuid;
    calls int := 0;
begin
    insert into public.apm_drills (
        id, organization_id, cause, reason, wedding_id, planned_at, started_at, ends_at, started_by, started_by_name
    ) values (
        made, open_drill.organization_id, open_drill.cause, open_drill.reason, open_drill.wedding_id, open_drill.planned_at,
        open_drill.at, until, open_drill.started_by, open_drill.started_by_name
    );
    for receiver in select r.* from apm_private.drill_receivers(open_drill.organization_id, open_drill.at) as r loop
        delivery := null;
        if open_drill.cause = 'asked' or receiver.quiet_until is null then
            delivery := gen_random_uuid();
            insert into public.apm_deliveries (
                id, organization_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
                priority, due_at, created_at, expires_at
            ) values (
                delivery, open_drill.organization_id, receiver.contact_method_id, receiver.channel, 'drill', 'drill',
                jsonb_build_object('name', receiver.name, 'address', receiver.address),
                jsonb_build_object('drill_id', made, 'is_pressed', true, 'ends_at', until),
                'drill:' || delivery, 120, open_drill.at, open_drill.at, until
            );
            calls := calls + 1;
        end if;
        insert into public.apm_drill_calls (
            organization_id, drill_id, contact_method_id, user_id, person, name, channel, delivery_id
        ) values (
            open_drill.organization_id, made, receiver.contact_method_id, receiver.user_id, receiver.person, receiver.name,
            receiver.channel, delivery
        );
    end loop;
    if calls = 0 then
        delete from public.apm_drills as d where d.organization_id = open_drill.organization_id and d.id = made;
        return null;
    end if;
    return made;
end
$$;
call apm_private.hand_over('apm_private.open_drill(uuid, text, text, uuid, uuid, text, timestamptz, timestamptz)');

-- A drill that somebody wants now. One at a time, one an hour, and none while a wedding is under way.
create function apm_private.ask_drill(
    organization_id uuid, reason text, wedding_id uuid, started_by uuid, started_by_name text, at timestamptz
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    made uuid;
begin
    -- whoever is second waits here, and then sees the first one's
    perform pg_advisory_xact_lock(hashtextextended('drill:' || ask_drill.organization_id, 0));
    if apm_private.is_wedding_at(ask_drill.organization_id, ask_drill.at) then
        raise exception 'A wedding is under way: nobody is called for an exercise now.'
            using errcode = 'AP409', constraint = 'apm_drills_wedding';
    elsif exists (
        select from public.apm_drills as d where d.organization_id = ask_drill.organization_id and d.ended_at is null
    ) then
        raise exception 'A drill is under way already.' using errcode = 'AP409', constraint = 'apm_drills_running';
    elsif exists (
        select from public.apm_drills as d
        where d.organization_id = ask_drill.organization_id and d.cause = 'asked'
            and d.started_at > ask_drill.at - interval '1 hour'
    ) then
        raise exception 'One drill an hour is enough.' using errcode = 'AP429';
    end if;
    made := apm_private.open_drill(
        ask_drill.organization_id, 'asked', ask_drill.reason, ask_drill.wedding_id, ask_drill.started_by,
        ask_drill.started_by_name, ask_drill.at, ask_drill.at
    );
    if made is null then
        raise exception 'There is nobody to call: add a contact first.'
            using errcode = 'AP409', constraint = 'apm_drills_nobody';
    end if;
    return made;
end
$$;
call apm_private.hand_over('apm_private.ask_drill(uuid, text, uuid, uuid, text, timestamptz)');

create function public.apm_start_drill(organization_id uuid, reason text default '', wedding_id uuid default null) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if apm_start_drill.organization_id is null
        or apm_start_drill.organization_id <> all (public.apm_current_organization_ids()) then
        raise exception 'There is no such organization.' using errcode = 'AP404';
    elsif apm_start_drill.organization_id <> all (public.apm_organization_ids_as('ADMIN')) then
        raise exception 'Only an owner or admin may start a drill.' using errcode = 'AP403';
    elsif apm_start_drill.wedding_id is not null and not exists (
        select from apm_private.find_wedding_to_prepare(apm_start_drill.wedding_id) as w
        where w.organization_id = apm_start_drill.organization_id
    ) then
        raise exception 'There is no such wedding.' using errcode = 'AP404';
    end if;
    return apm_private.ask_drill(
        apm_start_drill.organization_id, apm_start_drill.reason, apm_start_drill.wedding_id, apm_private.caller_id(),
        coalesce(apm_private.claims() ->> 'name', ''), clock_timestamp()
    );
end
$$;
call apm_private.hand_over('public.apm_start_drill(uuid, text, uuid)');

-- Begins what is due by schedule. A wedding holds it back, and so do the quiet hours of whom it would call, these for a
-- day at most: then it goes without him.
create function apm_private.start_due_drills(at timestamptz, most int) returns table (started int, held int)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    due public.apm_drill_schedules%rowtype;
    quiet timestamptz;
    following timestamptz;
    obstacle text;
begin
    started := 0;
    held := 0;
    for due in
        select s.* from public.apm_drill_schedules as s
        where s.next_at <= start_due_drills.at
        order by s.next_at, s.organization_id
        limit start_due_drills.most
        for update skip locked
    loop
        perform pg_advisory_xact_lock(hashtextextended('drill:' || due.organization_id, 0));
        obstacle := null;
        select max(r.quiet_until) into quiet
        from apm_private.drill_receivers(due.organization_id, start_due_drills.at) as r;
        if apm_private.is_wedding_at(due.organization_id, start_due_drills.at) then
            obstacle := 'wedding';
            following := start_due_drills.at + interval '30 minutes';
        elsif exists (
            select from public.apm_drills as d where d.organization_id = due.organization_id and d.ended_at is null
        ) then
            obstacle := 'running';
            following := start_due_drills.at + interval '30 minutes';
        elsif quiet is not null and start_due_drills.at < due.planned_at + interval '1 day' then
            obstacle := 'quiet_hours';
            following := least(quiet, due.planned_at + interval '1 day');
        end if;
        if obstacle is null then
            following := apm_private.next_drill_at(
                due.every, due.weekday, due.local_time, due.time_zone, start_due_drills.at
            );
            if apm_private.open_drill(
                due.organization_id, 'schedule', '', null, null, '', due.planned_at, start_due_drills.at
            ) is null then
                obstacle := 'nobody';
            else
                started := started + 1;
            end if;
            due.planned_at := following;
        else
            held := held + 1;
        end if;
        update public.apm_drill_schedules as s
        set planned_at = due.planned_at, next_at = following, held_by = obstacle
        where s.organization_id = due.organization_id;
    end loop;
    return next;
end
$$;
call apm_private.hand_over('apm_private.start_due_drills(timestamptz, int)');

-- Ends drills whose time is over, or to which everybody has answered, and counts their people.
create function apm_private.end_drills(at timestamptz, in_time interval) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    locked uuid[];
    ended int;
begin
    locked := array(
        select r.id from (
            select d.id from public.apm_drills as d
            where d.ended_at is null
            order by d.ends_at
            limit 500
            for update skip locked
        ) as r
    );
    -- a statement of its own: it sees the answers that came before the lock
    with people as (
        select d.organization_id, d.id, d.started_at, c.person, min(c.answered_at) as answered_at
        from public.apm_drills as d
        join public.apm_drill_calls as c
            on c.organization_id = d.organization_id and c.drill_id = d.id and c.delivery_id is not null
        where d.ended_at is null and d.id = any (locked)
        group by d.organization_id, d.id, d.started_at, c.person
    ), counted as (
        select p.organization_id, p.id, count(*)::int as called, count(p.answered_at)::int as answered,
            count(*) filter (where p.answered_at <= p.started_at + end_drills.in_time)::int as in_time
        from people as p
        group by p.organization_id, p.id
    )
    update public.apm_drills as d
    set ended_at = greatest(end_drills.at, d.started_at), called = coalesce(c.called, 0),
        answered = coalesce(c.answered, 0), in_time = coalesce(c.in_time, 0)
    from public.apm_drills as r
    left join counted as c on c.organization_id = r.organization_id and c.id = r.id
    where r.ended_at is null and r.id = any (locked)
        and d.organization_id = r.organization_id and d.id = r.id
        and (d.ends_at <= end_drills.at or c.called is null or c.answered = c.called);
    get diagnostics ended = row_count;
    return ended;
end
$$;
call apm_private.hand_over('apm_private.end_drills(timestamptz, interval)');

-- Answers for whoever got a message of a drill, once: answered, used (it was before), over, or unknown: there is no such
-- message, or whose it was has left or was switched off since.
create function apm_private.answer_drill(delivery_id uuid, how text, at timestamptz) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    call public.apm_drill_calls%rowtype;
    drill public.apm_drills%rowtype;
begin
    select c.* into call
    from public.apm_deliveries as d
    join public.apm_drill_calls as c on c.organization_id = d.organization_id and c.delivery_id = d.id
    where d.id = answer_drill.delivery_id and d.kind = 'drill';
    if not found or (
        call.user_id is not null
        and not exists (select from apm_private.members_among(call.organization_id, array[call.user_id]))
    ) or exists (
        select from public.apm_contact_methods as m
        where m.organization_id = call.organization_id and m.id = call.contact_method_id and m.disabled_at is not null
    ) then
        return 'unknown';
    end if;
    -- whoever ends it waits, and so does a second tap
    select d.* into drill from public.apm_drills as d
    where d.organization_id = call.organization_id and d.id = call.drill_id for update;
    if drill.ended_at is not null or drill.ends_at <= answer_drill.at then
        return case when call.answered_at is null then 'over' else 'used' end;
    end if;
    update public.apm_drill_calls as c
    set answered_at = greatest(answer_drill.at, drill.started_at), how = answer_drill.how
    where c.organization_id = call.organization_id and c.drill_id = call.drill_id and c.id = call.id
        and c.answered_at is null;
    return case when found then 'answered' else 'used' end;
end
$$;
call apm_private.hand_over('apm_private.answer_drill(uuid, text, timestamptz)');

-- The same for the latest message of a drill under way that went to a number.
create function apm_private.answer_drill_of_number(phone text, at timestamptz) returns text
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select apm_private.answer_drill(found.delivery_id, found.channel::text, answer_drill_of_number.at)
            from (
                select c.delivery_id, c.channel
                from public.apm_contact_methods as m
                join public.apm_drill_calls as c on c.organization_id = m.organization_id and c.contact_method_id = m.id
                join public.apm_drills as d on d.organization_id = c.organization_id and d.id = c.drill_id
                where m.address = answer_drill_of_number.phone and m.channel in ('sms', 'voice') and d.ended_at is null
                    and c.delivery_id is not null
                order by c.answered_at is not null, d.started_at desc, c.channel <> 'sms'
                limit 1
            ) as found
        ),
        'unknown'
    )
$$;
call apm_private.hand_over('apm_private.answer_drill_of_number(text, timestamptz)');

create function apm_private.look_up_drill_link(token_hash bytea, at timestamptz)
returns table (
    delivery_id uuid, organization_name text, time_zone text, name text, started_at timestamptz, ends_at timestamptz,
    answered_at timestamptz, is_over boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select l.delivery_id, o.name, o.time_zone, c.name, d.started_at, d.ends_at, c.answered_at,
        d.ended_at is not null or d.ends_at <= look_up_drill_link.at
    from apm_private.drill_links as l
    join public.apm_drill_calls as c on c.organization_id = l.organization_id and c.delivery_id = l.delivery_id
    join public.apm_drills as d on d.organization_id = c.organization_id and d.id = c.drill_id
    join apm_private.host_organizations(array[l.organization_id]) as o on o.organization_id = l.organization_id
    where l.token_hash = look_up_drill_link.token_hash
$$;
call apm_private.hand_over('apm_private.look_up_drill_link(bytea, timestamptz)');

create function apm_private.use_drill_link(token_hash bytea, at timestamptz) returns text
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select apm_private.answer_drill(l.delivery_id, 'link', use_drill_link.at)
            from apm_private.drill_links as l
            where l.token_hash = use_drill_link.token_hash
        ),
        'unknown'
    )
$$;
call apm_private.hand_over('apm_private.use_drill_link(bytea, timestamptz)');

-- What a readiness report knows of drills: the last one that has ended and called somebody.
create function apm_private.drill_facts(organization_id uuid, at timestamptz)
returns table (
    drilled_at timestamptz, drill_days int, drill_called int, drill_answered int, drill_in_time int, has_drills boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select l.started_at, extract(day from drill_facts.at - l.started_at)::int, coalesce(l.called, 0), coalesce(l.answered, 0), coalesce(l.in_time, 0), exists (
        select from public.apm_drill_schedules as s where s.organization_id = drill_facts.organization_id
    )
    from (select) as one
    left join lateral (
        select d.started_at, d.called, d.answered, d.in_time
        from public.apm_drills as d
        where d.organization_id = drill_facts.organization_id and d.ended_at <= drill_facts.at and d.called > 0
        order by d.started_at desc
        limit 1
    ) as l on true
$$;
call apm_private.hand_over('apm_private.drill_facts(uuid, timestamptz)');

create function public.apm_drill_facts(wedding_id uuid, at timestamptz default now())
returns table (
    drilled_at timestamptz, drill_days int, drill_called int, drill_answered int, drill_in_time int, has_drills boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select f.drilled_at, f.drill_days, f.drill_called, f.drill_answered, f.drill_in_time, f.has_drills
    from apm_private.find_wedding_to_prepare(apm_drill_facts.wedding_id) as w
    cross join lateral apm_private.drill_facts(w.organization_id, apm_drill_facts.at) as f
$$;
call apm_private.hand_over('public.apm_drill_facts(uuid, timestamptz)');

grant execute on function public.apm_start_drill(uuid, text, uuid), public.apm_drill_facts(uuid, timestamptz)
    to authenticated, service_role;
grant execute on function apm_private.ask_drill(uuid, text, uuid, uuid, text, timestamptz),
    apm_private.start_due_drills(timestamptz, int), apm_private.end_drills(timestamptz, interval),
    apm_private.drill_facts(uuid, timestamptz) to apm_engine;
grant execute on function apm_private.answer_drill(uuid, text, timestamptz),
    apm_private.answer_drill_of_number(text, timestamptz), apm_private.look_up_drill_link(bytea, timestamptz),
    apm_private.use_drill_link(bytea, timestamptz) to apm_api;
