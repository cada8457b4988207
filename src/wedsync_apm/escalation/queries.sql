-- Climbing ladders, as the engine, over all organizations.

-- climb_due_steps [apm_engine] --
-- Every due rung in one statement: the run moves on, its receivers get their rows in the outbox, the timeline says it.
-- When the next one is due, whom a rung tells and what it is passed for are functions, which whoever asks beforehand
-- goes by too (apm_preview_ladder).
with due as (
    -- Locked incidents are skipped too: whoever acknowledges at this moment holds his, and has then stopped the run.
    -- What is held back comes after what is newly due, so that it holds up nobody else.
    select r.organization_id, r.incident_id, r.generation, r.steps, r.repeats_left, r.next_step,
        r.told, r.held_since, r.held_by, r.is_pressed, jsonb_array_length(r.steps) as rungs,
        i.number, i.title, i.severity, i.priority, i.escalation_level, i.was_wedding_day
    from public.apm_escalation_runs as r
    join public.apm_incidents as i on i.organization_id = r.organization_id and i.id = r.incident_id
    where r.state = 'running' and r.next_at <= %(at)s::timestamptz and i.status = 'open'
        and (r.held_until is null or r.held_until <= %(at)s::timestamptz)
        and apm_private.is_watched(r.organization_id)
    order by r.held_since is not null, r.next_at
    limit %(limit)s::int
    for update of r, i skip locked
),
judged as materialized (
    select d.*, h.kind as hold_kind, to_jsonb(h) as hold,
        case h.kind when 'silence' then 'Silenced' when 'maintenance' then 'Held back by maintenance' else 'Held back' end
            || coalesce(' until ' || to_char(h.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), '')
            || ' by ' || h.owner || coalesce(': ' || nullif(h.reason, ''), '') as hold_words
    from due as d
    left join lateral apm_private.held_back_by(d.organization_id, d.incident_id, %(at)s::timestamptz) as h
        on not d.is_pressed
),
held as (
    -- The step stays due; the run is looked at again soon, because a hold may end at any moment.
    update public.apm_escalation_runs as r set
        held_since = coalesce(r.held_since, %(at)s::timestamptz),
        held_until = %(at)s::timestamptz + %(look_again)s::interval,
        held_by = j.hold
    from judged as j
    where j.hold_kind is not null
        and r.organization_id = j.organization_id and r.incident_id = j.incident_id and r.generation = j.generation
    returning r.organization_id
),
placed as (
    select d.*, o.name as organization_name, w.is_wedding, w.rung, q.quiet_until,
        d.next_step >= d.rungs and not w.is_owed as is_past_end,
        d.next_step >= d.rungs and not w.is_owed and d.repeats_left = 0 and q.quiet_until is null as is_over,
        -- a rung of the ladder that does not count now; the ladder's end tells somebody in any case
        case when d.next_step < d.rungs then apm_private.why_passed(
            d.organization_id, w.rung, d.severity, w.is_wedding, %(at)s::timestamptz
        ) end as passed,
        -- whom nobody was told before, nobody is waited for
        w.is_owed or d.is_pressed as is_urgent
    from judged as d
    cross join lateral apm_private.host_organizations(array[d.organization_id]) as o
    cross join lateral (
        -- whom quiet hours spare has not been asked yet, so that nobody can say that he does not answer
        select case when d.is_pressed and count(*) > 0 then %(at)s::timestamptz else min(h.held_until) end as quiet_until
        from public.apm_deliveries as h
        where h.organization_id = d.organization_id and h.incident_id = d.incident_id and h.generation = d.generation
            and h.kind in ('page', 'reopened') and h.state in ('pending', 'leased') and h.held_until > %(at)s::timestamptz
    ) as q
    cross join lateral (
        select found.is_wedding,
            -- one rung tells somebody on any day, two at a wedding; those that the ladder does not have tell everybody
            d.told < case when found.is_wedding then 2 else 1 end as is_owed,
            coalesce(
                d.steps -> d.next_step,
                jsonb_build_object('position', d.next_step + 1, 'level', 'none', 'contact_method_ids', '[]'::jsonb)
            ) as rung
        from (
            select apm_private.is_wedding_paced(d.organization_id, d.was_wedding_day, %(at)s::timestamptz) as is_wedding
        ) as found
    ) as w
    where d.hold_kind is null
),
moved as (
    update public.apm_escalation_runs as r set
        state = case when p.is_over then 'exhausted' else 'running' end,
        stop_reason = case when p.is_over then 'nobody answered' end,
        told = p.told + case when p.is_past_end or p.passed is not null then 0 else 1 end,
        next_step = case
            when p.is_past_end and p.repeats_left = 0 and not p.is_over then p.next_step
            when p.is_past_end then 0
            else p.next_step + 1
        end,
        repeats_left = p.repeats_left - case when p.is_past_end and p.repeats_left > 0 then 1 else 0 end,
        next_at = case
            when p.is_over then null
            when p.is_past_end and p.repeats_left = 0 then
                p.quiet_until + apm_private.time_to_rung(p.steps, p.next_step, p.told, p.is_wedding)
            when p.is_past_end or (p.passed is not null and p.is_urgent) then %(at)s::timestamptz
            else apm_private.rung_due_at(
                p.organization_id, p.steps, p.next_step + 1, p.told + case when p.passed is null then 1 else 0 end,
                %(at)s::timestamptz, p.is_wedding
            )
        end,
        held_since = null, held_until = null, held_by = null, is_pressed = p.is_pressed and p.passed is not null
    from placed as p
    where r.organization_id = p.organization_id and r.incident_id = p.incident_id and r.generation = p.generation
    returning r.organization_id, r.incident_id, r.state, r.next_at
),
climbed as (
    select p.*, m.next_at as following_at, begun.kind as begun_by
    from placed as p
    join moved as m on m.organization_id = p.organization_id and m.incident_id = p.incident_id
    cross join lateral (
        select e.kind from public.apm_incident_events as e
        where e.organization_id = p.organization_id and e.incident_id = p.incident_id
            and e.kind in ('opened', 'reopened', 'expired')
        order by e.at desc, e.id desc
        limit 1
    ) as begun
    where not p.is_past_end and p.passed is null
),
receivers as materialized (
    select c.organization_id, c.incident_id, r.contact_method_id, r.channel, r.name, r.address, r.via
    from climbed as c
    cross join lateral apm_private.rung_receivers(c.organization_id, c.rung, %(at)s::timestamptz) as r
),
told as (
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, generation
    )
    select c.organization_id, c.incident_id, r.contact_method_id, r.channel,
        case when c.begun_by = 'reopened' and c.told = 0 then 'reopened' else 'page' end,
        case
            when c.told > 0 and c.next_step = 0 then 'repeat'
            when c.told > 0 then 'escalated'
            when c.begun_by = 'reopened' then 'reopened'
            else 'first'
        end,
        jsonb_build_object('name', r.name, 'address', r.address),
        jsonb_build_object(
            'step', c.rung -> 'position', 'level', c.rung -> 'level', 'next_step_at', c.following_at,
            'is_wedding', c.is_wedding, 'is_pressed', c.is_pressed
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
    -- a call that quiet hours hold back says all that another one would
    where not exists (
        select from public.apm_deliveries as h
        where h.organization_id = c.organization_id and h.incident_id = c.incident_id and h.generation = c.generation
            and h.contact_method_id = r.contact_method_id and h.kind in ('page', 'reopened')
            and h.state in ('pending', 'leased') and h.held_until > %(at)s::timestamptz
    )
    on conflict (organization_id, idempotency_key) do nothing
    returning organization_id, incident_id
),
woken as (
    -- a person does not wait: whom quiet hours have spared so far is told with the rest
    update public.apm_deliveries as h set
        due_at = %(at)s::timestamptz, payload = h.payload || '{"is_pressed": true}'
    from placed as p
    where p.is_pressed and h.organization_id = p.organization_id and h.incident_id = p.incident_id
        and h.state = 'pending' and h.held_until > %(at)s::timestamptz
),
summed as (
    select c.organization_id, c.incident_id, string_agg(r.name, ', ' order by r.name) as names, count(r.name) as told,
        min(r.via) filter (where r.via in ('everybody', 'owner')) as fallback
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
    select p.organization_id, p.incident_id, %(at)s::timestamptz, 'released', 'ladder',
        case when p.is_pressed then 'Somebody wants people to be told now' else 'Nothing holds it back any more' end,
        jsonb_build_object('held_since', p.held_since)
    from placed as p
    where p.held_since is not null
    union all
    select c.organization_id, c.incident_id, %(at)s::timestamptz, 'escalated', 'ladder',
        left(case when s.told > 0 then 'Told ' || s.names else 'Nobody could be told: no contact is set up' end, 10000),
        jsonb_build_object(
            'step', c.rung -> 'position', 'level', c.rung -> 'level', 'told', s.told, 'next_step_at', c.following_at,
            'is_wedding', c.is_wedding, 'generation', c.generation, 'fallback', s.fallback
        )
    from climbed as c
    join summed as s on s.organization_id = c.organization_id and s.incident_id = c.incident_id
    union all
    select p.organization_id, p.incident_id, %(at)s::timestamptz, 'note', 'ladder',
        'Step ' || (p.next_step + 1) || ' was passed: ' || p.passed,
        jsonb_build_object('step', p.rung -> 'position', 'passed', p.passed, 'generation', p.generation)
    from placed as p
    where p.passed is not null
    union all
    select p.organization_id, p.incident_id, %(at)s::timestamptz, 'exhausted', 'ladder',
        'Everyone on the ladder was told, and nobody answered', jsonb_build_object('generation', p.generation)
    from placed as p
    where p.is_over
    union all
    -- one line for each thing that holds it back, not one for each look
    select j.organization_id, j.incident_id, %(at)s::timestamptz, 'held', 'ladder', left(j.hold_words, 10000), j.hold
    from judged as j
    where j.hold_kind is not null
        and (j.hold ->> 'kind', j.hold ->> 'id') is distinct from (j.held_by ->> 'kind', j.held_by ->> 'id')
    returning organization_id, incident_id, kind
),
unheard as (
    select p.organization_id, p.incident_id, p.title, p.organization_name, p.is_wedding, 'Nobody answers' as words
    from placed as p
    where p.is_over
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
    p.passed is not null as is_passed,
    exists (
        select from unheard as u where u.organization_id = m.organization_id and u.incident_id = m.incident_id
    ) as is_unheard
from moved as m
join placed as p on p.organization_id = m.organization_id and p.incident_id = m.incident_id
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
