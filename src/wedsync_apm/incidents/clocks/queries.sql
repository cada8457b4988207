-- The clocks of live incidents, as the engine, over all organizations. Each timer is a row, each step one statement.

-- write_terms [apm_engine] --
-- How long holds and promises last, as the settings say; nothing where it stands so already.
update apm_private.incident_terms as t set
    wedding_hold = %(wedding_hold)s::interval, ordinary_hold = %(ordinary_hold)s::interval,
    wedding_promise = %(wedding_promise)s::interval, ordinary_promise = %(ordinary_promise)s::interval
where (t.wedding_hold, t.ordinary_hold, t.wedding_promise, t.ordinary_promise) is distinct from (
    %(wedding_hold)s::interval, %(ordinary_hold)s::interval, %(wedding_promise)s::interval, %(ordinary_promise)s::interval
)

-- set_acting [apm_engine] --
-- What the timeline calls whoever acts in this transaction, when, and why.
select set_config('apm.actor', 'clock', true), set_config('apm.at', %(at)s::timestamptz::text, true),
    set_config('apm.note', %(note)s::text, true)

-- expire_acknowledgements [apm_engine] --
-- Holds without a word, and missed promises that their holders did not make up for: open again, so the ladder starts anew.
with due as (
    select i.organization_id, i.id
    from public.apm_incidents as i
    cross join apm_private.incident_terms as t
    where i.status in ('acknowledged', 'investigating')
        and (
            i.ack_expires_at <= %(at)s::timestamptz
            or (i.update_missed_at is not null and i.update_missed_at + t.promise_grace <= %(at)s::timestamptz)
        )
    order by i.ack_expires_at
    limit %(limit)s::int
    for update of i skip locked
)
update public.apm_incidents as i set status = 'open'
from due as d
where i.organization_id = d.organization_id and i.id = d.id
returning i.organization_id, i.id as incident_id

-- warn_holders [apm_engine] --
-- Tells whoever has it that his hold is about to run out.
with due as (
    select i.organization_id, i.id, i.ack_expires_at, i.generation, i.severity
    from public.apm_incidents as i
    cross join apm_private.incident_terms as t
    where i.status in ('acknowledged', 'investigating') and i.ack_warned_at is null
        and i.ack_expires_at <= %(at)s::timestamptz + t.hold_warning and i.ack_expires_at > %(at)s::timestamptz
    order by i.ack_expires_at
    limit %(limit)s::int
    for update of i skip locked
),
warned as (
    update public.apm_incidents as i set ack_warned_at = %(at)s::timestamptz
    from due as d
    where i.organization_id = d.organization_id and i.id = d.id
    returning i.organization_id, i.id
),
written as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select d.organization_id, d.id, %(at)s::timestamptz, 'warned', 'clock', '',
        jsonb_build_object('ack_expires_at', d.ack_expires_at)
    from due as d
),
told as (
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, generation
    )
    select d.organization_id, d.id, c.contact_method_id, c.channel, 'update', 'reminder',
        jsonb_build_object('name', c.name, 'address', c.address),
        jsonb_build_object('word', 'hold_ends', 'until', d.ack_expires_at),
        concat_ws(':', 'hold', d.id, extract(epoch from d.ack_expires_at), coalesce(c.contact_method_id::text, c.address)),
        100 + 10 * array_position(array['info', 'warning', 'critical', 'emergency'], d.severity::text),
        %(at)s::timestamptz, d.generation
    from due as d
    cross join lateral apm_private.contacts_of_holder(d.organization_id, d.id) as c
    on conflict (organization_id, idempotency_key) do nothing
)
select w.organization_id, w.id as incident_id
from warned as w

-- miss_promises [apm_engine] --
-- Promised updates that did not come: whoever has it is told; where nobody has it, the next person is called now.
with due as (
    select i.organization_id, i.id, i.status, i.next_update_at, i.generation, i.severity
    from public.apm_incidents as i
    where i.next_update_at <= %(at)s::timestamptz and i.update_missed_at is null
        and i.status in ('open', 'acknowledged', 'investigating')
    order by i.next_update_at
    limit %(limit)s::int
    for update of i skip locked
),
missed as (
    update public.apm_incidents as i set update_missed_at = %(at)s::timestamptz
    from due as d
    where i.organization_id = d.organization_id and i.id = d.id
    returning i.organization_id, i.id
),
hurried as (
    update public.apm_escalation_runs as r set next_at = least(r.next_at, %(at)s::timestamptz)
    from due as d
    where r.organization_id = d.organization_id and r.incident_id = d.id and r.state = 'running' and d.status = 'open'
),
written as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select d.organization_id, d.id, %(at)s::timestamptz, 'late', 'clock', '',
        jsonb_build_object('next_update_at', d.next_update_at)
    from due as d
),
told as (
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, generation
    )
    select d.organization_id, d.id, c.contact_method_id, c.channel, 'update', 'reminder',
        jsonb_build_object('name', c.name, 'address', c.address),
        jsonb_build_object('word', 'promise_missed', 'until', %(at)s::timestamptz + t.promise_grace),
        concat_ws(':', 'late', d.id, extract(epoch from d.next_update_at), coalesce(c.contact_method_id::text, c.address)),
        100 + 10 * array_position(array['info', 'warning', 'critical', 'emergency'], d.severity::text),
        %(at)s::timestamptz, d.generation
    from due as d
    cross join apm_private.incident_terms as t
    cross join lateral apm_private.contacts_of_holder(d.organization_id, d.id) as c
    where d.status <> 'open'
    on conflict (organization_id, idempotency_key) do nothing
)
select m.organization_id, m.id as incident_id
from missed as m

-- keep_current [apm_engine] --
-- Which weddings a live incident hits now, how soon it has to be looked at, and the shorter hold that a wedding brings. What
-- has not changed is not written.
with live as (
    select i.organization_id, i.id, i.status, i.severity, i.priority, i.affected_weddings, i.ack_expires_at
    from public.apm_incidents as i
    where i.status in ('open', 'acknowledged', 'investigating')
        -- the platform's own about one wedding keep what their parts say
        and i.dedup_key not like 'wedding:1:%%'
),
places as materialized (
    select o.organization_id, apm_private.weddings_under_way(o.organization_id, %(at)s::timestamptz) as found
    from (select distinct l.organization_id from live as l) as o
),
placed as (
    select l.organization_id, l.id, l.priority, l.affected_weddings, l.ack_expires_at, p.found,
        greatest(l.priority, apm_private.incident_priority(
            l.severity, p.found -> 0 ->> 'phase', (p.found -> 0 ->> 'next_milestone_at')::timestamptz - %(at)s::timestamptz
        )) as priority_now,
        case when p.found <> '[]' and l.status <> 'open'
            then least(l.ack_expires_at, %(at)s::timestamptz + t.wedding_hold) else l.ack_expires_at end as hold_now
    from live as l
    join places as p on p.organization_id = l.organization_id
    cross join apm_private.incident_terms as t
)
update public.apm_incidents as i set
    affected_weddings = p.found, priority = p.priority_now, ack_expires_at = p.hold_now
from placed as p
where i.organization_id = p.organization_id and i.id = p.id
    and i.status in ('open', 'acknowledged', 'investigating')
    and (p.affected_weddings <> p.found or p.priority <> p.priority_now or p.ack_expires_at is distinct from p.hold_now)
returning i.id

-- join_weddings [apm_engine] --
-- Several vendors of one wedding in trouble at once are one incident of the platform; how many parts were added.
select apm_private.join_weddings(%(at)s::timestamptz, %(vendors)s::int, %(within)s::interval) as joined
