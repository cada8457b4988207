drop trigger apm_incident_events_renew on public.apm_incident_events;
drop trigger apm_incidents_promise on public.apm_incidents;
drop trigger apm_incidents_begin on public.apm_incidents;
drop function apm_private.contacts_of_holder(uuid, uuid);
drop function apm_private.renew_by_word();
drop function apm_private.renew_by_promise();
drop function apm_private.begin_incident();

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
        when 'closed' then
            new.closed_at := at;
            new.next_update_at := null;
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
        'initials', d.initials, 'next_milestone_at', m.milestone
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
revoke execute on function apm_private.weddings_under_way(uuid, timestamptz) from apm_engine;

drop function apm_private.incident_priority(public.alert_severity, text, interval);
drop function apm_private.promise_until(uuid, public.alert_severity, timestamptz);
drop function apm_private.hold_lasts(uuid, timestamptz);
drop table apm_private.incident_terms;
-- what the narrower list has no word for is kept as a note
alter table public.apm_incident_events drop constraint apm_incident_events_kind_check;
update public.apm_incident_events set kind = 'note' where kind in ('warned', 'late', 'joined', 'postmortem');
alter table public.apm_incident_events add constraint apm_incident_events_kind_check check (kind in (
    'opened', 'acknowledged', 'investigating', 'resolved', 'closed', 'reopened', 'expired', 'merged',
    'repeated', 'seen', 'note', 'escalated', 'exhausted', 'delivery', 'update', 'held', 'released'
));
drop index public.idx_apm_incidents_promise_due;
drop index public.idx_apm_incidents_ack_due;
alter table public.apm_incidents
    drop column update_missed_at,
    drop column ack_warned_at,
    drop column ack_expires_at,
    drop column engineer_text;
