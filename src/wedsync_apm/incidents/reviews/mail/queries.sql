-- What goes out about the past, as the engine, which no policy narrows. Rows decide what is due.

-- ask_after_actions [apm_engine] --
-- What was decided and is overdue: asked of whoever was to do it, and a week later of the owners; once each.
with overdue as (
    select a.organization_id, a.id from public.apm_postmortem_actions as a
    where a.done_at is null and a.told_at is null and a.due_on <= (%(at)s::timestamptz at time zone 'UTC')::date
        and apm_private.overdue_at(a.organization_id, a.due_on) <= %(at)s::timestamptz
    order by a.due_on, a.id
    limit %(limit)s::int
    for update skip locked
), still_overdue as (
    select a.organization_id, a.id from public.apm_postmortem_actions as a
    where a.done_at is null and a.owners_told_at is null and a.told_at <= %(at)s::timestamptz - %(patience)s::interval
    order by a.told_at, a.id
    limit %(limit)s::int
    for update skip locked
), asked as (
    update public.apm_postmortem_actions as a set
        told_at = coalesce(a.told_at, %(at)s::timestamptz),
        owners_told_at = case when due.is_second then %(at)s::timestamptz end
    from (
        select o.*, false as is_second from overdue as o
        union all
        select s.*, true as is_second from still_overdue as s
    ) as due
    where a.organization_id = due.organization_id and a.id = due.id
    returning a.organization_id, a.id, a.incident_id, a.title, a.owner, a.due_on, due.is_second
), written as (
    insert into public.apm_incident_events (organization_id, incident_id, at, kind, actor, message, detail)
    select a.organization_id, a.incident_id, %(at)s::timestamptz, 'postmortem', 'clock', a.title,
        jsonb_build_object('action_id', a.id, 'owner', a.owner, 'due_on', a.due_on, 'is_second', a.is_second)
    from asked as a
), owners as materialized (
    select p.organization_id, m.*
    from (
        select r.organization_id, array_agg(r.user_id) as user_ids
        from apm_private.people_as(array(select distinct a.organization_id from asked as a), '{OWNER}') as r
        group by r.organization_id
    ) as p
    cross join lateral apm_private.mail_of(p.organization_id, p.user_ids) as m
), named as materialized (
    select n.organization_id, n.owner, m.*
    from (select distinct a.organization_id, a.owner from asked as a where not a.is_second) as n
    cross join lateral apm_private.mail_of_named(n.organization_id, n.owner) as m
), receivers as (
    select n.organization_id, n.owner, false as is_second, n.user_id, n.contact_method_id, n.name, n.address from named as n
    union all
    -- what belongs to nobody who can be reached is the owners' from the beginning
    select a.organization_id, a.owner, a.is_second, o.user_id, o.contact_method_id, o.name, o.address
    from (select distinct a.organization_id, a.owner, a.is_second from asked as a) as a
    left join owners as o on o.organization_id = a.organization_id
    where a.is_second
        or not exists (select from named as n where n.organization_id = a.organization_id and n.owner = a.owner)
), letters as (
    select a.organization_id, a.is_second, r.user_id, r.contact_method_id, coalesce(r.name, min(a.owner)) as name, r.address,
        jsonb_agg(jsonb_build_object(
            'title', a.title, 'owner', a.owner, 'due_on', a.due_on, 'number', i.number, 'incident', i.title,
            'incident_id', a.incident_id
        ) order by a.due_on, a.id) as actions,
        encode(sha256(convert_to(string_agg(a.id || ' ' || a.due_on, ',' order by a.id), 'UTF8')), 'hex') as mark
    from asked as a
    join receivers as r on r.organization_id = a.organization_id and r.owner = a.owner and r.is_second = a.is_second
    join public.apm_incidents as i on i.organization_id = a.organization_id and i.id = a.incident_id
    group by a.organization_id, a.is_second, r.user_id, r.contact_method_id, r.name, r.address
), sent as (
    insert into public.apm_deliveries (
        organization_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key, priority, due_at,
        created_at, expires_at
    )
    select l.organization_id, l.contact_method_id, 'email', 'report', 'overdue_action',
        jsonb_strip_nulls(jsonb_build_object('name', l.name, 'address', l.address, 'user_id', l.user_id)),
        jsonb_build_object(
            'word', case when l.is_second then 'still_overdue' else 'overdue' end, 'actions', l.actions,
            'path', case jsonb_array_length(l.actions)
                when 1 then '/incidents/' || (l.actions -> 0 ->> 'incident_id') || '/postmortem' else '/reviews' end
        ),
        left(concat_ws(':', 'overdue', l.is_second::int, l.mark, coalesce(l.contact_method_id::text, l.address, 'nobody')), 300),
        5, %(at)s::timestamptz, %(at)s::timestamptz, %(at)s::timestamptz + %(lifetime)s::interval
    from letters as l
    on conflict (organization_id, idempotency_key) do nothing
)
select count(*) as asked from asked

-- list_weddings_to_report [apm_engine] --
-- The weddings whose report is due.
select w.organization_id, w.wedding_id, w.wedding_date, w.time_zone, w.initials, w.starts_at, w.ends_at
from apm_private.weddings_to_report(%(at)s::timestamptz, %(after)s::interval) as w
order by w.ends_at, w.organization_id, w.wedding_id
limit %(limit)s::int

-- find_saturday_to_report [apm_engine] --
-- The Saturday whose report is due to the platform's operators.
select s.organization_id, s.day, s.time_zone
from apm_private.saturday_to_report(%(at)s::timestamptz) as s

-- list_receivers [apm_engine] --
-- Who answers for some organizations, and how each gets mail.
select p.organization_id, m.user_id, m.contact_method_id, m.name, m.address
from (
    select r.organization_id, array_agg(r.user_id) as user_ids
    from apm_private.people_as(%(organization_ids)s::uuid[], '{OWNER,ADMIN}') as r
    group by r.organization_id
) as p
cross join lateral apm_private.mail_of(p.organization_id, p.user_ids) as m
order by p.organization_id, m.address

-- send_report [apm_engine] --
-- Puts a report in line to each of its receivers, and remembers that it was; nothing where it was before.
with marked as (
    insert into apm_private.sent_reports (organization_id, subject, sent_at)
    values (%(organization_id)s::uuid, %(subject)s::text, %(at)s::timestamptz)
    on conflict (organization_id, subject) do nothing
    returning organization_id, subject
), sent as (
    insert into public.apm_deliveries (
        organization_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key, priority, due_at,
        created_at, expires_at
    )
    select m.organization_id, r.contact_method_id, 'email', 'report', %(reason)s::text,
        jsonb_strip_nulls(jsonb_build_object('name', r.name, 'address', r.address, 'user_id', r.user_id)),
        %(payload)s::jsonb, left(m.subject || ':' || coalesce(r.contact_method_id::text, lower(r.address), 'nobody'), 300), 5,
        %(at)s::timestamptz, %(at)s::timestamptz, %(at)s::timestamptz + %(lifetime)s::interval
    from marked as m
    cross join jsonb_to_recordset(%(receivers)s::jsonb) as r (user_id uuid, contact_method_id uuid, name text, address text)
    on conflict (organization_id, idempotency_key) do nothing
)
select m.subject from marked as m

-- forget_reports [apm_engine] --
-- What went out so long ago that nobody would send it again.
delete from apm_private.sent_reports as s where s.sent_at < %(at)s::timestamptz - interval '60 days'
