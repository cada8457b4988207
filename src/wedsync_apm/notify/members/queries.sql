-- Contacts and messages as members see and change them.

-- list_contact_methods --
-- The organizations' contacts, newest first; what is secret of them stays sealed, and numbers of others are masked.
with page as materialized (
    select c.id, c.organization_id, c.user_id, c.name, c.channel, c.secret_fingerprint, c.preference, c.verified_at,
        c.last_ok_at, c.disabled_at, c.disabled_reason, c.created_at, c.updated_at
    from public.apm_contact_methods as c
    where c.organization_id = any (%(organization_ids)s::uuid[])
        and (%(before_at)s::timestamptz is null or (c.created_at, c.id) < (%(before_at)s, %(before_id)s::uuid))
    order by c.created_at desc, c.id desc
    limit %(limit)s::int
)
select p.*, a.address
from page as p
join public.apm_contact_addresses(array(select p.id from page as p)) as a on a.contact_method_id = p.id
order by p.created_at desc, p.id desc

-- find_contact_method --
-- One contact that the caller can see.
select c.id, c.organization_id, c.user_id, c.name, c.channel, a.address, c.secret_fingerprint, c.preference, c.verified_at,
    c.last_ok_at, c.disabled_at, c.disabled_reason, c.created_at, c.updated_at
from public.apm_contact_methods as c
join public.apm_contact_addresses(array[%(id)s::uuid]) as a on a.contact_method_id = c.id
where c.id = %(id)s

-- create_contact_method --
-- A new contact; its secret is sealed for the id that it is given here.
insert into public.apm_contact_methods
    (id, organization_id, user_id, name, channel, address, secret_ciphertext, secret_fingerprint, preference)
values (
    %(id)s::uuid, %(organization_id)s::uuid, %(user_id)s::uuid, %(name)s::text,
    %(channel)s::public.notification_channel, %(address)s::text, %(secret_ciphertext)s::bytea,
    %(secret_fingerprint)s::text, %(preference)s::int
)

-- update_contact_method --
-- Its name and its place among its person's; on or off.
update public.apm_contact_methods
set name = %(name)s::text,
    preference = %(preference)s::int,
    disabled_at = case when %(is_disabled)s::boolean then coalesce(disabled_at, now()) end,
    disabled_reason = case when %(is_disabled)s then coalesce(disabled_reason, 'by a person') end
where id = %(id)s::uuid
returning id

-- move_contact_method --
-- It is somewhere else.
update public.apm_contact_methods
set address = %(address)s::text
where id = %(id)s::uuid

-- replace_contact_secret --
-- A new secret in place of the old one, which nobody can read here.
update public.apm_contact_methods
set secret_ciphertext = %(secret_ciphertext)s::bytea, secret_fingerprint = %(secret_fingerprint)s::text
where id = %(id)s::uuid

-- list_contacts_beside --
-- All ways to reach the person of one contact, in the order in which they are tried.
select c.id, c.name, c.channel, c.verified_at, c.disabled_at, c.preference
from public.apm_contact_methods as one
join public.apm_contact_methods as c on c.organization_id = one.organization_id
    and coalesce(c.user_id::text, 'named ' || lower(c.name)) = coalesce(one.user_id::text, 'named ' || lower(one.name))
where one.id = %(id)s::uuid
order by c.preference, c.created_at, c.id

-- order_contacts --
-- The contacts that are named, in this order.
update public.apm_contact_methods as c
set preference = o.place * 10
from unnest(%(ids)s::uuid[]) with ordinality as o (id, place)
where c.id = o.id and c.preference <> o.place * 10
returning c.id

-- delete_contact_method --
-- Gone from every ladder, too.
delete from public.apm_contact_methods
where id = %(id)s::uuid

-- list_deliveries --
-- The messages of the organizations, newest first, of one incident where it is named.
with page as materialized (
    select d.id, d.organization_id, d.incident_id, d.contact_method_id, d.channel, d.kind, d.reason, d.recipient, d.subject,
        d.state, d.state_reason, d.stage, d.bundled_into, d.stands_in_for, d.due_at, d.attempt, d.provider_id,
        d.provider_status, d.created_at, d.sent_at, d.delivered_at, (
            select coalesce(jsonb_agg(jsonb_build_object(
                'attempt', a.attempt, 'started_at', a.started_at, 'finished_at', a.finished_at, 'outcome', a.outcome,
                'provider_status', a.provider_status, 'error', a.error
            ) order by a.attempt), '[]')
            from public.apm_delivery_attempts as a
            where a.organization_id = d.organization_id and a.delivery_id = d.id
        ) as attempts
    from public.apm_deliveries as d
    where d.organization_id = any (%(organization_ids)s::uuid[])
        and (%(incident_id)s::uuid is null or d.incident_id = %(incident_id)s)
        and (%(before_at)s::timestamptz is null or (d.created_at, d.id) < (%(before_at)s, %(before_id)s::uuid))
    order by d.created_at desc, d.id desc
    limit %(limit)s::int
)
select p.*, t.body
from page as p
left join public.apm_delivery_texts(array(select p.id from page as p)) as t on t.delivery_id = p.id
order by p.created_at desc, p.id desc

-- list_contact_proofs --
-- The newest codes and tests of one contact.
with page as materialized (
    select d.id, d.organization_id, d.incident_id, d.contact_method_id, d.channel, d.kind, d.reason, d.recipient, d.subject,
        d.state, d.state_reason, d.due_at, d.attempt, d.provider_id, d.provider_status, d.created_at, d.sent_at, d.delivered_at
    from public.apm_deliveries as d
    where d.organization_id = %(organization_id)s::uuid and d.contact_method_id = %(contact_method_id)s::uuid
        and d.kind in ('verify', 'test')
    order by d.created_at desc, d.id desc
    limit %(limit)s::int
)
select p.*, t.body
from page as p
left join public.apm_delivery_texts(array(select p.id from page as p)) as t on t.delivery_id = p.id
order by p.created_at desc, p.id desc

-- find_delivery --
-- One message.
select d.id, d.organization_id, d.incident_id, d.contact_method_id, d.channel, d.kind, d.reason, d.recipient, d.subject,
    (select t.body from public.apm_delivery_texts(array[d.id]) as t) as body,
    d.state, d.state_reason, d.stage, d.bundled_into, d.stands_in_for, d.due_at, d.attempt, d.provider_id,
    d.provider_status, d.created_at, d.sent_at, d.delivered_at, (
        select coalesce(jsonb_agg(jsonb_build_object(
            'attempt', a.attempt, 'started_at', a.started_at, 'finished_at', a.finished_at, 'outcome', a.outcome,
            'provider_status', a.provider_status, 'error', a.error
        ) order by a.attempt), '[]')
        from public.apm_delivery_attempts as a
        where a.organization_id = d.organization_id and a.delivery_id = d.id
    ) as attempts
from public.apm_deliveries as d
where d.id = %(id)s::uuid

-- find_quiet_hours --
-- When a contact that the caller can see is not to be disturbed, and the next times of it.
select c.id as contact_method_id, to_char(q.starts_time, 'HH24:MI') as start, to_char(q.ends_time, 'HH24:MI') as "end",
    q.time_zone, q.weekdays, q.updated_at, (
        select coalesce(jsonb_agg(jsonb_build_object('starts_at', s.starts_at, 'ends_at', s.ends_at) order by s.starts_at), '[]')
        from public.apm_quiet_spans(c.id) as s
    ) as next_spans
from public.apm_contact_methods as c
left join public.apm_quiet_hours as q on q.organization_id = c.organization_id and q.contact_method_id = c.id
where c.id = %(contact_method_id)s::uuid

-- set_quiet_hours --
-- In place of those that were there.
insert into public.apm_quiet_hours (organization_id, contact_method_id, starts_time, ends_time, time_zone, weekdays)
select c.organization_id, c.id, %(start)s::time, %(end)s::time, %(time_zone)s::text, %(weekdays)s::int[]
from public.apm_contact_methods as c
where c.id = %(contact_method_id)s::uuid
on conflict (organization_id, contact_method_id) do update set
    starts_time = excluded.starts_time, ends_time = excluded.ends_time, time_zone = excluded.time_zone,
    weekdays = excluded.weekdays
returning contact_method_id

-- clear_quiet_hours --
-- None any more: what they hold back goes out.
delete from public.apm_quiet_hours
where contact_method_id = %(contact_method_id)s::uuid
returning contact_method_id

-- may_manage_contact --
-- Whether the caller may decide about a contact: his own, or the business' as its admin.
select c.id = any (public.apm_own_contact_ids()) or c.organization_id = any (public.apm_organization_ids_as('ADMIN')) as may_manage
from public.apm_contact_methods as c
where c.id = %(contact_method_id)s::uuid

-- start_verification --
-- Sends a code to a contact of the caller's; until when it is good.
select public.apm_start_verification(%(contact_method_id)s::uuid, %(delivery_id)s::uuid, %(code_hash)s::bytea) as expires_at

-- verify_contact --
-- Whether that was the code: verified, wrong, expired, used_up or none.
select public.apm_verify_contact(%(contact_method_id)s::uuid, %(code_hash)s::bytea) as said

-- send_test --
-- A test message to a contact of the caller's.
select public.apm_send_test(%(contact_method_id)s::uuid) as delivery_id

-- find_callback_contact [apm_api] --
-- A contact with what its secret is opened by; for the door of callbacks, and to change it field by field.
select found.* from apm_private.find_callback_contact(%(id)s::uuid) as found

-- hear_acknowledgement [apm_api] --
-- Acknowledges for somebody who did so in the system behind a contact; what came of it.
select apm_private.hear_acknowledgement(
    %(contact_method_id)s::uuid, %(incident_id)s::uuid, %(generation)s::int, %(receiver)s::text, %(event_id)s::text,
    %(happened_at)s::timestamptz, clock_timestamp()
) as outcome

-- hear_drill [apm_api] --
-- Answers a drill for somebody who did so in the system behind a contact; what came of it.
select apm_private.hear_drill(%(contact_method_id)s::uuid, %(delivery_id)s::uuid, clock_timestamp()) as outcome

-- rotate_contact_secret --
-- A contact's secret with a fresh key in it: it stays verified, because it is where it was.
select public.apm_rotate_contact_secret(
    %(contact_method_id)s::uuid, %(secret_ciphertext)s::bytea, %(secret_fingerprint)s::text
)
