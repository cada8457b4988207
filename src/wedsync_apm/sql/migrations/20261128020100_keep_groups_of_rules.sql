-- pre: APM extended: what a rule's groups still have to tell outlives the rule.

alter table public.apm_notification_groups
    alter column rule_id drop not null,
    -- of a rule that is gone, how it told what it had: {"rule_id", "rule", "channels", "wedding_day_override",
    -- "group_interval_seconds", "is_active"}
    add column parting jsonb constraint apm_notification_groups_parting_check
        check ((parting is null) = (rule_id is not null)),
    add constraint apm_notification_groups_organization_fkey foreign key (organization_id)
        references public.organizations (id) on delete cascade;

-- Puts an incident into a group of each rule that takes it at an instant.
create function apm_private.join_groups_of(incident public.apm_incidents, at timestamptz) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    is_urgent boolean := apm_private.is_urgent(incident, at);
    found record;
    is_there boolean;
    joined uuid;
begin
    for found in
        select n.id as rule_id, w.recipients, n.group_wait_seconds, k.labels
        from apm_private.walk_route(incident.organization_id, incident.id, join_groups_of.at) as w
        join public.apm_notification_rules as n on n.organization_id = incident.organization_id and n.id = w.rule_id
        cross join lateral (
            select l.labels || jsonb_build_object(
                'wedding', coalesce(incident.affected_weddings -> 0 ->> 'wedding_id', '')
            ) as labels
            from apm_private.incident_label_sets(incident.organization_id, incident.id) as l
            order by l.labels::text
            limit 1
        ) as s
        cross join lateral (
            select case
                when '...' = any (n.group_by) then s.labels || jsonb_build_object('incident', incident.dedup_key)
                else (select coalesce(jsonb_object_agg(g.label, coalesce(s.labels ->> g.label, '')), '{}')
                    from unnest(n.group_by) as g (label))
            end as labels
        ) as k
        where w.is_taken and w.recipients <> '[]'
        order by n.id
    loop
        -- a rule that goes at this moment takes nothing more
        select true into is_there from public.apm_notification_rules as n
        where n.organization_id = incident.organization_id and n.id = found.rule_id
        for key share;
        continue when is_there is null;
        insert into public.apm_notification_groups as g
            (organization_id, rule_id, labels, recipients, next_at, created_at)
        values (
            incident.organization_id, found.rule_id, found.labels, found.recipients,
            at + make_interval(secs => found.group_wait_seconds), at
        )
        on conflict (organization_id, rule_id, labels) do update set
            recipients = excluded.recipients,
            empty_since = null,
            -- whoever has waited for long enough before he joins does not wait again
            next_at = case
                when not g.has_ticked
                    and coalesce(incident.reopened_at, incident.detected_at) + make_interval(secs => found.group_wait_seconds) < at
                    then least(g.next_at, at)
                else g.next_at
            end
        returning g.id into joined;
        insert into apm_private.notification_group_members (organization_id, group_id, incident_id)
        values (incident.organization_id, joined, incident.id)
        on conflict do nothing;
        if is_urgent then
            update public.apm_notification_groups as g set next_at = least(g.next_at, at)
            where g.organization_id = incident.organization_id and g.id = joined;
        end if;
    end loop;
end
$$;
call apm_private.hand_over('apm_private.join_groups_of(public.apm_incidents, timestamptz)');

-- As before.
create or replace function apm_private.join_groups() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    is_urgent boolean;
begin
    if new.status <> 'open' then
        return null;
    end if;
    is_urgent := apm_private.is_urgent(new, at);
    if tg_op = 'UPDATE' and new.status = old.status then
        -- It got worse, or a wedding has come to it.
        if is_urgent then
            update public.apm_notification_groups as g set next_at = least(g.next_at, at)
            from apm_private.notification_group_members as m
            where m.organization_id = new.organization_id and m.incident_id = new.id
                and g.organization_id = m.organization_id and g.id = m.group_id;
        end if;
        return null;
    end if;
    perform apm_private.join_groups_of(new, at);
    return null;
end
$$;

-- A rule that goes takes nothing more. What its groups have is told to its end as the rule had it, but not again and
-- again.
create function apm_private.part_from_groups() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.apm_notification_groups as g set
        rule_id = null,
        parting = jsonb_build_object(
            'rule_id', old.id, 'rule', old.name, 'channels', old.channels,
            'wedding_day_override', old.wedding_day_override, 'group_interval_seconds', old.group_interval_seconds,
            'is_active', old.is_active
        )
    where g.organization_id = old.organization_id and g.rule_id = old.id;
    return old;
end
$$;
call apm_private.hand_over('apm_private.part_from_groups()');
create trigger apm_notification_rules_part before delete on public.apm_notification_rules
for each row execute function apm_private.part_from_groups();

-- What nobody was told of yet goes to the rule that takes it now. Where none does, the group that is left tells it.
create function apm_private.route_anew() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    waiting record;
begin
    for waiting in
        select g.id as group_id, i as incident
        from public.apm_notification_groups as g
        join apm_private.notification_group_members as m on m.organization_id = g.organization_id and m.group_id = g.id
        join public.apm_incidents as i on i.organization_id = m.organization_id and i.id = m.incident_id
        where g.organization_id = old.organization_id and g.parting ->> 'rule_id' = old.id::text
            and i.status in ('open', 'acknowledged', 'investigating') and i.dedup_key <> all (g.told_firing)
            and exists (
                select from apm_private.walk_route(i.organization_id, i.id, at) as w
                where w.is_taken and w.recipients <> '[]'
            )
    loop
        delete from apm_private.notification_group_members as m
        where m.organization_id = old.organization_id and m.group_id = waiting.group_id
            and m.incident_id = (waiting.incident).id;
        perform apm_private.join_groups_of(waiting.incident, at);
    end loop;
    return null;
end
$$;
call apm_private.hand_over('apm_private.route_anew()');
create trigger apm_notification_rules_route_anew after delete on public.apm_notification_rules
for each row execute function apm_private.route_anew();

-- As before; a group whose rule is gone tells what it has, and its end.
create or replace function apm_private.tick_groups(at timestamptz, most int) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    due record;
    this record;
    ticked_at timestamptz;
    is_needed boolean;
    told int := 0;
    count int;
begin
    for due in
        select g.*, coalesce(n.name, g.parting ->> 'rule') as rule_name,
            coalesce(n.channels, array(
                select c.channel::public.notification_channel
                from jsonb_array_elements_text(g.parting -> 'channels') as c (channel)
            )) as channels,
            coalesce(n.wedding_day_override, (g.parting ->> 'wedding_day_override')::boolean) as wedding_day_override,
            coalesce(n.group_interval_seconds, (g.parting ->> 'group_interval_seconds')::float8) as group_interval_seconds,
            n.repeat_interval_seconds,
            coalesce(n.is_active, (g.parting ->> 'is_active')::boolean) as is_active
        from public.apm_notification_groups as g
        left join public.apm_notification_rules as n on n.organization_id = g.organization_id and n.id = g.rule_id
        where g.next_at <= tick_groups.at
        order by g.next_at
        limit tick_groups.most
        for update of g skip locked
    loop
        -- an engine that comes late within an interval does not shift the ones to come
        ticked_at := case
            when due.next_at + make_interval(secs => due.group_interval_seconds) > tick_groups.at then due.next_at
            else tick_groups.at
        end;
        select coalesce(array_agg(m.dedup_key) filter (where m.is_live and not m.is_held), '{}') as firing,
            coalesce(array_agg(m.dedup_key) filter (where not m.is_live), '{}') as resolved,
            coalesce(array_agg(m.dedup_key) filter (where m.is_live and m.is_held), '{}') as held,
            count(*) as members, coalesce(bool_or(m.is_urgent and m.is_live), false) as is_urgent,
            max(m.severity) filter (where m.is_live and not m.is_held) as worst,
            coalesce(jsonb_agg(m.said order by m.severity desc, m.detected_at) filter (where m.is_live and not m.is_held), '[]')
                as said_firing,
            coalesce(jsonb_agg(m.said order by m.severity desc, m.detected_at) filter (where not m.is_live), '[]')
                as said_resolved
        into this
        from (
            select i.dedup_key, i.severity, i.detected_at,
                i.status in ('open', 'acknowledged', 'investigating') as is_live,
                exists (
                    select from apm_private.held_back_by(i.organization_id, i.id, tick_groups.at)
                ) as is_held,
                apm_private.is_urgent(i, tick_groups.at) as is_urgent,
                jsonb_build_object(
                    'incident_id', i.id, 'number', i.number, 'title', i.title, 'severity', i.severity, 'status', i.status,
                    'detected_at', i.detected_at, 'resolved_at', i.resolved_at, 'by', i.acknowledged_by_name
                ) as said
            from apm_private.notification_group_members as m
            join public.apm_incidents as i on i.organization_id = m.organization_id and i.id = m.incident_id
            where m.organization_id = due.organization_id and m.group_id = due.id
        ) as m;
        if this.members = 0 then
            if due.empty_since + interval '30 seconds' <= tick_groups.at then
                delete from public.apm_notification_groups as g
                where g.organization_id = due.organization_id and g.id = due.id;
            else
                update public.apm_notification_groups as g set
                    next_at = ticked_at + make_interval(secs => due.group_interval_seconds), has_ticked = true,
                    empty_since = coalesce(g.empty_since, tick_groups.at)
                where g.organization_id = due.organization_id and g.id = due.id;
            end if;
            continue;
        end if;
        is_needed := case
            -- of a rule that is off by now only the end is told
            when not due.is_active then due.told_firing && this.resolved
            when not this.firing <@ due.told_firing then true
            when this.firing = '{}' then this.resolved <> '{}'
                and (due.told_firing && this.resolved or (this.held = '{}' and due.told_firing <> '{}'))
            when not this.resolved <@ due.told_resolved then true
            -- what a rule that is gone has told is not told again
            else due.rule_id is not null
                and due.told_at < ticked_at - make_interval(secs => due.repeat_interval_seconds)
        end;
        if is_needed then
            insert into public.apm_deliveries (
                organization_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key, priority,
                due_at, created_at
            )
            select due.organization_id, m.id, m.channel, 'group',
                case when this.firing = '{}' then 'resolved' when this.firing <@ due.told_firing
                    and this.resolved <@ due.told_resolved then 'repeat' else 'first' end,
                jsonb_build_object('name', m.name, 'address', m.address),
                jsonb_build_object(
                    'group_id', due.id, 'rule', due.rule_name, 'labels', due.labels, 'is_urgent', this.is_urgent,
                    'firing', this.said_firing, 'resolved', this.said_resolved
                ),
                concat_ws(':', 'group', due.id, extract(epoch from ticked_at), m.id),
                case when this.is_urgent then 135
                    else 50 + 10 * coalesce(array_position(enum_range(null::public.alert_severity), this.worst), 1) end,
                tick_groups.at, tick_groups.at
            from apm_private.contacts_of_recipients(
                due.organization_id, due.recipients, due.channels,
                due.wedding_day_override and apm_private.is_wedding_at(due.organization_id, tick_groups.at), tick_groups.at
            ) as r
            join public.apm_contact_methods as m on m.organization_id = due.organization_id and m.id = r.contact_method_id
            on conflict (organization_id, idempotency_key) do nothing;
            get diagnostics count = row_count;
            told := told + count;
        end if;
        delete from apm_private.notification_group_members as m
        using public.apm_incidents as i
        where m.organization_id = due.organization_id and m.group_id = due.id
            and i.organization_id = m.organization_id and i.id = m.incident_id
            and i.status not in ('open', 'acknowledged', 'investigating');
        update public.apm_notification_groups as g set
            next_at = ticked_at + make_interval(secs => due.group_interval_seconds), has_ticked = true, empty_since = null,
            told_at = case when is_needed then ticked_at else g.told_at end,
            -- what is silenced now is not forgotten: who was told of it is told its end
            told_firing = case when is_needed then this.firing || array(
                select k.key from unnest(g.told_firing) as k (key) where k.key = any (this.held)
            ) else g.told_firing end,
            told_resolved = case when is_needed then this.resolved else g.told_resolved end
        where g.organization_id = due.organization_id and g.id = due.id;
    end loop;
    return told;
end
$$;
