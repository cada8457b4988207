-- pre: APM extended: quiet hours of a contact: what falls into them waits for their end, and wedding emergencies do not.

-- When a contact is not to be disturbed, by the clock on the wall there. An end that is not later than the start is the
-- next day's; the weekday (1 is Monday) is that on which they begin.
create table public.apm_quiet_hours (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    contact_method_id uuid not null,
    starts_time time not null,
    ends_time time not null,
    time_zone text not null,
    weekdays int[] not null default array[1, 2, 3, 4, 5, 6, 7],
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_quiet_hours_contact_key unique (organization_id, contact_method_id),
    foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete cascade,
    -- who is never to be told is switched off, and is seen to be
    constraint apm_quiet_hours_ends_time check (starts_time <> ends_time),
    constraint apm_quiet_hours_minutes check (
        extract(second from starts_time) = 0 and extract(second from ends_time) = 0
        and starts_time < '24:00' and ends_time < '24:00'
    ),
    constraint apm_quiet_hours_weekdays check (
        cardinality(weekdays) between 1 and 7 and weekdays <@ array[1, 2, 3, 4, 5, 6, 7]
    )
);
call apm_private.protect_table('public.apm_quiet_hours');
create trigger apm_quiet_hours_audit after insert or update or delete on public.apm_quiet_hours
for each row execute function apm_private.write_audit();

-- The caller's own contacts, in the organizations where he is more than a viewer.
create function public.apm_own_contact_ids() returns uuid[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(c.id), '{}')
    from public.apm_contact_methods as c
    where c.organization_id = any (public.apm_organization_ids_as('MEMBER'))
        and c.user_id = apm_private.caller_id()
        and coalesce(apm_private.claims() ->> 'kind', 'user') <> 'key'
$$;
call apm_private.hand_over('public.apm_own_contact_ids()');
grant execute on function public.apm_own_contact_ids() to authenticated;

grant select on public.apm_quiet_hours to authenticated;
call apm_private.grant_writes('public.apm_quiet_hours');
create policy apm_quiet_hours_authenticated_select on public.apm_quiet_hours for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[]));
create policy apm_quiet_hours_authenticated_insert on public.apm_quiet_hours for insert to authenticated
with check (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and contact_method_id = any ((select public.apm_own_contact_ids())::uuid[])
    )
);
create policy apm_quiet_hours_authenticated_update on public.apm_quiet_hours for update to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and contact_method_id = any ((select public.apm_own_contact_ids())::uuid[])
    )
)
with check (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and contact_method_id = any ((select public.apm_own_contact_ids())::uuid[])
    )
);
create policy apm_quiet_hours_authenticated_delete on public.apm_quiet_hours for delete to authenticated
using (
    organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[])
    or (
        organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])
        and contact_method_id = any ((select public.apm_own_contact_ids())::uuid[])
    )
);

create function apm_private.check_quiet_hours() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not apm_private.is_time_zone(new.time_zone) then
        raise exception 'is no time zone' using errcode = 'check_violation', constraint = 'time_zone', table = tg_table_name;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_quiet_hours()');
create trigger apm_quiet_hours_check before insert or update on public.apm_quiet_hours
for each row execute function apm_private.check_quiet_hours();

-- The spans of every day's hours that touch the range. A start that the clock jumps over is the moment of the jump, and
-- a time that comes twice begins with its first and ends with its last coming, as with maintenance windows.
create function apm_private.daily_spans(
    starts_time time, ends_time time, weekdays int[], time_zone text, earliest timestamptz, latest timestamptz
) returns table (span tstzrange)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select o.span
    from (
        select tstzrange(b.starts_at, greatest(b.starts_at, b.ends_at)) as span
        from generate_series(
            (daily_spans.earliest at time zone daily_spans.time_zone)::date - interval '2 days',
            (daily_spans.latest at time zone daily_spans.time_zone)::date + interval '1 day', interval '1 day'
        ) as d (day)
        cross join lateral (
            select apm_private.instant_of(d.day::date + daily_spans.starts_time, daily_spans.time_zone, false) as starts_at,
                apm_private.instant_of(
                    d.day::date + daily_spans.ends_time
                        + case when daily_spans.ends_time <= daily_spans.starts_time then interval '1 day' else interval '0' end,
                    daily_spans.time_zone, true
                ) as ends_at
        ) as b
        where extract(isodow from d.day)::int = any (daily_spans.weekdays)
    ) as o
    where o.span && tstzrange(daily_spans.earliest, daily_spans.latest, '[]')
    order by o.span
$$;
call apm_private.hand_over('apm_private.daily_spans(time, time, int[], text, timestamptz, timestamptz)');

-- The quiet hours in which a contact is at an instant: his own; without any, those of the notification rule that led to
-- the ladder. A zone that is none any more disturbs rather than keeps silent.
create function apm_private.quiet_hours_at(
    organization_id uuid, contact_method_id uuid, incident_id uuid, at timestamptz
) returns table (since timestamptz, until timestamptz, time_zone text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with own as (
        select q.starts_time, q.ends_time, q.weekdays, q.time_zone
        from public.apm_quiet_hours as q
        where q.organization_id = quiet_hours_at.organization_id and q.contact_method_id = quiet_hours_at.contact_method_id
    ), led as (
        select n.quiet_hours as hours
        from public.apm_incidents as i
        join public.apm_escalation_runs as r
            on r.organization_id = i.organization_id and r.incident_id = i.id and r.generation = i.generation
        join public.apm_notification_rules as n
            on n.organization_id = r.organization_id and n.escalation_policy_id = r.policy_id and n.is_active
            and i.severity >= n.severity_min
        where i.organization_id = quiet_hours_at.organization_id and i.id = quiet_hours_at.incident_id
            and quiet_hours_at.contact_method_id is not null and not exists (select from own)
        order by n.position
        limit 1
    ), chosen as (
        select o.starts_time, o.ends_time, o.weekdays, o.time_zone from own as o
        union all
        select (l.hours ->> 'start')::time, (l.hours ->> 'end')::time, array[1, 2, 3, 4, 5, 6, 7], l.hours ->> 'time_zone'
        from led as l
        where l.hours ->> 'start' ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'
            and l.hours ->> 'end' ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'
            and l.hours ->> 'start' <> l.hours ->> 'end'
    )
    select lower(o.span), upper(o.span), c.time_zone
    from (select k.* from chosen as k where apm_private.is_time_zone(k.time_zone) offset 0) as c
    cross join lateral apm_private.daily_spans(
        c.starts_time, c.ends_time, c.weekdays, c.time_zone, quiet_hours_at.at, quiet_hours_at.at
    ) as o
    where o.span @> quiet_hours_at.at
    order by upper(o.span) desc
    limit 1
$$;
call apm_private.hand_over('apm_private.quiet_hours_at(uuid, uuid, uuid, timestamptz)');
grant execute on function apm_private.quiet_hours_at(uuid, uuid, uuid, timestamptz) to apm_engine;

-- The next quiet hours of a contact, the present ones first. Nothing for a contact that the caller may not see.
create function public.apm_quiet_spans(contact_method_id uuid, at timestamptz default now())
returns table (starts_at timestamptz, ends_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select lower(o.span), upper(o.span)
    from public.apm_quiet_hours as q
    cross join lateral apm_private.daily_spans(
        q.starts_time, q.ends_time, q.weekdays, q.time_zone, apm_quiet_spans.at, apm_quiet_spans.at + interval '8 days'
    ) as o
    where q.contact_method_id = apm_quiet_spans.contact_method_id and upper(o.span) > apm_quiet_spans.at
        and (apm_private.is_service() or q.organization_id = any (public.apm_organization_ids_as('MEMBER')))
    order by lower(o.span)
    limit 3
$$;
call apm_private.hand_over('public.apm_quiet_spans(uuid, timestamptz)');
grant execute on function public.apm_quiet_spans(uuid, timestamptz) to authenticated;

-- Until when quiet hours hold a message back, or held it.
alter table public.apm_deliveries add column held_until timestamptz;

-- What is held back is looked at again at once where that may have changed: the hours themselves, or how bad it is.
create function apm_private.look_at_held_again() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    changed jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
    update public.apm_deliveries as d set due_at = at
    where d.organization_id = (changed ->> 'organization_id')::uuid and d.state = 'pending' and d.held_until > at
        and case tg_table_name
            when 'apm_quiet_hours' then d.contact_method_id = (changed ->> 'contact_method_id')::uuid
            when 'apm_incidents' then d.incident_id = (changed ->> 'id')::uuid
            else true
        end;
    return null;
end
$$;
call apm_private.hand_over('apm_private.look_at_held_again()');
create trigger apm_quiet_hours_look_again after insert or update or delete on public.apm_quiet_hours
for each row execute function apm_private.look_at_held_again();
create trigger apm_notification_rules_look_again after update of quiet_hours on public.apm_notification_rules
for each row when (new.quiet_hours is distinct from old.quiet_hours) execute function apm_private.look_at_held_again();
create trigger apm_incidents_look_again after update of severity, was_wedding_day on public.apm_incidents
for each row
when (new.severity is distinct from old.severity or new.was_wedding_day is distinct from old.was_wedding_day)
execute function apm_private.look_at_held_again();
