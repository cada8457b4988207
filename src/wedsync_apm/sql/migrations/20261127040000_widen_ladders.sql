-- pre: APM extended: steps that name people and count at some times only; one answer to who is told when, for the climb and for whoever asks before it.

alter table public.apm_escalation_steps
    -- whom it tells besides: these people, by each verified contact of theirs
    add column user_ids uuid[] not null default '{}',
    -- when it counts: always, only while a wedding is under way, or never then
    add column weddings text not null default 'any',
    -- what is less severe passes it
    add column severity_min public.alert_severity,
    -- the hours in which it counts; an end that is not later than the start is the next day's
    add column hours_from time,
    add column hours_until time,
    add column hours_weekdays int[],
    -- by whose clock: the organization's, or that of each person whom it tells
    add column hours_zone text,
    add constraint apm_escalation_steps_user_ids_check check (
        cardinality(user_ids) <= 100 and array_position(user_ids, null) is null
    ),
    add constraint apm_escalation_steps_weddings_check check (weddings in ('any', 'only', 'never')),
    add constraint apm_escalation_steps_hours_zone_check check (hours_zone in ('organization', 'person')),
    add constraint apm_escalation_steps_hours_check check (num_nonnulls(hours_from, hours_until, hours_weekdays, hours_zone) in (0, 4)),
    add constraint apm_escalation_steps_hours_weekdays_check check (
        hours_weekdays is null
        or (cardinality(hours_weekdays) between 1 and 7 and hours_weekdays <@ array[1, 2, 3, 4, 5, 6, 7])
    ),
    add constraint apm_escalation_steps_hours_minutes check (
        hours_from is null
        or (
            greatest(hours_from, hours_until) < '24:00'
            and extract(second from hours_from) = 0 and extract(second from hours_until) = 0
        )
    );
grant insert (user_ids, weddings, severity_min, hours_from, hours_until, hours_weekdays, hours_zone),
    update (user_ids, weddings, severity_min, hours_from, hours_until, hours_weekdays, hours_zone)
    on public.apm_escalation_steps to authenticated;

-- Only people of the organization are called. They may leave afterwards, and are not told any more then.
create function apm_private.check_step_people() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if (select count(*) from apm_private.members_among(new.organization_id, new.user_ids))
        < (select count(distinct u.id) from unnest(new.user_ids) as u (id)) then
        raise exception 'names somebody who does not belong to the organization'
            using errcode = 'check_violation', constraint = 'steps', table = tg_table_name;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_step_people()');
create trigger apm_escalation_steps_people before insert or update of user_ids on public.apm_escalation_steps
for each row when (new.user_ids <> '{}') execute function apm_private.check_step_people();

-- How many of its rungs have told somebody.
alter table public.apm_escalation_runs add column told int not null default 0 check (told >= 0);

-- The ladder that a problem of a severity would climb that carries no labels: that to which the notification rules lead,
-- else the default one; null for none.
create function apm_private.choose_ladder(organization_id uuid, severity public.alert_severity, at timestamptz) returns uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select w.escalation_policy_id
            from apm_private.walk_rules(
                choose_ladder.organization_id, null,
                jsonb_build_array(jsonb_build_object('severity', choose_ladder.severity)), choose_ladder.severity,
                apm_private.is_wedding_at(choose_ladder.organization_id, choose_ladder.at), 0, null, '[]'
            ) with ordinality as w (
                rule_id, level, verdict, is_taken, escalation_policy_id, recipients, place
            )
            where w.is_taken and w.escalation_policy_id is not null
            order by w.place
            limit 1
        ),
        (
            select p.id from public.apm_escalation_policies as p
            where p.organization_id = choose_ladder.organization_id and p.is_default
        )
    )
$$;
call apm_private.hand_over('apm_private.choose_ladder(uuid, public.alert_severity, timestamptz)');

-- A ladder as a climb keeps it. Who is on call is not in it: that is asked when a step is due.
create function apm_private.snapshot_ladder(organization_id uuid, policy_id uuid) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'position', s.position, 'level', s.level,
        'delay_seconds', extract(epoch from s.delay),
        'wedding_delay_seconds', extract(epoch from coalesce(s.wedding_delay, s.delay / 4)),
        'contact_method_ids', (
            select coalesce(jsonb_agg(t.contact_method_id), '[]') from public.apm_escalation_targets as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'schedule_ids', (
            select coalesce(jsonb_agg(t.schedule_id), '[]') from public.apm_escalation_schedules as t
            where t.organization_id = s.organization_id and t.step_id = s.id
        ),
        'user_ids', to_jsonb(s.user_ids),
        'weddings', s.weddings,
        'severity_min', s.severity_min,
        'hours', case when s.hours_zone is not null then jsonb_build_object(
            'from', to_char(s.hours_from, 'HH24:MI'), 'until', to_char(s.hours_until, 'HH24:MI'),
            'weekdays', s.hours_weekdays, 'zone', s.hours_zone
        ) end
    ) order by s.position), '[]')
    from public.apm_escalation_steps as s
    where s.organization_id = snapshot_ladder.organization_id and s.policy_id = snapshot_ladder.policy_id
$$;
call apm_private.hand_over('apm_private.snapshot_ladder(uuid, uuid)');

-- Whether a step's hours count at an instant by the clock of a zone; without hours they always do.
create function apm_private.is_in_hours(hours jsonb, zone text, at timestamptz) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select hours is null or jsonb_typeof(hours) = 'null' or exists (
        select from apm_private.daily_spans(
            (hours ->> 'from')::time, (hours ->> 'until')::time,
            array(select d.day::int from jsonb_array_elements_text(hours -> 'weekdays') as d (day)),
            -- a zone that is none any more must not stop the ladders of everybody
            case when apm_private.is_time_zone(zone) then zone else 'UTC' end, at, at
        ) as o
        where o.span @> at
    )
$$;
call apm_private.hand_over('apm_private.is_in_hours(jsonb, text, timestamptz)');

-- The contacts that a rung names, switched on, and by what it names them: a contact itself, a person's verified ones,
-- those of whoever is on call then. Each with the clock that its hours are read by: that of the contact's quiet hours,
-- else of the rota, else of the organization.
create function apm_private.rung_contacts(organization_id uuid, rung jsonb, at timestamptz)
returns table (contact_method_id uuid, via text, zone text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select distinct on (m.id) m.id, n.via,
        case when rung_contacts.rung -> 'hours' ->> 'zone' = 'person' then coalesce(
            (select min(q.time_zone) from public.apm_quiet_hours as q
                where q.organization_id = m.organization_id and q.contact_method_id = m.id),
            n.zone, o.time_zone
        ) else o.time_zone end
    from (
        select listed.id::uuid as contact_method_id, null::uuid as user_id, 'contact' as via, null::text as zone
        from jsonb_array_elements_text(rung_contacts.rung -> 'contact_method_ids') as listed (id)
        union all
        select null, p.id, 'person', null
        from apm_private.members_among(
            rung_contacts.organization_id,
            array(select u.id::uuid from jsonb_array_elements_text(rung_contacts.rung -> 'user_ids') as u (id))
        ) as p (id)
        union all
        select null, c.user_id, 'rota', s.time_zone
        from jsonb_array_elements_text(rung_contacts.rung -> 'schedule_ids') as l (id)
        join public.apm_on_call_schedules as s
            on s.organization_id = rung_contacts.organization_id and s.id = l.id::uuid
        cross join lateral apm_private.on_call_between(
            s.organization_id, s.id, rung_contacts.at, rung_contacts.at + interval '1 microsecond'
        ) as c
    ) as n
    join public.apm_contact_methods as m on m.organization_id = rung_contacts.organization_id and m.disabled_at is null
        and (m.id = n.contact_method_id or (m.user_id = n.user_id and (n.via = 'rota' or m.verified_at is not null)))
    cross join lateral apm_private.host_organizations(array[m.organization_id]) as o
    order by m.id, n.via
$$;
call apm_private.hand_over('apm_private.rung_contacts(uuid, jsonb, timestamptz)');

-- Whom a rung tells at an instant. One that reaches nobody of its own falls back to everybody whom the organization can
-- reach, and where there is no contact at all to the owners who sign in here, or the platform's own people.
create function apm_private.rung_receivers(organization_id uuid, rung jsonb, at timestamptz)
returns table (
    contact_method_id uuid, channel public.notification_channel, name text, address text, via text, is_verified boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with own as materialized (
        select c.contact_method_id, c.via
        from apm_private.rung_contacts(
            rung_receivers.organization_id, rung_receivers.rung, rung_receivers.at
        ) as c
        where apm_private.is_in_hours(rung_receivers.rung -> 'hours', c.zone, rung_receivers.at)
    ), reached as materialized (
        select m.id, m.channel, m.name, m.address, coalesce(o.via, 'everybody') as via, m.verified_at is not null as is_verified
        from public.apm_contact_methods as m
        left join own as o on o.contact_method_id = m.id
        where m.organization_id = rung_receivers.organization_id and m.disabled_at is null
            and (o.contact_method_id is not null or not exists (select from own))
    )
    select r.id, r.channel, r.name, r.address, r.via, r.is_verified from reached as r
    union all
    select null, 'email', u.display_name, u.email, 'owner', false
    from apm_private.users as u
    where u.disabled_at is null and not exists (select from reached) and u.id in (
        select o.user_id from public.apm_memberships as o
        where o.organization_id = rung_receivers.organization_id and o.role = 'OWNER'
        union all
        select k.id from apm_private.users as k
        cross join lateral apm_private.host_memberships(k.id) as h
        where h.organization_id = rung_receivers.organization_id and h.role = 'OWNER'
        union all
        select p.user_id from public.apm_operators as p
        cross join apm_private.platform as f
        where f.organization_id = rung_receivers.organization_id and p.role = 'oncall' and p.disabled_at is null
    )
$$;
call apm_private.hand_over('apm_private.rung_receivers(uuid, jsonb, timestamptz)');

-- Why a rung is passed at an instant; null if it counts.
create function apm_private.why_passed(
    organization_id uuid, rung jsonb, severity public.alert_severity, is_wedding boolean, at timestamptz
) returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case
        when rung ->> 'weddings' = 'only' and not is_wedding then 'it counts only while a wedding is under way'
        when rung ->> 'weddings' = 'never' and is_wedding then 'it does not count while a wedding is under way'
        when severity < (rung ->> 'severity_min')::public.alert_severity then 'it is for what is worse'
        when coalesce(jsonb_typeof(rung -> 'hours'), 'null') <> 'null' and not coalesce(
            (
                select bool_or(apm_private.is_in_hours(rung -> 'hours', c.zone, at))
                from apm_private.rung_contacts(why_passed.organization_id, rung, at) as c
            ),
            (
                select apm_private.is_in_hours(rung -> 'hours', o.time_zone, at)
                from apm_private.host_organizations(array[why_passed.organization_id]) as o
            ),
            true
        ) then 'it counts from ' || (rung -> 'hours' ->> 'from') || ' until ' || (rung -> 'hours' ->> 'until')
    end
$$;
call apm_private.hand_over('apm_private.why_passed(uuid, jsonb, public.alert_severity, boolean, timestamptz)');

-- Whether a ladder is climbed at a wedding's pace: while one is under way, and for the platform's own people what has
-- come to them from one.
create function apm_private.is_wedding_paced(organization_id uuid, was_wedding_day boolean, at timestamptz)
returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select (
        is_wedding_paced.was_wedding_day and exists (
            select from apm_private.platform as f where f.organization_id = is_wedding_paced.organization_id
        )
    ) or apm_private.is_wedding_at(is_wedding_paced.organization_id, is_wedding_paced.at)
$$;
call apm_private.hand_over('apm_private.is_wedding_paced(uuid, boolean, timestamptz)');

-- How long after the one before a rung is due; past the last one, how long that has before the ladder is climbed again
-- or given up. At a wedding the first is told within 30 seconds and the second 60 later, whatever the ladder says, so
-- that two rungs have been called well within two minutes.
create function apm_private.time_to_rung(steps jsonb, step int, told int, is_wedding boolean) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when is_wedding and told = 0 then least(w.wait, interval '30 seconds')
        when is_wedding and told = 1 then least(w.wait, interval '60 seconds')
        else w.wait
    end
    from (
        select make_interval(secs => coalesce(
            (steps -> least(step, jsonb_array_length(steps) - 1) ->> case
                when is_wedding then 'wedding_delay_seconds' else 'delay_seconds'
            end)::float8, 0
        )) as named
    ) as d
    cross join lateral (
        select case
            when step < jsonb_array_length(steps) then d.named
            else greatest(d.named, case when is_wedding then interval '75 seconds' else interval '5 minutes' end)
        end as wait
    ) as w
$$;
call apm_private.hand_over('apm_private.time_to_rung(jsonb, int, int, boolean)');

-- When a rung is due, counted from an instant: sooner where a wedding begins before. So a timer that is set knows of
-- the weddings ahead, and none needs to be looked at when they begin.
create function apm_private.rung_due_at(
    organization_id uuid, steps jsonb, step int, told int, at timestamptz, is_wedding boolean
) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select least(
        rung_due_at.at + t.wait,
        case when not rung_due_at.is_wedding and t.wait > interval '0' then (
            select min(greatest(lower(w.span), rung_due_at.at + apm_private.time_to_rung(
                rung_due_at.steps, rung_due_at.step, rung_due_at.told, true
            )))
            from apm_private.wedding_windows_between(
                array[rung_due_at.organization_id], rung_due_at.at, rung_due_at.at + t.wait
            ) as w
            where lower(w.span) > rung_due_at.at
        ) end
    )
    from (
        select apm_private.time_to_rung(
            rung_due_at.steps, rung_due_at.step, rung_due_at.told, rung_due_at.is_wedding
        ) as wait
    ) as t
$$;
call apm_private.hand_over('apm_private.rung_due_at(uuid, jsonb, int, int, timestamptz, boolean)');
grant execute on function apm_private.rung_receivers(uuid, jsonb, timestamptz),
    apm_private.why_passed(uuid, jsonb, public.alert_severity, boolean, timestamptz),
    apm_private.is_wedding_paced(uuid, boolean, timestamptz),
    apm_private.time_to_rung(jsonb, int, int, boolean),
    apm_private.rung_due_at(uuid, jsonb, int, int, timestamptz, boolean) to apm_engine;

create or replace function apm_private.steer_escalation() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    chosen uuid;
    climbed jsonb;
begin
    if tg_op = 'UPDATE' then
        if new.status = old.status then
            return null;
        end if;
        update public.apm_escalation_runs as r set state = 'stopped', next_at = null, stop_reason = new.status::text
        where r.organization_id = new.organization_id and r.incident_id = new.id and r.state = 'running';
    end if;
    if new.status <> 'open' then
        return null;
    end if;
    chosen := coalesce(
        apm_private.ladder_by_route(new.organization_id, new.id, at),
        (select p.id from public.apm_escalation_policies as p
            where p.organization_id = new.organization_id and p.is_default)
    );
    climbed := apm_private.snapshot_ladder(new.organization_id, chosen);
    insert into public.apm_escalation_runs
        (organization_id, incident_id, generation, policy_id, steps, repeats_left, next_at, started_at)
    values (
        new.organization_id, new.id, new.generation, chosen, climbed,
        coalesce((select p.repeat_count from public.apm_escalation_policies as p where p.organization_id = new.organization_id and p.id = chosen), 0),
        -- a ladder without steps tells everybody at once
        case when climbed = '[]' then at else apm_private.rung_due_at(
            new.organization_id, climbed, 0, 0, at,
            new.was_wedding_day or apm_private.is_wedding_at(new.organization_id, at)
        ) end,
        at
    );
    return null;
end
$$;

-- What a climb will do from where it is: each rung with its time, whom it tells, or why it is passed, and at the end
-- when the platform's own people are called (step null). One row for each receiver; the climb itself goes by the same
-- functions. Later rounds are as the first, and are left out.
create function apm_private.walk_ladder(
    organization_id uuid, steps jsonb, first_step int, told int, due_at timestamptz, severity public.alert_severity,
    was_wedding_day boolean
)
returns table (
    step int, level text, due timestamptz, is_wedding boolean, passed text, contact_method_id uuid, channel text, name text,
    via text, is_verified boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    rungs int := jsonb_array_length(walk_ladder.steps);
    n int := walk_ladder.first_step;
    heard int := walk_ladder.told;
    moment timestamptz := walk_ladder.due_at;
    rung jsonb;
    reason text;
    at_wedding boolean;
    -- how many rungs tell somebody whatever the ladder says
    owed int;
begin
    loop
        at_wedding := apm_private.is_wedding_paced(walk_ladder.organization_id, walk_ladder.was_wedding_day, moment);
        owed := case when at_wedding then 2 else 1 end;
        exit when n >= rungs and heard >= owed;
        rung := coalesce(
            walk_ladder.steps -> n, jsonb_build_object('position', n + 1, 'level', 'none', 'contact_method_ids', '[]'::jsonb)
        );
        reason := apm_private.why_passed(
            walk_ladder.organization_id, rung, walk_ladder.severity, at_wedding, moment
        );
        return query
        select n, rung ->> 'level', moment, at_wedding, reason, r.contact_method_id, r.channel::text, r.name, r.via,
            r.is_verified
        from (select) as one
        left join lateral apm_private.rung_receivers(walk_ladder.organization_id, rung, moment) as r on reason is null
        order by r.name, r.contact_method_id;
        n := n + 1;
        if reason is null then
            heard := heard + 1;
        elsif heard < owed then
            -- nobody was told, so nobody is waited for
            continue;
        end if;
        moment := apm_private.rung_due_at(
            walk_ladder.organization_id, walk_ladder.steps, n, heard, moment, at_wedding
        );
    end loop;
    return query select null::int, null::text, moment, at_wedding, null::text, null::uuid, null::text, null::text, null::text, null::boolean;
end
$$;
call apm_private.hand_over('apm_private.walk_ladder(uuid, jsonb, int, int, timestamptz, public.alert_severity, boolean)');

-- Who would be called, if a problem of that severity began at an instant: by a ladder, or by that which would be chosen.
-- Nothing for an organization of others. Names are for members and above.
create function public.apm_preview_ladder(
    organization_id uuid, policy_id uuid, severity public.alert_severity default 'critical', at timestamptz default now()
)
returns table (
    ladder_id uuid, step int, level text, due timestamptz, is_wedding boolean, passed text, contact_method_id uuid,
    channel text, name text, via text, is_verified boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    chosen uuid := coalesce(
        apm_preview_ladder.policy_id,
        apm_private.choose_ladder(
            apm_preview_ladder.organization_id, apm_preview_ladder.severity, apm_preview_ladder.at
        )
    );
    steps jsonb := apm_private.snapshot_ladder(apm_preview_ladder.organization_id, chosen);
    sees boolean := apm_private.is_service()
        or public.apm_role_in(apm_preview_ladder.organization_id) <> 'VIEWER'
        or public.apm_operator_role() = 'oncall';
begin
    if not (
        apm_private.is_service() or public.apm_operator_role() is not null
        or apm_preview_ladder.organization_id = any (public.apm_current_organization_ids())
    ) then
        return;
    end if;
    return query
    select chosen, w.step, w.level, w.due, w.is_wedding, w.passed, w.contact_method_id, w.channel,
        case when sees then w.name end, w.via, w.is_verified
    from apm_private.walk_ladder(
        apm_preview_ladder.organization_id, steps, 0, 0,
        case when steps = '[]' then apm_preview_ladder.at else apm_private.rung_due_at(
            apm_preview_ladder.organization_id, steps, 0, 0, apm_preview_ladder.at,
            apm_private.is_wedding_at(apm_preview_ladder.organization_id, apm_preview_ladder.at)
        ) end,
        apm_preview_ladder.severity, false
    ) as w;
end
$$;
call apm_private.hand_over('public.apm_preview_ladder(uuid, uuid, public.alert_severity, timestamptz)');

-- The same for an incident that nobody has in hand: from where its own climb is now. Nothing while none is climbed.
create function public.apm_preview_incident(incident_id uuid, at timestamptz default now())
returns table (
    ladder_id uuid, step int, level text, due timestamptz, is_wedding boolean, passed text, contact_method_id uuid,
    channel text, name text, via text, is_verified boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select r.policy_id, w.step, w.level, w.due, w.is_wedding, w.passed, w.contact_method_id, w.channel,
        case when apm_private.is_service() or public.apm_role_in(i.organization_id) <> 'VIEWER'
            or public.apm_operator_role() = 'oncall' then w.name end,
        w.via, w.is_verified
    from public.apm_incidents as i
    join public.apm_escalation_runs as r
        on r.organization_id = i.organization_id and r.incident_id = i.id and r.state = 'running'
    cross join lateral apm_private.walk_ladder(
        i.organization_id, r.steps, r.next_step, r.told, greatest(r.next_at, apm_preview_incident.at), i.severity,
        i.was_wedding_day
    ) as w
    where i.id = apm_preview_incident.incident_id and i.status = 'open'
        and (
            apm_private.is_service() or i.organization_id = any (public.apm_current_organization_ids())
            or public.apm_operator_role() is not null
        )
$$;
call apm_private.hand_over('public.apm_preview_incident(uuid, timestamptz)');

-- Of each step of the ladders in use what it leaves open in a range: the time in which it would tell nobody of its own,
-- and how many of the people whom it names have no verified contact. A step whose hours are the organization's is
-- looked at in these alone, and one that weddings pass is left out where the range is a wedding's.
create function apm_private.ladder_reach(organization_id uuid, earliest timestamptz, latest timestamptz)
returns table (
    policy_id uuid, policy_name text, is_default boolean, step int, gaps tstzmultirange, is_empty boolean, unreachable int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select tstzrange(ladder_reach.earliest, least(ladder_reach.latest, ladder_reach.earliest + interval '100 days')) as span
        where ladder_reach.earliest < ladder_reach.latest
    ), steps as (
        select p.id, p.name, p.is_default, s.position, r.rung, a.span, case
            when r.rung -> 'hours' ->> 'zone' = 'organization' then (
                select coalesce(range_agg(d.span * a.span), '{}')
                from apm_private.host_organizations(array[p.organization_id]) as o
                cross join lateral apm_private.daily_spans(
                    s.hours_from, s.hours_until, s.hours_weekdays,
                    case when apm_private.is_time_zone(o.time_zone) then o.time_zone else 'UTC' end, lower(a.span), upper(a.span)
                ) as d
            )
            else tstzmultirange(a.span)
        end as hours
        from asked as a
        join public.apm_escalation_policies as p on p.organization_id = ladder_reach.organization_id
        join public.apm_escalation_steps as s on s.organization_id = p.organization_id and s.policy_id = p.id
        join lateral jsonb_array_elements(apm_private.snapshot_ladder(p.organization_id, p.id)) as r (rung)
            on (r.rung ->> 'position')::int = s.position
        where s.weddings <> 'never' and (p.is_default or exists (
            select from public.apm_notification_rules as n
            where n.organization_id = p.organization_id and n.escalation_policy_id = p.id and n.is_active
        ))
    ), turns as (
        -- who is on call by which schedule, once for all the steps that name it
        select l.id, range_agg(tstzrange(b.starts_at, b.ends_at)) filter (where w.contacts > 0) as spans,
            array_agg(distinct b.user_id) filter (where w.verified = 0) as unproven
        from (
            select distinct n.id::uuid as id, s.span
            from steps as s
            cross join lateral jsonb_array_elements_text(s.rung -> 'schedule_ids') as n (id)
        ) as l
        cross join lateral apm_private.on_call_between(
            ladder_reach.organization_id, l.id, lower(l.span), upper(l.span)
        ) as b
        cross join lateral apm_private.reach_of(ladder_reach.organization_id, b.user_id) as w
        group by l.id
    )
    select s.id, s.name, s.is_default, s.position,
        case when f.has_fixed then '{}'
            else s.hours - coalesce((select range_agg(p.part) from turns as t cross join lateral unnest(t.spans) as p (part)
                where s.rung -> 'schedule_ids' ? t.id::text), '{}')
        end,
        not f.has_fixed and s.rung -> 'schedule_ids' = '[]',
        f.unproven + coalesce((select sum(cardinality(t.unproven))::int from turns as t
            where s.rung -> 'schedule_ids' ? t.id::text), 0)
    from steps as s
    cross join lateral (
        select
            exists (
                select from apm_private.rung_contacts(
                    ladder_reach.organization_id, s.rung || '{"schedule_ids": []}', lower(s.span)
                )
            ) as has_fixed,
            (
                select count(*)::int from jsonb_array_elements_text(s.rung -> 'user_ids') as u (id)
                cross join lateral apm_private.reach_of(ladder_reach.organization_id, u.id::uuid) as w
                where w.verified = 0
            ) as unproven
    ) as f
$$;
call apm_private.hand_over('apm_private.ladder_reach(uuid, timestamptz, timestamptz)');

-- Of every wedding dated in a range what the steps of the ladders in use leave open in it; a step that leaves nothing
-- has no row.
create function public.apm_ladder_weddings(organization_id uuid, earliest date, latest date)
returns table (
    wedding_id uuid, wedding_date date, wedding_zone text, starts_at timestamptz, ends_at timestamptz, policy_id uuid,
    policy_name text, step int, gaps tstzmultirange, is_empty boolean, unreachable int
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform apm_private.check_on_call_range(
        apm_ladder_weddings.earliest::timestamp at time zone 'UTC',
        (apm_ladder_weddings.latest + 1)::timestamp at time zone 'UTC'
    );
    return query
    select w.wedding_id, w.wedding_date, w.time_zone, w.starts_at, w.ends_at, r.policy_id, r.policy_name, r.step, r.gaps,
        r.is_empty, r.unreachable
    from apm_private.weddings_to_prepare(
        apm_private.askable(apm_ladder_weddings.organization_id), apm_ladder_weddings.earliest, apm_ladder_weddings.latest
    ) as w
    cross join lateral apm_private.ladder_reach(w.organization_id, w.starts_at, w.ends_at) as r
    where r.is_empty or r.gaps <> '{}' or r.unreachable > 0
    order by w.starts_at, w.wedding_id, r.policy_name, r.step;
end
$$;
call apm_private.hand_over('public.apm_ladder_weddings(uuid, date, date)');
grant execute on function public.apm_preview_ladder(uuid, uuid, public.alert_severity, timestamptz),
    public.apm_preview_incident(uuid, timestamptz), public.apm_ladder_weddings(uuid, date, date)
    to authenticated, service_role;

-- The ladder is walked through as it would be climbed during the wedding: a step that names people without a verified
-- contact reaches nobody of its own.
create or replace function apm_private.readiness_facts(organization_id uuid, wedding_id uuid, wedding_date date, at timestamptz)
returns table (
    time_zone text, is_zone_known boolean, initials text, due_at timestamptz, starts_at timestamptz, ends_at timestamptz,
    contacts int, unverified int, stale int, rungs int, empty_rungs int, tested int, failing int, checks int, red text[],
    troubled text[], unseen text[]
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    wedding record;
begin
    select w.* into wedding
    from apm_private.weddings_to_prepare(
        array[readiness_facts.organization_id], readiness_facts.wedding_date, readiness_facts.wedding_date
    ) as w
    where w.wedding_id = readiness_facts.wedding_id;
    if not found then
        return;
    end if;
    return query
    with methods as (
        select m.id, m.verified_at, m.last_ok_at,
            exists (
                select from public.apm_deliveries as d
                where d.organization_id = m.organization_id and d.contact_method_id = m.id and d.state = 'failed'
                    and d.updated_at > coalesce(m.last_ok_at, '-infinity')
                    and d.created_at > readiness_facts.at - interval '30 days'
            ) as is_failing
        from public.apm_contact_methods as m
        where m.organization_id = readiness_facts.organization_id and m.disabled_at is null
    ), contacts as (
        select count(*)::int as total,
            count(*) filter (where m.verified_at is null)::int as unverified,
            count(*) filter (where m.verified_at <= readiness_facts.at - interval '30 days')::int as stale,
            count(*) filter (where not m.is_failing and m.last_ok_at > readiness_facts.at - interval '30 days')::int as tested,
            count(*) filter (where m.is_failing)::int as failing
        from methods as m
    ), ladder as (
        select count(*)::int as rungs, count(*) filter (where r.is_empty)::int as empty_rungs
        from apm_private.ladder_reach(readiness_facts.organization_id, wedding.starts_at, wedding.ends_at) as r
        where r.is_default
    ), every_check as (
        select c.*, bool_or(c.wedding_critical) over () as has_critical
        from public.service_health_checks as c
        where c.organization_id = readiness_facts.organization_id and c.is_active
    ), looked as (
        -- those that are marked as critical for a wedding; without such a mark, all
        select c.display_name, c.status,
            c.status in ('warning', 'critical') as is_red,
            c.status in ('unknown', 'maintenance')
                or c.last_check_at is null or c.last_check_at < readiness_facts.at - greatest(5 * c.check_interval, interval '15 minutes')
                as is_unseen,
            exists (
                select from public.apm_service_status_history as h
                where h.organization_id = c.organization_id and h.check_id = c.id and h.status = 'critical'
                    and h.since > readiness_facts.at - interval '1 day' and h.since <= readiness_facts.at
            ) as was_red
        from every_check as c
        where c.wedding_critical or not c.has_critical
    ), checks as (
        select count(*)::int as total,
            coalesce(array_agg(l.display_name order by l.display_name) filter (where l.is_red), '{}') as red,
            coalesce(array_agg(l.display_name order by l.display_name) filter (where l.was_red and not l.is_red), '{}') as troubled,
            coalesce(array_agg(l.display_name order by l.display_name) filter (where l.is_unseen and not l.is_red), '{}') as unseen
        from looked as l
    )
    select wedding.time_zone, wedding.is_zone_known, wedding.initials, wedding.due_at, wedding.starts_at, wedding.ends_at,
        c.total, c.unverified, c.stale, l.rungs, l.empty_rungs, c.tested, c.failing, k.total, k.red, k.troubled, k.unseen
    from contacts as c
    cross join ladder as l
    cross join checks as k;
end
$$;
