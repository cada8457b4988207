-- The outbox. Every statement runs as the engine, which no policy narrows, so each names the organization itself.

-- release_lost_leases [apm_engine] --
-- Frees what a sender held that is gone: not yet sent goes back in line, half sent becomes "unknown".
with lost as materialized (
    select d.organization_id, d.id, d.state, d.attempt
    from public.apm_deliveries as d
    where d.state in ('leased', 'sending') and d.lease_until <= %(at)s::timestamptz
    order by d.lease_until
    limit 500
    for update skip locked
),
released as (
    update public.apm_deliveries as d set
        state = case when lost.state = 'sending' then 'unknown' else 'pending' end,
        state_reason = case when lost.state = 'sending'
            then 'the sender stopped in the middle: nobody knows whether it arrived'
            else 'the sender stopped before it began'
        end,
        due_at = %(at)s::timestamptz,
        lease_owner = null,
        lease_until = null
    from lost
    where d.organization_id = lost.organization_id and d.id = lost.id
    returning d.organization_id, d.id, d.state, d.attempt
),
closed_attempts as (
    update public.apm_delivery_attempts as a set
        outcome = 'unknown',
        finished_at = %(at)s::timestamptz,
        error = 'the sender stopped in the middle'
    from released
    where released.state = 'unknown' and a.organization_id = released.organization_id
        and a.delivery_id = released.id and a.attempt = released.attempt and a.outcome is null
)
select count(*) filter (where released.state = 'unknown') as unknown_count, count(*) as released_count
from released

-- claim_due_deliveries [apm_engine] --
-- Leases the most urgent messages, a few of each organization in turn; the last row says whether more is due.
select c.organization_id, c.id, c.fence, c.is_more
from apm_private.claim_deliveries(
    %(at)s::timestamptz, %(lease_owner)s::text, %(lease_seconds)s::float8, %(batch_size)s::int, %(ordinary_size)s::int,
    %(per_organization)s::int, %(per_channel)s::int
) as c

-- fail_over_deliveries [apm_engine] --
-- Beside urgent calls that have not arrived in time the same people's next channels, once for each call.
with due as materialized (
    select d.organization_id, d.id, d.incident_id, d.contact_method_id, d.generation, d.state, d.kind, d.channel, d.payload,
        d.priority, d.created_at, d.recipient, d.attempt
    from public.apm_deliveries as d
    where d.fail_over_at is not null
        and (d.fail_over_at <= %(at)s::timestamptz or d.state in ('failed', 'suppressed', 'expired', 'inbox'))
    order by d.fail_over_at
    limit 100
    for update skip locked
),
cleared as (
    update public.apm_deliveries as d set fail_over_at = null
    from due
    where d.organization_id = due.organization_id and d.id = due.id
),
wanted as (
    -- whoever is held back by a silence, or has it in hand, is not called on another channel
    select due.*, c.name, c.channel as contact_channel, apm_private.person_of(c) as person
    from due
    join public.apm_incidents as i on i.organization_id = due.organization_id and i.id = due.incident_id
    join public.apm_contact_methods as c on c.organization_id = due.organization_id and c.id = due.contact_method_id
    where due.state not in ('delivered', 'cancelled') and i.status = 'open' and i.generation = due.generation
        and not exists (
            select from apm_private.held_back_by(due.organization_id, due.incident_id, %(at)s::timestamptz)
            where not coalesce((due.payload ->> 'is_pressed')::boolean, false)
        )
),
beside as (
    select w.*, m.id as next_id, m.channel as next_channel, m.name as next_name, m.address as next_address
    from wanted as w
    left join lateral (
        select m.id, m.channel, m.name, m.address
        from public.apm_contact_methods as m
        where m.organization_id = w.organization_id and m.disabled_at is null and m.id <> w.contact_method_id
            and apm_private.person_of(m) = w.person and m.channel::text = any (%(sendable)s::text[])
            -- the channels that he has just been called on, have had their turn
            and not exists (
                select from public.apm_deliveries as called
                where called.organization_id = w.organization_id and called.incident_id = w.incident_id
                    and called.contact_method_id = m.id and called.generation = w.generation
                    and called.kind in ('page', 'reopened') and called.created_at > %(at)s::timestamptz - interval '4 minutes'
            )
        order by m.verified_at is null, m.channel = w.contact_channel, m.preference, m.created_at, m.id
        limit 1
    ) as m on true
),
called as (
    insert into public.apm_deliveries (
        organization_id, incident_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key,
        priority, due_at, created_at, generation, stands_in_for
    )
    select b.organization_id, b.incident_id, b.next_id, b.next_channel, b.kind, 'no_receipt',
        jsonb_build_object('name', b.next_name, 'address', b.next_address), b.payload, 'beside:' || b.id, b.priority,
        %(at)s::timestamptz, %(at)s::timestamptz, b.generation, b.id
    from beside as b
    where b.next_id is not null
    on conflict (organization_id, idempotency_key) do nothing
    returning organization_id, stands_in_for
),
told as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select b.organization_id, b.incident_id, %(at)s::timestamptz, 'delivery', 'messages',
        left(case when b.next_id is null
            then 'Nothing says that the ' || b.channel || ' call has reached ' || b.name || ', and there is no other channel'
            else 'Nothing says that the ' || b.channel || ' call has reached ' || b.name || ': ' || b.next_channel || ', too'
        end, 10000),
        jsonb_build_object('delivery_id', b.id, 'state', b.state)
    from beside as b
)
select count(*) as called_count from called

-- tick_groups [apm_engine] --
-- Every group that is due has its tick; how many messages that made.
select apm_private.tick_groups(%(at)s::timestamptz, 200) as told

-- read_leased_delivery [apm_engine] --
-- One leased message with all that decides whether it is still needed, at this moment; locks it.
select d.id, d.organization_id, d.incident_id, d.contact_method_id, d.channel::text as channel, d.kind, d.reason,
    d.recipient, d.payload, d.subject, d.body, d.generation, d.attempt, d.created_at, d.expires_at, d.held_until,
    d.priority as delivery_priority, d.throttled_at, said.body as said_before,
    c.id is not null and c.disabled_at is null as is_reachable,
    c.name as contact_name, coalesce(c.address, subscriber.address) as contact_address, c.secret_ciphertext,
    d.status_subscriber_id, status_page.slug as status_slug, status_page.title as status_title,
    k.wrapped_key, k.master_key_id,
    o.name as organization_name, o.time_zone, o.help_line,
    i.number, i.title, i.status::text as status, i.severity::text as severity, i.priority::text as priority,
    i.generation as incident_generation, i.detected_at, i.acknowledged_at, i.acknowledged_by_name, i.resolved_at,
    i.next_update_at, i.metric_value, i.threshold_value, i.was_wedding_day, i.affected_weddings, i.vendor_text, i.engineer_text,
    history.reopened_at, history.lapsed_at, alert.metric_pattern, checks.services,
    quiet.since as quiet_since, quiet.until as quiet_until, quiet.time_zone as quiet_zone,
    case when quiet.until is not null and i.severity = 'critical' and not i.was_wedding_day then exists (
        select from public.wedding_window_at(d.organization_id, %(at)s::timestamptz)
    ) else false end as is_wedding_now,
    others.called_at,
    -- it came and was over within the same quiet hours, whether or not a sender found the time to look at its call
    d.kind = 'resolved' and others.unsent_since is not null and (
        coalesce(others.unsent_until > i.resolved_at, false)
        or exists (
            select from apm_private.quiet_hours_at(d.organization_id, d.contact_method_id, d.incident_id, i.resolved_at) as q
            where q.since <= others.unsent_since
        )
    ) as ended_in_quiet,
    coalesce(others.was_told, false) as was_told,
    coalesce(others.is_under_way, false) as is_under_way,
    -- what is for one person is not sent after he has left
    case when d.recipient ? 'user_id' then not exists (
        select from apm_private.members_among(d.organization_id, array[(d.recipient ->> 'user_id')::uuid])
    ) else false end as has_left,
    case hold.kind when 'silence' then 'Silenced' when 'maintenance' then 'Held back by maintenance' else 'Held back' end
        || coalesce(' until ' || to_char(hold.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), '')
        || ' by ' || hold.owner || coalesce(': ' || nullif(hold.reason, ''), '') as held_back,
    tries.unknown_since is not null as may_have_arrived, tries.unknown_since, tries.unknown_until
from public.apm_deliveries as d
left join public.apm_contact_methods as c
    on c.organization_id = d.organization_id and c.id = d.contact_method_id
left join public.apm_status_subscribers as subscriber
    on subscriber.organization_id = d.organization_id and subscriber.id = d.status_subscriber_id
left join public.apm_status_pages as status_page
    on status_page.organization_id = d.organization_id and d.status_subscriber_id is not null
left join public.apm_incidents as i on i.organization_id = d.organization_id and i.id = d.incident_id
left join public.apm_alerts as alert on alert.organization_id = i.organization_id and alert.id = i.alert_id
left join lateral (
    select jsonb_agg(jsonb_build_object(
        'name', h.display_name, 'service', h.service_name, 'metric', h.source_metric, 'status', h.status,
        'checked_at', h.last_check_at, 'interval_seconds', extract(epoch from h.check_interval)
    ) order by h.wedding_critical desc, h.display_name) as services
    from public.service_health_checks as h
    where h.organization_id = d.organization_id and h.is_active and h.vendor_facing
) as checks on true
left join lateral apm_private.host_organizations(array[d.organization_id]) as o on true
left join lateral apm_private.find_organization_key(d.organization_id) as k on true
left join lateral (
    select max(e.at) filter (where e.kind = 'reopened') as reopened_at,
        max(e.at) filter (where e.kind = 'expired') as lapsed_at
    from public.apm_incident_events as e
    where e.organization_id = d.organization_id and e.incident_id = d.incident_id and e.kind in ('reopened', 'expired')
) as history on true
left join lateral apm_private.quiet_hours_at(
    d.organization_id, d.contact_method_id, d.incident_id, %(at)s::timestamptz
) as quiet on true
left join lateral (
    -- Told is whoever has it, may have it, or finds it in the inbox, and has not heard its end since.
    select
        bool_or(
            (
                other.state in ('sent', 'delivered', 'unknown', 'inbox')
                or exists (
                    select from public.apm_delivery_attempts as a
                    where a.organization_id = other.organization_id
                        and a.delivery_id in (other.id, other.bundled_into)
                        and (a.outcome = 'unknown' or (a.delivery_id = other.bundled_into and a.outcome = 'sent'))
                )
            )
            and not exists (
                select from public.apm_deliveries as ended
                where ended.organization_id = other.organization_id and ended.incident_id = other.incident_id
                    and ended.id <> d.id and ended.kind = 'resolved'
                    and ended.state in ('sent', 'delivered', 'unknown', 'inbox')
                    and ended.generation > coalesce(other.generation, 0) and ended.channel = other.channel
                    and coalesce(ended.contact_method_id::text, ended.recipient ->> 'address')
                        is not distinct from coalesce(other.contact_method_id::text, other.recipient ->> 'address')
            )
        ) as was_told,
        bool_or(other.state in ('leased', 'sending') or (other.state = 'bundled' and exists (
            select from public.apm_deliveries as lead
            where lead.organization_id = other.organization_id and lead.id = other.bundled_into
                and lead.state in ('leased', 'sending')
        ))) as is_under_way,
        max(other.sent_at) filter (where other.state in ('sent', 'delivered')) as called_at,
        max(other.created_at) filter (where other.state in ('pending', 'leased', 'cancelled')) as unsent_since,
        max(other.held_until) filter (where other.state in ('pending', 'leased', 'cancelled')) as unsent_until
    from public.apm_deliveries as other
    where other.organization_id = d.organization_id and other.incident_id = d.incident_id and other.id <> d.id
        and other.kind in ('page', 'update', 'reopened') and other.channel = d.channel
        and coalesce(other.contact_method_id::text, other.recipient ->> 'address')
            is not distinct from coalesce(d.contact_method_id::text, d.recipient ->> 'address')
) as others on true
-- what he was told last of the same, word for word
left join lateral (
    select other.body from public.apm_deliveries as other
    where d.kind = 'update' and other.organization_id = d.organization_id and other.incident_id = d.incident_id
        and other.contact_method_id = d.contact_method_id and other.id <> d.id and other.generation is not distinct from d.generation
        and other.state in ('sent', 'delivered') and other.body is not null
    order by other.sent_at desc
    limit 1
) as said on true
left join lateral (
    select min(a.started_at) as unknown_since, max(coalesce(a.finished_at, a.started_at)) as unknown_until
    from public.apm_delivery_attempts as a
    where a.organization_id = d.organization_id and a.delivery_id = d.id and a.outcome = 'unknown'
) as tries on true
-- What a person wanted told at once is told whatever holds it back, and so is the end to whoever heard the beginning.
left join lateral apm_private.held_back_by(d.organization_id, d.incident_id, %(at)s::timestamptz) as hold
    on d.kind in ('page', 'reopened') and not coalesce((d.payload ->> 'is_pressed')::boolean, false)
where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
    and d.state = 'leased' and d.lease_owner = %(lease_owner)s::text and d.fence = %(fence)s::bigint
for update of d

-- begin_attempt [apm_engine] --
-- Says that we are about to send, and exactly what; committed before the network is touched.
with begun as (
    update public.apm_deliveries as d set
        state = 'sending',
        stage = null,
        state_reason = '',
        attempt = d.attempt + 1,
        subject = %(subject)s::text,
        body = %(body)s::text,
        lease_until = %(at)s::timestamptz + make_interval(secs => %(lease_seconds)s::float8)
    where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
        and d.state = 'leased' and d.lease_owner = %(lease_owner)s::text and d.fence = %(fence)s::bigint
    returning d.organization_id, d.id, d.attempt
)
insert into public.apm_delivery_attempts (organization_id, delivery_id, attempt, started_at)
select begun.organization_id, begun.id, begun.attempt, %(at)s::timestamptz
from begun
returning attempt

-- store_acknowledge_link [apm_engine] --
-- Keeps the hash of a one-tap link that is about to be sent.
insert into apm_private.acknowledge_links
    (token_hash, organization_id, incident_id, generation, delivery_id, receiver, expires_at)
values (
    %(token_hash)s::bytea, %(organization_id)s::uuid, %(incident_id)s::uuid, %(generation)s::int, %(id)s::uuid,
    %(receiver)s::text, %(expires_at)s::timestamptz
)
on conflict (token_hash) do nothing

-- settle_delivery [apm_engine] --
-- Ends a message that is not sent, or puts it back in line; only for whoever holds its lease.
with settled as (
    update public.apm_deliveries as d set
        state = %(state)s::text,
        stage = %(stage)s::text,
        state_reason = %(state_reason)s::text,
        due_at = coalesce(%(due_at)s::timestamptz, d.due_at),
        held_until = coalesce(%(held_until)s::timestamptz, d.held_until),
        expires_at = coalesce(%(expires_at)s::timestamptz, d.expires_at),
        subject = coalesce(%(subject)s::text, d.subject),
        body = coalesce(%(body)s::text, d.body),
        lease_owner = null,
        lease_until = null
    where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
        and d.state = 'leased' and d.lease_owner = %(lease_owner)s::text and d.fence = %(fence)s::bigint
    returning d.organization_id, d.id, d.incident_id
),
told as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select settled.organization_id, settled.incident_id, %(at)s::timestamptz, 'delivery', 'messages', %(message)s::text,
        jsonb_build_object('delivery_id', settled.id, 'state', %(state)s::text)
    from settled
    where settled.incident_id is not null and %(message)s::text is not null
)
select count(*) as settled_count
from settled

-- record_outcome [apm_engine] --
-- Writes down how an attempt ended; nothing happens if the lease went to somebody else meanwhile.
with recorded as (
    update public.apm_deliveries as d set
        state = %(state)s::text,
        state_reason = %(state_reason)s::text,
        -- a callback that came before this has proven what it names; what was only found gives way to it
        provider_id = case
            when %(is_presumed)s::boolean then coalesce(d.provider_id, %(provider_id)s::text)
            else coalesce(%(provider_id)s::text, d.provider_id)
        end,
        is_presumed = %(is_presumed)s and d.provider_id is null,
        provider_status = %(provider_status)s::text,
        due_at = coalesce(%(due_at)s::timestamptz, d.due_at),
        sent_at = case when %(state)s::text = 'sent' then %(at)s::timestamptz else d.sent_at end,
        lease_owner = null,
        lease_until = null
    where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
        and d.state = 'sending' and d.lease_owner = %(lease_owner)s::text and d.fence = %(fence)s::bigint
    returning d.organization_id, d.id, d.incident_id, d.contact_method_id, d.attempt
),
closed_attempt as (
    update public.apm_delivery_attempts as a set
        finished_at = %(at)s::timestamptz,
        outcome = %(attempt_outcome)s::text,
        provider_status = %(provider_status)s::text,
        error = case when %(state)s::text <> 'sent' then %(state_reason)s::text end
    from recorded
    where a.organization_id = recorded.organization_id and a.delivery_id = recorded.id and a.attempt = recorded.attempt
),
good_contact as (
    update public.apm_contact_methods as c set last_ok_at = %(at)s::timestamptz
    from recorded
    where %(state)s::text = 'sent' and c.organization_id = recorded.organization_id and c.id = recorded.contact_method_id
),
told as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select recorded.organization_id, recorded.incident_id, %(at)s::timestamptz, 'delivery', 'messages', %(message)s::text,
        jsonb_build_object('delivery_id', recorded.id, 'state', %(state)s::text, 'attempt', recorded.attempt)
    from recorded
    where recorded.incident_id is not null and %(message)s::text is not null
)
select count(*) as recorded_count
from recorded

-- read_paper [apm_engine] --
-- What was drawn to go with a mail.
select p.name, p.content from apm_private.mail_papers as p
where p.organization_id = %(organization_id)s::uuid and p.id = %(id)s::uuid
