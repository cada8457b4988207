-- Climbing ladders, as the engine, over all organizations.

-- climb_due_steps [apm_engine] --
-- Every due rung in one statement: the run moves on, its receivers get their rows in the outbox, the timeline says it.
with due as (
    -- Locked incidents are skipped too: whoever acknowledges at this moment holds his, and has then stopped the run.
    select r.organization_id, r.incident_id, r.generation, r.steps, r.repeats_left, r.next_step,
        greatest(jsonb_array_length(r.steps), 1) as rungs,
        i.number, i.title, i.severity, i.priority, i.escalation_level
    from public.apm_escalation_runs as r
    join public.apm_incidents as i on i.organization_id = r.organization_id and i.id = r.incident_id
    where r.state = 'running' and r.next_at <= %(at)s::timestamptz and i.status = 'open'
    order by r.next_at
    limit %(limit)s::int
    for update of r, i skip locked
),
placed as (
    select d.*, o.name as organization_name, w.is_wedding,
        -- a ladder without rungs still tells somebody: one rung without receivers of its own stands for it
        coalesce(d.steps -> d.next_step, '{"position": 1, "level": "none", "contact_method_ids": []}') as rung,
        d.next_step >= d.rungs as is_past_end,
        make_interval(secs => coalesce((d.steps -> (d.next_step + 1) ->> w.delay_key)::float8, 0)) as delay_of_next,
        -- before the ladder is climbed again, or given up, the last rung gets its time
        greatest(
            make_interval(secs => coalesce((d.steps -> d.next_step ->> w.delay_key)::float8, 0)),
            %(last_wait)s::interval / case when w.is_wedding then 4 else 1 end
        ) as wait_on_last
    from due as d
    cross join lateral apm_private.host_organizations(array[d.organization_id]) as o
    cross join lateral (
        select found.is_wedding,
            case when found.is_wedding then 'wedding_delay_seconds' else 'delay_seconds' end as delay_key
        from (
            select exists (
                select from public.wedding_window_at(d.organization_id, %(at)s::timestamptz)
            ) as is_wedding
        ) as found
    ) as w
),
moved as (
    update public.apm_escalation_runs as r set
        state = case when p.is_past_end and p.repeats_left = 0 then 'exhausted' else 'running' end,
        stop_reason = case when p.is_past_end and p.repeats_left = 0 then 'nobody answered' end,
        next_step = case when p.is_past_end then 0 else p.next_step + 1 end,
        repeats_left = p.repeats_left - case when p.is_past_end and p.repeats_left > 0 then 1 else 0 end,
        next_at = case
            when p.is_past_end and p.repeats_left = 0 then null
            when p.is_past_end then %(at)s::timestamptz
            when p.next_step + 1 < p.rungs then %(at)s::timestamptz + p.delay_of_next
            else %(at)s::timestamptz + p.wait_on_last
        end
    from placed as p
    where r.organization_id = p.organization_id and r.incident_id = p.incident_id and r.generation = p.generation
    returning r.organization_id, r.incident_id, r.state, r.next_at
),
climbed as (
    select p.*, m.next_at as following_at, begun.kind as begun_by,
        exists (
            select from public.apm_deliveries as earlier
            where earlier.organization_id = p.organization_id and earlier.incident_id = p.incident_id
                and earlier.generation = p.generation and earlier.kind in ('page', 'reopened')
        ) as is_repeat
    from placed as p
    join moved as m on m.organization_id = p.organization_id and m.incident_id = p.incident_id
    cross join lateral (
        select e.kind from public.apm_incident_events as e
        where e.organization_id = p.organization_id and e.incident_id = p.incident_id
            and e.kind in ('opened', 'reopened', 'expired')
        order by e.at desc, e.id desc
        limit 1
    ) as begun
    where not p.is_past_end
),
named as (
    select c.organization_id, c.incident_id, m.id as contact_method_id, m.channel, m.name, m.address
    from climbed as c
    cross join lateral jsonb_array_elements_text(c.rung -> 'contact_method_ids') as t (id)
    join public.apm_contact_methods as m on m.organization_id = c.organization_id and m.id = t.id::uuid
    where m.disabled_at is null
),
reached as (
    select n.* from named as n
    union all
    -- a rung that reaches nobody falls back to everyone whom the organization can reach
    select c.organization_id, c.incident_id, m.id, m.channel, m.name, m.address
    from climbed as c
    join public.apm_contact_methods as m on m.organization_id = c.organization_id and m.disabled_at is null
    where not exists (
        select from named as n where n.organization_id = c.organization_id and n.incident_id = c.incident_id
    )
),
receivers as (
    select r.* from reached as r
    union all
    -- and where there is no contact at all, to the owners who sign in here
    select c.organization_id, c.incident_id, null, 'email', u.display_name, u.email
    from climbed as c
    cross join lateral (
        select o.user_id from public.apm_memberships as o
        where o.organization_id = c.organization_id and o.role = 'OWNER'
        union
        select k.id from apm_private.users as k
        cross join lateral apm_private.host_memberships(k.id) as h
        where h.organization_id = c.organization_id and h.role = 'OWNER'
    ) as owner
    join apm_private.users as u on u.id = owner.user_id and u.disabled_at is null
    where not exists (
        select from reached as r where r.organization_id = c.organization_id and r.incident_id = c.incident_id
    )
),
told as (
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, generation
    )
    select c.organization_id, c.incident_id, r.contact_method_id, r.channel,
        case when c.begun_by = 'reopened' and c.next_step = 0 then 'reopened' else 'page' end,
        case
            when c.next_step > 0 then 'escalated'
            when c.is_repeat then 'repeat'
            when c.begun_by = 'reopened' then 'reopened'
            else 'first'
        end,
        jsonb_build_object('name', r.name, 'address', r.address),
        jsonb_build_object(
            'step', c.rung -> 'position', 'level', c.rung -> 'level', 'next_step_at', c.following_at,
            'is_wedding', c.is_wedding
        ),
        concat_ws(
            ':', c.incident_id, c.generation, c.next_step, c.repeats_left, coalesce(r.contact_method_id::text, r.address)
        ),
        -- pages before all else, by severity, and a wedding before none
        100 + 10 * array_position(array['info', 'warning', 'critical', 'emergency'], c.severity::text)
            + case when c.is_wedding then 5 else 0 end,
        %(at)s::timestamptz, c.generation
    from climbed as c
    join receivers as r on r.organization_id = c.organization_id and r.incident_id = c.incident_id
    on conflict (organization_id, idempotency_key) do nothing
    returning organization_id, incident_id
),
summed as (
    select c.organization_id, c.incident_id, string_agg(r.name, ', ' order by r.name) as names, count(r.name) as told
    from climbed as c
    left join receivers as r on r.organization_id = c.organization_id and r.incident_id = c.incident_id
    group by c.organization_id, c.incident_id
),
raised as (
    update public.apm_incidents as i set
        escalation_level = greatest(i.escalation_level, (c.rung ->> 'level')::public.escalation_level)
    from climbed as c
    where i.organization_id = c.organization_id and i.id = c.incident_id
        and i.escalation_level < (c.rung ->> 'level')::public.escalation_level
    returning i.id
),
written as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select c.organization_id, c.incident_id, %(at)s::timestamptz, 'escalated', 'ladder',
        left(case when s.told > 0 then 'Told ' || s.names else 'Nobody could be told: no contact is set up' end, 10000),
        jsonb_build_object(
            'step', c.rung -> 'position', 'level', c.rung -> 'level', 'told', s.told, 'next_step_at', c.following_at,
            'is_wedding', c.is_wedding, 'generation', c.generation
        )
    from climbed as c
    join summed as s on s.organization_id = c.organization_id and s.incident_id = c.incident_id
    union all
    select p.organization_id, p.incident_id, %(at)s::timestamptz, 'exhausted', 'ladder',
        'Everyone on the ladder was told, and nobody answered', jsonb_build_object('generation', p.generation)
    from placed as p
    where p.is_past_end and p.repeats_left = 0
    returning organization_id, incident_id, kind
),
unheard as (
    select p.organization_id, p.incident_id, p.title, p.organization_name, p.is_wedding, 'Nobody answers' as words
    from placed as p
    where p.is_past_end and p.repeats_left = 0
    union all
    select c.organization_id, c.incident_id, c.title, c.organization_name, c.is_wedding, 'Nobody can be told'
    from climbed as c
    join summed as s on s.organization_id = c.organization_id and s.incident_id = c.incident_id
    where s.told = 0
),
handed_on as (
    -- the platform's own people take over; theirs has nobody behind it
    insert into public.apm_incidents (
        organization_id, title, severity, priority, dedup_key, detected_at, last_seen_at, was_wedding_day
    )
    select f.organization_id, left(u.words || ' at ' || u.organization_name || ': ' || u.title, 300), 'critical',
        case when u.is_wedding then 'critical' else 'high' end::public.alert_priority,
        'ladder:1:' || u.incident_id, %(at)s::timestamptz, %(at)s::timestamptz, u.is_wedding
    from unheard as u
    cross join apm_private.platform as f
    where f.organization_id <> u.organization_id
    on conflict (organization_id, dedup_key) where status in ('open', 'acknowledged', 'investigating') do nothing
    returning id
)
select m.organization_id, m.incident_id, m.state, m.next_at, coalesce(s.told, 0) as told,
    exists (
        select from unheard as u where u.organization_id = m.organization_id and u.incident_id = m.incident_id
    ) as is_unheard
from moved as m
left join summed as s on s.organization_id = m.organization_id and s.incident_id = m.incident_id

-- set_acting [apm_engine] --
-- What the timeline calls whoever acts in this transaction, when, and why.
select set_config('apm.actor', 'ladder', true), set_config('apm.at', %(at)s::timestamptz::text, true),
    set_config('apm.note', %(note)s::text, true)

-- resolve_answered_ladders [apm_engine] --
-- Ends the platform's own incidents about incidents that are no longer waiting for anyone.
update public.apm_incidents as i set status = 'resolved'
from apm_private.platform as f
where i.organization_id = f.organization_id and i.dedup_key like 'ladder:1:%%'
    and i.status in ('open', 'acknowledged', 'investigating')
    and not exists (
        select from public.apm_incidents as original
        where original.id = split_part(i.dedup_key, ':', 3)::uuid and original.status = 'open'
    )
returning i.id
