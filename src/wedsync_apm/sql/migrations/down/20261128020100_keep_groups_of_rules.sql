drop trigger apm_notification_rules_route_anew on public.apm_notification_rules;
drop function apm_private.route_anew();
drop trigger apm_notification_rules_part on public.apm_notification_rules;
drop function apm_private.part_from_groups();

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
        select g.*, n.name as rule_name, n.channels, n.wedding_day_override, n.group_interval_seconds,
            n.repeat_interval_seconds, n.is_active
        from public.apm_notification_groups as g
        join public.apm_notification_rules as n on n.organization_id = g.organization_id and n.id = g.rule_id
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
            else due.told_at < ticked_at - make_interval(secs => due.repeat_interval_seconds)
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

create or replace function apm_private.join_groups() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := coalesce(nullif(current_setting('apm.at', true), '')::timestamptz, clock_timestamp());
    is_urgent boolean;
    found record;
    joined uuid;
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
    for found in
        select n.id as rule_id, w.recipients, n.group_wait_seconds, k.labels
        from apm_private.walk_route(new.organization_id, new.id, at) as w
        join public.apm_notification_rules as n on n.organization_id = new.organization_id and n.id = w.rule_id
        cross join lateral (
            select l.labels || jsonb_build_object(
                'wedding', coalesce(new.affected_weddings -> 0 ->> 'wedding_id', '')
            ) as labels
            from apm_private.incident_label_sets(new.organization_id, new.id) as l
            order by l.labels::text
            limit 1
        ) as s
        cross join lateral (
            select case
                when '...' = any (n.group_by) then s.labels || jsonb_build_object('incident', new.dedup_key)
                else (select coalesce(jsonb_object_agg(g.label, coalesce(s.labels ->> g.label, '')), '{}')
                    from unnest(n.group_by) as g (label))
            end as labels
        ) as k
        where w.is_taken and w.recipients <> '[]'
        order by n.id
    loop
        insert into public.apm_notification_groups as g
            (organization_id, rule_id, labels, recipients, next_at, created_at)
        values (
            new.organization_id, found.rule_id, found.labels, found.recipients,
            at + make_interval(secs => found.group_wait_seconds), at
        )
        on conflict (organization_id, rule_id, labels) do update set
            recipients = excluded.recipients,
            empty_since = null,
            -- whoever has waited for long enough before he joins does not wait again
            next_at = case
                when not g.has_ticked
                    and coalesce(new.reopened_at, new.detected_at) + make_interval(secs => found.group_wait_seconds) < at
                    then least(g.next_at, at)
                else g.next_at
            end
        returning g.id into joined;
        insert into apm_private.notification_group_members (organization_id, group_id, incident_id)
        values (new.organization_id, joined, new.id)
        on conflict do nothing;
        if is_urgent then
            update public.apm_notification_groups as g set next_at = least(g.next_at, at)
            where g.organization_id = new.organization_id and g.id = joined;
        end if;
    end loop;
    return null;
end
$$;

drop function apm_private.join_groups_of(public.apm_incidents, timestamptz);
delete from public.apm_notification_groups where rule_id is null;
alter table public.apm_notification_groups
    drop constraint apm_notification_groups_organization_fkey,
    drop column parting,
    alter column rule_id set not null;
