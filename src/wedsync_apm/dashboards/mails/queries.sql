-- Dashboards by mail: members set them, the engine sends them, and a link ends one.

-- list_dashboard_mails --
-- To whom a dashboard goes out, and when.
select m.id, m.weekday, m.at_time, m.time_zone, m.next_at, m.span, m.variables, c.name, c.user_id
from public.apm_dashboard_mails as m
join public.apm_contact_methods as c on c.organization_id = m.organization_id and c.id = m.contact_method_id
where m.organization_id = %(organization_id)s::uuid and m.dashboard_id = %(dashboard_id)s::uuid
order by c.name, m.id
limit %(limit)s::int

-- list_mail_receivers --
-- Who can get a dashboard by mail: people with an e-mail address that they have proven.
select c.id, c.name
from public.apm_contact_methods as c
where c.organization_id = %(organization_id)s::uuid and c.channel = 'email' and c.user_id is not null
    and c.verified_at is not null and c.disabled_at is null
order by c.name, c.id
limit %(limit)s::int

-- end_earlier_dashboard_mail --
-- There is one rhythm for a receiver: the one before ends.
delete from public.apm_dashboard_mails as m
where m.organization_id = %(organization_id)s::uuid and m.dashboard_id = %(dashboard_id)s::uuid
    and m.contact_method_id = %(contact_method_id)s::uuid

-- add_dashboard_mail --
-- From now on it goes out to this contact, in this rhythm.
insert into public.apm_dashboard_mails (
    organization_id, dashboard_id, contact_method_id, weekday, at_time, time_zone, span, variables, next_at, created_by
)
values (
    %(organization_id)s::uuid, %(dashboard_id)s::uuid, %(contact_method_id)s::uuid, %(weekday)s::int, %(at_time)s::time,
    %(time_zone)s::text, %(span)s::text, %(variables)s::jsonb, %(next_at)s::timestamptz, %(created_by)s::uuid
)

-- delete_dashboard_mail --
-- It goes out no more.
delete from public.apm_dashboard_mails
where organization_id = %(organization_id)s::uuid and dashboard_id = %(dashboard_id)s::uuid and id = %(id)s::uuid

-- look_up_dashboard_mail [apm_api] --
-- Which dashboard a link in a mail is about; it changes nothing.
select apm_private.look_up_dashboard_mail(%(id)s::uuid) as name

-- leave_dashboard_mail [apm_api] --
-- Whoever has the link in his mail gets no more of them.
select apm_private.leave_dashboard_mail(%(id)s::uuid) as is_done

-- list_due_dashboard_mails [apm_engine] --
-- What is due, the oldest first, with whose eyes it is read.
select m.organization_id, m.id, m.dashboard_id, m.weekday, m.at_time, m.time_zone, m.span, m.variables, m.next_at, c.user_id,
    exists (select from apm_private.members_among(m.organization_id, array[c.user_id])) and c.channel = 'email'
        and c.verified_at is not null and c.disabled_at is null as is_receiver
from public.apm_dashboard_mails as m
join public.apm_contact_methods as c on c.organization_id = m.organization_id and c.id = m.contact_method_id
where m.next_at <= %(at)s::timestamptz
order by m.next_at, m.id
limit %(limit)s::int

-- send_dashboard_mail [apm_engine] --
-- Puts one in line with what was drawn, and says when the next is due; nothing where another engine was faster.
with advanced as (
    update public.apm_dashboard_mails as m set next_at = %(next_at)s::timestamptz
    where m.organization_id = %(organization_id)s::uuid and m.id = %(id)s::uuid and m.next_at = %(due_at)s::timestamptz
    returning m.organization_id, m.id, m.dashboard_id, m.contact_method_id
), receiver as (
    select a.organization_id, a.id as mail_id, a.dashboard_id, c.id, c.user_id, c.name, c.address
    from advanced as a
    join public.apm_contact_methods as c on c.organization_id = a.organization_id and c.id = a.contact_method_id
    where c.channel = 'email' and c.verified_at is not null and c.disabled_at is null
        and exists (select from apm_private.members_among(a.organization_id, array[c.user_id]))
), paper as (
    insert into apm_private.mail_papers (organization_id, id, name, content, made_at)
    select r.organization_id, %(paper_id)s::uuid, %(paper_name)s::text, %(paper)s::bytea, %(at)s::timestamptz
    from receiver as r
    where %(paper)s is not null
), sent as (
    insert into public.apm_deliveries (
        organization_id, contact_method_id, channel, kind, reason, recipient, payload, idempotency_key, priority, due_at,
        created_at, expires_at
    )
    select r.organization_id, r.id, 'email', 'report', 'dashboard',
        jsonb_build_object('name', r.name, 'address', r.address, 'user_id', r.user_id),
        %(payload)s::jsonb || jsonb_build_object('mail_id', r.mail_id, 'path', '/dashboards/' || r.dashboard_id),
        concat_ws(':', 'dashboard', r.mail_id, extract(epoch from %(due_at)s)::bigint), 5, %(at)s::timestamptz,
        %(at)s::timestamptz, %(at)s::timestamptz + %(lifetime)s::interval
    from receiver as r
    on conflict (organization_id, idempotency_key) do nothing
    returning id
)
select count(*) as sent from sent

-- end_dashboard_mail [apm_engine] --
-- Its receiver has left, or sees the dashboard no more.
delete from public.apm_dashboard_mails as m
where m.organization_id = %(organization_id)s::uuid and m.id = %(id)s::uuid and m.next_at = %(due_at)s::timestamptz

-- forget_papers [apm_engine] --
-- What no mail needs any more.
delete from apm_private.mail_papers as p where p.made_at < %(before)s::timestamptz
