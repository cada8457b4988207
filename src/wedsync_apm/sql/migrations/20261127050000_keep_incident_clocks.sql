-- pre: clocks of an incident: a hold that runs out without a word, a promise that is kept or missed; one place for priority.

alter table public.apm_incidents
    -- what is broken, for an engineer; for the vendor there is vendor_text
    add column engineer_text text not null default ''
        constraint apm_incidents_engineer_text_check check (length(engineer_text) <= 2000),
    -- when whoever has it is given up waiting for; null: never
    add column ack_expires_at timestamptz,
    add column ack_warned_at timestamptz,
    add column update_missed_at timestamptz;
grant update (engineer_text) on public.apm_incidents to authenticated;
-- expire_acknowledgements, warn_holders: the timers that have run out, over all organizations
create index idx_apm_incidents_ack_due on public.apm_incidents (ack_expires_at)
where ack_expires_at is not null and status in ('acknowledged', 'investigating');
-- miss_promises: the promises that are due
create index idx_apm_incidents_promise_due on public.apm_incidents (next_update_at)
where next_update_at is not null and status in ('open', 'acknowledged', 'investigating');

alter table public.apm_incident_events drop constraint apm_incident_events_kind_check;
alter table public.apm_incident_events add constraint apm_incident_events_kind_check check (kind in (
    'opened', 'acknowledged', 'investigating', 'resolved', 'closed', 'reopened', 'expired', 'merged',
    'repeated', 'seen', 'note', 'escalated', 'exhausted', 'delivery', 'update', 'held', 'released',
    'warned', 'late', 'joined', 'postmortem'
));

-- How long things last; the engine writes what its settings say when it starts. Null: for ever, or never.
create table apm_private.incident_terms (
    is_only boolean primary key default true check (is_only),
    wedding_hold interval default '10 minutes',
    ordinary_hold interval default '4 hours',
    -- so long before a hold runs out its holder is told
    hold_warning interval not null default '2 minutes',
    wedding_promise interval default '15 minutes',
    ordinary_promise interval default '1 hour',
    -- how long a missed promise is its holder's business alone
    promise_grace interval not null default '2 minutes'
);
call apm_private.protect_table('apm_private.incident_terms');
insert into apm_private.incident_terms default values;

create function apm_private.hold_lasts(organization_id uuid, at timestamptz) returns interval
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select case when apm_private.is_wedding_at(hold_lasts.organization_id, hold_lasts.at)
        then t.wedding_hold else t.ordinary_hold end
    from apm_private.incident_terms as t
$$;
call apm_private.hand_over('apm_private.hold_lasts(uuid, timestamptz)');

-- By when there is to be word; null for what is only worth knowing.
create function apm_private.promise_until(organization_id uuid, severity public.alert_severity, at timestamptz)
returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    -- whole minutes: people read it on a clock
    select date_trunc('minute', promise_until.at + case
        when apm_private.is_wedding_at(promise_until.organization_id, promise_until.at) then t.wedding_promise
        else t.ordinary_promise
    end)
    from apm_private.incident_terms as t
    where promise_until.severity >= 'warning'
$$;
call apm_private.hand_over('apm_private.promise_until(uuid, public.alert_severity, timestamptz)');

-- How soon somebody has to look: the severity, a step up while a wedding is under way, and another one for what is not
-- yet critical where the wedding's next part begins within half an hour.
create function apm_private.incident_priority(severity public.alert_severity, phase text, time_left interval)
returns public.alert_priority
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select (array['low', 'medium', 'high', 'critical'])[least(
        4,
        array_position(array['info', 'warning', 'critical', 'emergency'], incident_priority.severity::text)
            + case when incident_priority.phase is not null and incident_priority.severity >= 'warning' then 1 else 0 end
            + case when incident_priority.phase is not null and incident_priority.time_left <= interval '30 minutes' then 1 else 0 end
    )]::public.alert_priority
$$;
revoke all on function apm_private.incident_priority(public.alert_severity, text, interval)
    from public, anon, authenticated, service_role;
grant execute on function apm_private.incident_priority(public.alert_severity, text, interval) to apm_definer, apm_engine;

-- The weddings under way, as an incident keeps them: initials and times, never names. `next_phase` begins at the next
-- milestone; null: the last part ends then.
create or replace function apm_private.weddings_under_way(organization_id uuid, at timestamptz) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with near as (
        select w.*
        from apm_private.wedding_windows_between(
            array[weddings_under_way.organization_id],
            weddings_under_way.at - interval '1 day', weddings_under_way.at + interval '2 days'
        ) as w
        where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
    ), present as (
        select distinct on (n.wedding_id) n.* from near as n
        where n.span @> weddings_under_way.at
        order by n.wedding_id, n.precedence
    )
    select coalesce(jsonb_agg(jsonb_build_object(
        'wedding_id', p.wedding_id, 'phase', p.phase, 'time_zone', p.time_zone, 'wedding_date', p.wedding_date,
        'initials', d.initials, 'next_milestone_at', m.milestone,
        'next_phase', (
            select n.phase from near as n
            where n.wedding_id = p.wedding_id and n.phase <> 'day' and lower(n.span) = m.milestone
            order by n.precedence
            limit 1
        ),
        'ceremony_at', (
            select min(lower(n.span)) from near as n
            where n.wedding_id = p.wedding_id and n.phase = 'ceremony' and lower(n.span) > weddings_under_way.at
        )
    ) order by m.milestone), '[]')
    from present as p
    cross join lateral (
        select min(b.at) from near as n cross join lateral (values (lower(n.span)), (upper(n.span))) as b (at)
        where n.wedding_id = p.wedding_id and n.phase <> 'day' and b.at > weddings_under_way.at
    ) as m (milestone)
    left join apm_private.weddings_between(
        array[weddings_under_way.organization_id], p.wedding_date - 1, p.wedding_date + 1
    ) as d on d.wedding_id = p.wedding_id
$$;
grant execute on function apm_private.weddings_under_way(uuid, timestamptz) to apm_engine;

-- Whatever opens an incident, by rule, check, heartbeat, ladder or hand: whom it hits, how soon somebody has to look, by
-- when there is to be word, and what an engineer reads first.
create function apm_private.begin_incident() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    rule public.apm_alerts%rowtype;
begin
    new.last_seen_at := coalesce(new.last_seen_at, new.detected_at);
    if new.affected_weddings = '[]' then
        new.affected_weddings := apm_private.weddings_under_way(new.organization_id, new.detected_at);
    end if;
    if new.affected_weddings <> '[]' then
        new.was_wedding_day := true;
        new.wedding_date := coalesce(new.wedding_date, (new.affected_weddings -> 0 ->> 'wedding_date')::date);
        new.wedding_phase := coalesce(new.wedding_phase, new.affected_weddings -> 0 ->> 'phase');
    end if;
    new.priority := greatest(new.priority, apm_private.incident_priority(
        new.severity, new.affected_weddings -> 0 ->> 'phase',
        (new.affected_weddings -> 0 ->> 'next_milestone_at')::timestamptz - new.detected_at
    ));
    new.next_update_at := coalesce(
        new.next_update_at, apm_private.promise_until(new.organization_id, new.severity, new.detected_at)
    );
    if new.engineer_text = '' and new.alert_id is not null then
        select r.* into rule from public.apm_alerts as r
        where r.organization_id = new.organization_id and r.id = new.alert_id;
        new.engineer_text := left(concat_ws(
            ' ', rule.aggregation, 'of', nullif(rule.metric_pattern, ''), 'is', new.metric_value,
            'and alarms', rule.comparison_operator, new.threshold_value,
            case when new.threshold_source is not null then '(' || replace(new.threshold_source, '_', ' ') || ')' end
        ), 2000);
    elsif new.engineer_text = '' then
        new.engineer_text := left(new.title || coalesce(': ' || (
            select string_agg(replace(l.key, 'tag.', '') || ' ' || l.value, ', ' order by l.key)
            from jsonb_each_text(new.labels) as l
        ), ''), 2000);
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.begin_incident()');
create trigger apm_incidents_begin before insert on public.apm_incidents
for each row execute function apm_private.begin_incident();

create or replace function apm_private.guard_incident() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
begin
    if new.status = old.status then
        return new;
    end if;
    if not exists (
        select from apm_private.incident_transitions as t
        where t.from_status = old.status and t.to_status = new.status
    ) then
        raise exception 'an incident that is % cannot become %', old.status, new.status
            using errcode = 'AP409', constraint = 'apm_incidents_transition';
    end if;
    new.generation := old.generation + 1;
    new.ack_warned_at := null;
    new.ack_expires_at := case when new.status in ('acknowledged', 'investigating')
        then at + apm_private.hold_lasts(new.organization_id, at) end;
    if new.status in ('open', 'acknowledged', 'investigating')
        and (new.next_update_at is null or new.next_update_at <= at) then
        new.next_update_at := apm_private.promise_until(new.organization_id, new.severity, at);
        new.update_missed_at := null;
    end if;
    case new.status
        when 'acknowledged' then
            new.acknowledged_at := at;
            new.acknowledged_by := apm_private.caller_id();
            new.acknowledged_by_name := apm_private.actor_name();
        when 'investigating' then
            new.investigating_at := at;
            if new.acknowledged_at is null then
                new.acknowledged_at := at;
                new.acknowledged_by := apm_private.caller_id();
                new.acknowledged_by_name := apm_private.actor_name();
            end if;
        when 'resolved' then
            new.resolved_at := at;
            new.resolved_by := apm_private.caller_id();
            new.next_update_at := null;
            new.update_missed_at := null;
        when 'closed' then
            new.closed_at := at;
            new.next_update_at := null;
            new.update_missed_at := null;
        when 'open' then
            new.reopened_at := at;
            new.acknowledged_at := null;
            new.acknowledged_by := null;
            new.acknowledged_by_name := null;
            new.investigating_at := null;
            new.resolved_at := null;
            new.resolved_by := null;
    end case;
    return new;
end
$$;

-- A promise is a word: it renews the hold, and a new one makes up for a missed one.
create function apm_private.renew_by_promise() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
begin
    if new.next_update_at is distinct from old.next_update_at then
        new.update_missed_at := null;
        if new.next_update_at is not null and new.status = old.status and new.status in ('acknowledged', 'investigating') then
            new.ack_expires_at := at + apm_private.hold_lasts(new.organization_id, at);
            new.ack_warned_at := null;
        end if;
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.renew_by_promise()');
create trigger apm_incidents_promise before update of next_update_at on public.apm_incidents
for each row execute function apm_private.renew_by_promise();

-- So is an update by anybody who works on it, and a note by whoever has it: what others write beside them is no sign
-- that he is still there. Who took it by a link or a text has no name that a note could be compared with.
create function apm_private.renew_by_word() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
begin
    update public.apm_incidents as i set
        ack_expires_at = at + apm_private.hold_lasts(i.organization_id, at), ack_warned_at = null
    where i.organization_id = new.organization_id and i.id = new.incident_id
        and i.status in ('acknowledged', 'investigating')
        and (new.kind = 'update' or i.acknowledged_by is null or i.acknowledged_by = new.actor_id);
    return null;
end
$$;
call apm_private.hand_over('apm_private.renew_by_word()');
create trigger apm_incident_events_renew after insert on public.apm_incident_events
for each row when (new.kind in ('note', 'update') and new.actor_id is not null)
execute function apm_private.renew_by_word();

-- How whoever has it is reached himself: his own contacts there, else those that bear his name, else the address by which
-- he signs in.
create function apm_private.contacts_of_holder(organization_id uuid, incident_id uuid)
returns table (contact_method_id uuid, channel public.notification_channel, name text, address text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with held as (
        select i.organization_id, i.acknowledged_by, i.acknowledged_by_name from public.apm_incidents as i
        where i.organization_id = contacts_of_holder.organization_id and i.id = contacts_of_holder.incident_id
            and i.acknowledged_at is not null
    ), reachable as (
        select m.id, m.user_id, m.channel, m.name, m.address, h.acknowledged_by
        from held as h
        join public.apm_contact_methods as m on m.organization_id = h.organization_id and m.disabled_at is null
            and (m.user_id = h.acknowledged_by or m.name = h.acknowledged_by_name)
    ), own as (
        select r.* from reachable as r
        where r.user_id = r.acknowledged_by
            -- who has none under his own name in the list of people is found by what the contact is called
            or not exists (select from reachable as n where n.user_id = n.acknowledged_by)
    )
    select o.id, o.channel, o.name, o.address from own as o
    union all
    select null, 'email', u.display_name, u.email
    from held as h
    join apm_private.users as u on u.id = h.acknowledged_by and u.disabled_at is null
    where not exists (select from own)
$$;
call apm_private.hand_over('apm_private.contacts_of_holder(uuid, uuid)');
grant execute on function apm_private.contacts_of_holder(uuid, uuid) to apm_engine;
