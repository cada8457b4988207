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
-- Leases the most urgent messages, a few of each organization in turn, so that none waits for a noisy one.
with busy as (
    select d.organization_id, count(*) as held
    from public.apm_deliveries as d
    where d.state in ('leased', 'sending') and d.lease_until > %(at)s::timestamptz
    group by d.organization_id
),
due as materialized (
    select d.organization_id, d.id, d.priority, d.due_at,
        row_number() over (partition by d.organization_id order by d.priority desc, d.due_at, d.id) as turn
    from public.apm_deliveries as d
    where d.state in ('pending', 'retry', 'unknown') and d.due_at <= %(at)s::timestamptz
),
fair as materialized (
    select due.organization_id, due.id, due.priority, due.turn, due.due_at
    from due
    left join busy on busy.organization_id = due.organization_id
    where due.turn + coalesce(busy.held, 0) <= %(per_organization)s::int
    order by due.priority desc, due.turn, due.due_at, due.id
    limit %(batch_size)s::int * 4
),
picked as (
    select d.organization_id, d.id, fair.priority, fair.turn
    from public.apm_deliveries as d
    join fair on fair.organization_id = d.organization_id and fair.id = d.id
    where d.state in ('pending', 'retry', 'unknown') and d.due_at <= %(at)s::timestamptz
    order by fair.priority desc, fair.turn, fair.due_at, fair.id
    limit %(batch_size)s::int
    for update of d skip locked
)
update public.apm_deliveries as d set
    state = 'leased',
    lease_owner = %(lease_owner)s::text,
    lease_until = %(at)s::timestamptz + make_interval(secs => %(lease_seconds)s::float8),
    fence = d.fence + 1
from picked
where d.organization_id = picked.organization_id and d.id = picked.id
returning d.organization_id, d.id, d.fence

-- read_leased_delivery [apm_engine] --
-- One leased message with all that decides whether it is still needed, at this moment; locks it.
select d.id, d.organization_id, d.incident_id, d.contact_method_id, d.channel::text as channel, d.kind, d.reason,
    d.recipient, d.payload, d.subject, d.body, d.generation, d.attempt, d.created_at, d.expires_at,
    c.id is not null and c.disabled_at is null as is_reachable,
    c.name as contact_name, c.address as contact_address, c.secret_ciphertext,
    k.wrapped_key, k.master_key_id,
    o.name as organization_name, o.time_zone, o.help_line,
    i.number, i.title, i.status::text as status, i.severity::text as severity, i.priority::text as priority,
    i.generation as incident_generation, i.detected_at, i.acknowledged_at, i.acknowledged_by_name, i.resolved_at,
    i.next_update_at, i.metric_value, i.threshold_value, i.was_wedding_day, i.affected_weddings, i.vendor_text,
    history.reopened_at, history.lapsed_at, alert.metric_pattern, checks.services,
    coalesce(others.was_told, false) as was_told,
    coalesce(others.is_under_way, false) as is_under_way,
    exists (
        select from public.apm_delivery_attempts as a
        where a.organization_id = d.organization_id and a.delivery_id = d.id and a.outcome = 'unknown'
    ) as may_have_arrived
from public.apm_deliveries as d
left join public.apm_contact_methods as c
    on c.organization_id = d.organization_id and c.id = d.contact_method_id
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
left join lateral (
    -- Told is whoever has it, may have it, or finds it in the inbox.
    select
        bool_or(
            other.state in ('sent', 'delivered', 'unknown', 'inbox')
            or exists (
                select from public.apm_delivery_attempts as a
                where a.organization_id = other.organization_id and a.delivery_id = other.id and a.outcome = 'unknown'
            )
        ) as was_told,
        bool_or(other.state in ('leased', 'sending')) as is_under_way
    from public.apm_deliveries as other
    where other.organization_id = d.organization_id and other.incident_id = d.incident_id and other.id <> d.id
        and other.kind in ('page', 'update', 'reopened') and other.channel = d.channel
        and coalesce(other.contact_method_id::text, other.recipient ->> 'address')
            is not distinct from coalesce(d.contact_method_id::text, d.recipient ->> 'address')
) as others on true
where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
    and d.state = 'leased' and d.lease_owner = %(lease_owner)s::text and d.fence = %(fence)s::bigint
for update of d

-- begin_attempt [apm_engine] --
-- Says that we are about to send, and exactly what; committed before the network is touched.
with begun as (
    update public.apm_deliveries as d set
        state = 'sending',
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
        state_reason = %(state_reason)s::text,
        due_at = coalesce(%(due_at)s::timestamptz, d.due_at),
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
        provider_id = coalesce(%(provider_id)s::text, d.provider_id),
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

-- enqueue_test_delivery [apm_engine] --
-- Puts a test message to one contact in line, once for each key.
insert into public.apm_deliveries
    (organization_id, contact_method_id, channel, kind, reason, recipient, idempotency_key, due_at)
select c.organization_id, c.id, c.channel, 'test', 'test', jsonb_build_object('name', c.name, 'address', c.address),
    %(idempotency_key)s::text, %(at)s::timestamptz
from public.apm_contact_methods as c
where c.organization_id = %(organization_id)s::uuid and c.id = %(contact_method_id)s::uuid
on conflict (organization_id, idempotency_key) do nothing
returning id
