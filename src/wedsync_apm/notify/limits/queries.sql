-- What a contact and a provider take, as the engine, which no policy narrows.

-- take_token [apm_engine] --
-- Whether a contact takes one more message now: null, or when it does.
select apm_private.take_token(
    %(organization_id)s::uuid, %(contact_method_id)s::uuid, %(channel)s::text, %(is_urgent)s::boolean, %(at)s::timestamptz
) as free_at

-- throttle_delivery [apm_engine] --
-- Puts a message back until its contact takes one more; the most urgent that waits goes first, with the others in it.
with mine as (
    select d.organization_id, d.id, d.contact_method_id, d.priority
    from public.apm_deliveries as d
    where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
        and d.state = 'leased' and d.lease_owner = %(lease_owner)s::text and d.fence = %(fence)s::bigint
),
first as (
    select other.organization_id, other.id, other.due_at, other.priority
    from mine
    join public.apm_deliveries as other on other.organization_id = mine.organization_id
        and other.contact_method_id = mine.contact_method_id and other.id <> mine.id
        and other.state = 'pending' and other.throttled_at is not null and other.due_at > %(at)s::timestamptz
    order by other.due_at
    limit 1
    for update of other
),
behind as (
    update public.apm_deliveries as d set due_at = first.due_at + interval '30 seconds'
    from first
    cross join mine
    where d.organization_id = first.organization_id and d.id = first.id and first.priority < mine.priority
)
update public.apm_deliveries as d set
    state = 'pending',
    stage = 'unthrottled',
    state_reason = %(reason)s::text,
    throttled_at = coalesce(d.throttled_at, %(at)s::timestamptz),
    due_at = case
        when first.id is null or first.priority < mine.priority
            then least(%(free_at)s::timestamptz, coalesce(first.due_at, %(free_at)s::timestamptz))
        else first.due_at + interval '30 seconds'
    end,
    lease_owner = null,
    lease_until = null
from mine
left join first on true
where d.organization_id = mine.organization_id and d.id = mine.id
returning d.id

-- bundle_deliveries [apm_engine] --
-- What waits for the same contact goes out in this message; all that stands in it, the ones of an earlier try included.
with waiting as materialized (
    select d.organization_id, d.id
    from public.apm_deliveries as d
    left join public.apm_incidents as i on i.organization_id = d.organization_id and i.id = d.incident_id
    where d.organization_id = %(organization_id)s::uuid and d.contact_method_id = %(contact_method_id)s::uuid
        and d.id <> %(id)s::uuid and d.state = 'pending' and d.throttled_at is not null and %(is_throttled)s::boolean
        -- a report is read for what it says, and one line in another message does not say it
        and d.kind <> 'report'
        and case d.kind
            when 'page' then i.status = 'open' and i.generation = d.generation
            when 'reopened' then i.status = 'open' and i.generation = d.generation
            when 'resolved' then i.status in ('resolved', 'closed')
            else true
        end
    order by d.priority desc, d.created_at
    limit 500
    for update of d skip locked
),
bundled as (
    update public.apm_deliveries as d set
        state = 'bundled', stage = 'unthrottled', state_reason = 'told in one message with others',
        bundled_into = %(id)s::uuid
    from waiting
    where d.organization_id = waiting.organization_id and d.id = waiting.id
    returning d.organization_id, d.id, d.incident_id, d.kind, d.priority, d.created_at
),
all_of_it as (
    select b.organization_id, b.incident_id, b.kind, b.priority, b.created_at from bundled as b
    union all
    select d.organization_id, d.incident_id, d.kind, d.priority, d.created_at
    from public.apm_deliveries as d
    where d.organization_id = %(organization_id)s::uuid and d.bundled_into = %(id)s::uuid and d.state = 'bundled'
)
select a.kind, i.number, i.title
from all_of_it as a
left join public.apm_incidents as i on i.organization_id = a.organization_id and i.id = a.incident_id
order by a.priority desc, a.created_at

-- hold_provider [apm_engine] --
-- A provider has asked us to wait: nothing goes to it until then.
with gone as (
    delete from apm_private.provider_holds as h where h.held_until < %(at)s::timestamptz - interval '1 hour'
)
insert into apm_private.provider_holds as h (provider, held_until, reason)
select d.provider, %(at)s::timestamptz + make_interval(secs => %(seconds)s::float8), left(%(reason)s::text, 500)
from public.apm_deliveries as d
where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid and d.provider <> ''
on conflict (provider) do update set held_until = greatest(h.held_until, excluded.held_until), reason = excluded.reason
