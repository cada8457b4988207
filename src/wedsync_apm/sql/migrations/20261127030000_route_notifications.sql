-- pre: APM extended: notification rules are a tree that an incident walks down, and what they tell is told in groups.

alter table public.apm_notification_rules
    add column parent_id uuid,
    -- Alertmanager's `continue`: the rules after it are asked too
    add column continues boolean not null default false,
    add column matchers jsonb not null default '[]',
    add column wedding text not null default 'any'
        constraint apm_notification_rules_wedding_check check (wedding in ('any', 'during', 'outside')),
    -- '...' keeps each incident by itself; '{}' puts all into one
    add column group_by text[] not null default array['wedding', 'service'],
    add column group_wait_seconds float8 not null default 30
        constraint apm_notification_rules_group_wait_check check (group_wait_seconds between 0 and 86400),
    add column group_interval_seconds float8 not null default 300
        constraint apm_notification_rules_group_interval_check check (group_interval_seconds between 1 and 86400),
    add column repeat_interval_seconds float8 not null default 14400
        constraint apm_notification_rules_repeat_interval_check check (repeat_interval_seconds between 1 and 2592000),
    add constraint apm_notification_rules_parent_fkey foreign key (organization_id, parent_id)
        references public.apm_notification_rules (organization_id, id) on delete cascade;
-- walk_rules: the rules below one; the cascade when it goes
create index idx_apm_notification_rules_parent on public.apm_notification_rules (organization_id, parent_id, position);
grant insert (parent_id, continues, matchers, wedding, group_by, group_wait_seconds, group_interval_seconds, repeat_interval_seconds),
    update (parent_id, continues, matchers, wedding, group_by, group_wait_seconds, group_interval_seconds, repeat_interval_seconds)
    on public.apm_notification_rules to authenticated;

-- Of several contacts of one person, which is tried first: the lower.
alter table public.apm_contact_methods add column preference int not null default 100
    constraint apm_contact_methods_preference_check check (preference between 0 and 100000);
grant select (preference), insert (preference), update (preference) on public.apm_contact_methods to authenticated;

create function apm_private.check_notification_rule() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    fault text := apm_private.fault_of_matchers(new.matchers, 0);
    above uuid := new.parent_id;
    depth int := 1;
begin
    if fault is not null then
        raise exception '%', fault using errcode = 'check_violation', constraint = 'matchers', table = tg_table_name;
    end if;
    if cardinality(new.group_by) > 20 or exists (
        select from unnest(new.group_by) as g (label)
        where g.label is null or g.label !~ '^(\.\.\.|wedding|service|metric|rule|severity|tag\..{1,128})$'
    ) then
        raise exception 'a label is wedding, service, metric, rule, severity or tag.<name>; ... keeps each by itself'
            using errcode = 'check_violation', constraint = 'group_by', table = tg_table_name;
    end if;
    if jsonb_array_length(new.recipients) > 100 or exists (
        select from jsonb_array_elements(new.recipients) as r (one)
        where jsonb_typeof(r.one) <> 'object' or (select count(*) from jsonb_object_keys(r.one)) <> 1
            or coalesce(r.one ->> 'contact_method_id', r.one ->> 'user_id', r.one ->> 'schedule_id', '')
                !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
    ) then
        raise exception 'a recipient is one of contact_method_id, user_id and schedule_id'
            using errcode = 'check_violation', constraint = 'recipients', table = tg_table_name;
    end if;
    -- Two that are hung below each other at one moment would be above themselves.
    perform pg_advisory_xact_lock(hashtextextended('notification rules ' || new.organization_id, 0));
    while above is not null loop
        depth := depth + 1;
        if above = new.id or depth > 10 then
            raise exception 'a rule cannot stand below itself, nor more than ten deep'
                using errcode = 'check_violation', constraint = 'parent_id', table = tg_table_name;
        end if;
        select n.parent_id into above from public.apm_notification_rules as n
        where n.organization_id = new.organization_id and n.id = above;
    end loop;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_notification_rule()');
create trigger apm_notification_rules_check
before insert or update of parent_id, matchers, group_by, recipients on public.apm_notification_rules
for each row execute function apm_private.check_notification_rule();

-- The rules below one (null: the whole tree) as an incident meets them, and what each says. As with Alertmanager's
-- routes: what fits a rule is taken by the rules below it, or by itself where none of those fits; the rules beside it
-- are asked only if it continues. A rule without a ladder or recipients has those of the rule above.
create function apm_private.walk_rules(
    organization_id uuid, parent_id uuid, label_sets jsonb, severity public.alert_severity, is_wedding boolean, depth int,
    ladder_above uuid, recipients_above jsonb
) returns table (
    rule_id uuid, level int, verdict text, is_taken boolean, escalation_policy_id uuid, recipients jsonb
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    rule public.apm_notification_rules%rowtype;
    below record;
    is_taken_below boolean;
    taken_by text;
    why_not text;
begin
    for rule in
        select n.* from public.apm_notification_rules as n
        where n.organization_id = walk_rules.organization_id and n.parent_id is not distinct from walk_rules.parent_id
            and n.is_active
        order by n.position, n.created_at, n.id
    loop
        rule_id := rule.id;
        level := walk_rules.depth;
        is_taken := false;
        escalation_policy_id := coalesce(rule.escalation_policy_id, walk_rules.ladder_above);
        recipients := case when rule.recipients = '[]' then walk_rules.recipients_above else rule.recipients end;
        why_not := case
            when taken_by is not null then 'not asked: ' || taken_by || ' has it, and does not continue'
            when walk_rules.severity < rule.severity_min then 'it is less severe than ' || rule.severity_min
            when rule.wedding = 'during' and not walk_rules.is_wedding then 'no wedding is under way'
            when rule.wedding = 'outside' and walk_rules.is_wedding then 'a wedding is under way'
            when rule.matchers <> '[]' and not exists (
                select from jsonb_array_elements(walk_rules.label_sets) as l (labels)
                where apm_private.do_matchers_match(rule.matchers, l.labels)
            ) then 'its labels do not match'
        end;
        if why_not is not null then
            verdict := why_not;
            return next;
            continue;
        end if;
        is_taken_below := exists (
            select from apm_private.walk_rules(
                walk_rules.organization_id, rule.id, walk_rules.label_sets, walk_rules.severity, walk_rules.is_wedding,
                walk_rules.depth + 1, escalation_policy_id, recipients
            ) as b where b.is_taken
        );
        is_taken := not is_taken_below;
        verdict := case when is_taken_below then 'it fits, and a rule below takes it' else 'it fits' end;
        return next;
        for below in
            select b.* from apm_private.walk_rules(
                walk_rules.organization_id, rule.id, walk_rules.label_sets, walk_rules.severity, walk_rules.is_wedding,
                walk_rules.depth + 1, escalation_policy_id, recipients
            ) as b
        loop
            rule_id := below.rule_id;
            level := below.level;
            verdict := below.verdict;
            is_taken := below.is_taken;
            escalation_policy_id := below.escalation_policy_id;
            recipients := below.recipients;
            return next;
        end loop;
        if not rule.continues then
            taken_by := rule.name;
        end if;
    end loop;
end
$$;
call apm_private.hand_over(
    'apm_private.walk_rules(uuid, uuid, jsonb, public.alert_severity, boolean, int, uuid, jsonb)'
);

-- The way of one incident through the tree at an instant: every rule in the order of asking, and those that take it.
create function apm_private.walk_route(organization_id uuid, incident_id uuid, at timestamptz)
returns table (
    ordinal bigint, rule_id uuid, level int, verdict text, is_taken boolean, escalation_policy_id uuid, recipients jsonb
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select row_number() over (), w.rule_id, w.level, w.verdict, w.is_taken, w.escalation_policy_id, w.recipients
    from public.apm_incidents as i
    cross join lateral (
        select coalesce(jsonb_agg(l.labels), '[{}]') as label_sets
        from apm_private.incident_label_sets(i.organization_id, i.id) as l
    ) as l
    cross join lateral apm_private.walk_rules(
        i.organization_id, null, l.label_sets, i.severity,
        i.was_wedding_day or apm_private.is_wedding_at(i.organization_id, walk_route.at), 0, null, '[]'
    ) as w
    where i.organization_id = walk_route.organization_id and i.id = walk_route.incident_id
        -- nearly always there is no rule, and then nothing of this is looked at
        and exists (
            select from public.apm_notification_rules as n where n.organization_id = i.organization_id and n.is_active
        )
$$;
call apm_private.hand_over('apm_private.walk_route(uuid, uuid, timestamptz)');

-- The ladder that the tree leads an incident to; null: none, so that the default's is climbed.
create function apm_private.ladder_by_route(organization_id uuid, incident_id uuid, at timestamptz) returns uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.escalation_policy_id
    from apm_private.walk_route(
        ladder_by_route.organization_id, ladder_by_route.incident_id, ladder_by_route.at
    ) as w
    where w.is_taken and w.escalation_policy_id is not null
    order by w.ordinal
    limit 1
$$;
call apm_private.hand_over('apm_private.ladder_by_route(uuid, uuid, timestamptz)');

-- What a rule tells is told in groups: one for each set of values of its labels. Each has one timer.
create table public.apm_notification_groups (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null,
    rule_id uuid not null,
    labels jsonb not null,
    recipients jsonb not null,
    next_at timestamptz not null,
    -- after its first tick, what joins waits for the next one
    has_ticked boolean not null default false,
    empty_since timestamptz,
    -- what its receivers know: the dedup keys in the last message, and when that was decided
    told_at timestamptz,
    told_firing text[] not null default '{}',
    told_resolved text[] not null default '{}',
    created_at timestamptz not null,
    primary key (organization_id, id),
    constraint apm_notification_groups_key unique (organization_id, rule_id, labels),
    foreign key (organization_id, rule_id) references public.apm_notification_rules (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_notification_groups');
-- tick_groups: over all organizations, the most overdue first
create index idx_apm_notification_groups_due on public.apm_notification_groups (next_at);
grant select on public.apm_notification_groups to authenticated;
create policy apm_notification_groups_authenticated_select on public.apm_notification_groups for select to authenticated
using (
    organization_id = any ((select public.apm_current_organization_ids())::uuid[])
    or (select public.apm_operator_role()) is not null
);

create table apm_private.notification_group_members (
    organization_id uuid not null,
    group_id uuid not null,
    incident_id uuid not null,
    primary key (organization_id, group_id, incident_id),
    foreign key (organization_id, group_id) references public.apm_notification_groups (organization_id, id) on delete cascade,
    foreign key (organization_id, incident_id) references public.apm_incidents (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.notification_group_members');
-- join_groups, and the cascade when an incident goes
create index idx_apm_notification_group_members_incident on apm_private.notification_group_members (organization_id, incident_id);

-- Whether an incident waits for nothing: an emergency, or what is critical while a wedding is under way.
create function apm_private.is_urgent(incident public.apm_incidents, at timestamptz) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select incident.severity = 'emergency' or (
        incident.severity = 'critical'
        and (incident.was_wedding_day or apm_private.is_wedding_at(incident.organization_id, is_urgent.at))
    )
$$;
call apm_private.hand_over('apm_private.is_urgent(public.apm_incidents, timestamptz)');

create function apm_private.join_groups() returns trigger
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
call apm_private.hand_over('apm_private.join_groups()');
create trigger apm_incidents_join_groups after insert or update of status, severity, was_wedding_day on public.apm_incidents
for each row execute function apm_private.join_groups();

-- Whom a contact reaches: the member, else whoever has the name.
create function apm_private.person_of(contact public.apm_contact_methods) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(contact.user_id::text, 'named ' || lower(contact.name))
$$;
call apm_private.hand_over('apm_private.person_of(public.apm_contact_methods)');
grant execute on function apm_private.person_of(public.apm_contact_methods) to apm_engine;

-- Whom recipients mean at an instant. Of a person: the contact that he likes best among those that may be used; one that
-- is proven goes before, and in a wedding window the channel does not matter.
create function apm_private.contacts_of_recipients(
    organization_id uuid, recipients jsonb, channels public.notification_channel[], is_any_channel boolean, at timestamptz
) returns table (contact_method_id uuid)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select m.id
    from jsonb_array_elements(contacts_of_recipients.recipients) as r (one)
    join public.apm_contact_methods as m on m.organization_id = contacts_of_recipients.organization_id
        and m.id = (r.one ->> 'contact_method_id')::uuid
    union
    select chosen.id
    from (
        select (r.one ->> 'user_id')::uuid as user_id, null::uuid as contact_id
        from jsonb_array_elements(contacts_of_recipients.recipients) as r (one)
        where r.one ? 'user_id'
        union
        select null, oncall.id
        from jsonb_array_elements(contacts_of_recipients.recipients) as r (one)
        cross join lateral apm_private.contacts_on_call(
            contacts_of_recipients.organization_id, (r.one ->> 'schedule_id')::uuid, contacts_of_recipients.at
        ) as oncall (id)
        where r.one ? 'schedule_id'
    ) as wanted
    join public.apm_contact_methods as named on named.organization_id = contacts_of_recipients.organization_id
        and (named.id = wanted.contact_id or (wanted.contact_id is null and named.user_id = wanted.user_id))
    cross join lateral (
        select m.id from public.apm_contact_methods as m
        where m.organization_id = named.organization_id and m.disabled_at is null
            and apm_private.person_of(m) = apm_private.person_of(named)
        order by m.verified_at is null,
            not (contacts_of_recipients.is_any_channel or m.channel = any (contacts_of_recipients.channels)),
            m.preference, m.created_at, m.id
        limit 1
    ) as chosen
$$;
call apm_private.hand_over(
    'apm_private.contacts_of_recipients(uuid, jsonb, public.notification_channel[], boolean, timestamptz)'
);

-- One tick of every group that is due, by Alertmanager's rules: a group whose firing are all known to its receivers, with
-- no end that is new to them, is told again after the repeat interval, which is asked at ticks only; what was over before
-- it was ever told is not told. Unlike there, what somebody was told of is told to its end although it is silenced by then.
-- Returns how many messages were put in line.
create function apm_private.tick_groups(at timestamptz, most int) returns int
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
call apm_private.hand_over('apm_private.tick_groups(timestamptz, int)');
grant execute on function apm_private.tick_groups(timestamptz, int) to apm_engine;

-- Which rule takes an incident, and why the others do not: the walk itself, for a person who may see the incident.
create function public.apm_explain_route(incident_id uuid, at timestamptz default now())
returns table (
    ordinal bigint, rule_id uuid, parent_id uuid, name text, level int, verdict text, is_taken boolean,
    escalation_policy_id uuid, recipients jsonb, group_id uuid, group_labels jsonb, next_at timestamptz, told_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.ordinal, w.rule_id, n.parent_id, n.name, w.level, w.verdict, w.is_taken, w.escalation_policy_id, w.recipients,
        g.id, g.labels, g.next_at, g.told_at
    from public.apm_incidents as i
    cross join lateral apm_private.walk_route(i.organization_id, i.id, apm_explain_route.at) as w
    join public.apm_notification_rules as n on n.organization_id = i.organization_id and n.id = w.rule_id
    left join lateral (
        select g.* from public.apm_notification_groups as g
        join apm_private.notification_group_members as m
            on m.organization_id = g.organization_id and m.group_id = g.id and m.incident_id = i.id
        where g.organization_id = i.organization_id and g.rule_id = w.rule_id
        limit 1
    ) as g on true
    where i.id = apm_explain_route.incident_id
        and (
            apm_private.is_service() or i.organization_id = any (public.apm_organization_ids_as('MEMBER'))
            or public.apm_operator_role() is not null
        )
    order by w.ordinal
$$;
call apm_private.hand_over('public.apm_explain_route(uuid, timestamptz)');
grant execute on function public.apm_explain_route(uuid, timestamptz) to authenticated;
