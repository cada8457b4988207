-- The wedding calendar as members see and change it. Names stand in a table of their own, which a viewer does not see.

-- list_weddings --
-- The organizations' weddings from a date on, the latest entry first; after ours those that only the host's clients know.
with ours as (
    select w.id, w.organization_id, w.client_id, w.couple_initials, w.venue_name, w.wedding_date, w.time_zone, w.status,
        w.source, w.created_by, w.created_at, w.updated_at, w.moved_from, w.created_at as listed_at,
        p.couple_names, p.contacts, p.visible_to, w.shared_key is not null as is_shared,
        null::jsonb as windows, false as is_host_row, false as are_names_readable
    from public.apm_weddings as w
    left join public.apm_wedding_people as p on p.organization_id = w.organization_id and p.wedding_id = w.id
    where w.organization_id = any (%(organization_ids)s::uuid[])
        and (%(earliest)s::date is null or w.wedding_date >= %(earliest)s)
        and (%(latest)s::date is null or w.wedding_date <= %(latest)s)
), hosts as (
    select c.client_id as id, c.organization_id, c.client_id, c.initials as couple_initials, c.venue_name, c.wedding_date,
        null::text as time_zone, 'booked' as status, 'client' as source, null::uuid as created_by,
        null::timestamptz as created_at, null::timestamptz as updated_at, null::date as moved_from,
        to_timestamp(0) as listed_at,
        null::text as couple_names, null::jsonb as contacts, null::text as visible_to, false as is_shared, c.windows,
        true as is_host_row, has_table_privilege('public.clients', 'select') as are_names_readable
    from public.apm_client_weddings(
        %(organization_ids)s::uuid[],
        coalesce(%(earliest)s::date, '-infinity'::date), coalesce(%(latest)s::date, 'infinity'::date)
    ) as c
)
select *
from (select * from ours union all select * from hosts) as w
where %(before_at)s::timestamptz is null or (w.listed_at, w.id) < (%(before_at)s, %(before_id)s::uuid)
order by w.listed_at desc, w.id desc
limit %(limit)s::int

-- list_moved --
-- The organization's weddings that were moved away from a day of the range.
select w.id, w.couple_initials, w.moved_from, w.wedding_date, w.status, p.couple_names
from public.apm_weddings as w
left join public.apm_wedding_people as p on p.organization_id = w.organization_id and p.wedding_id = w.id
where w.organization_id = %(organization_id)s::uuid and w.moved_from between %(earliest)s::date and %(latest)s::date
order by w.moved_from, w.id
limit %(limit)s::int

-- list_client_names --
-- The couples' names of the host's clients, where the host's policies and the caller's role let him read them.
select c.id, concat_ws(
    ' & ',
    nullif(concat_ws(' ', to_jsonb(c) ->> 'first_name', to_jsonb(c) ->> 'last_name'), ''),
    nullif(concat_ws(' ', to_jsonb(c) ->> 'partner_first_name', to_jsonb(c) ->> 'partner_last_name'), '')
) as couple_names
from public.clients as c
where c.id = any (%(ids)s::uuid[])
    and c.organization_id = any ((select public.apm_organization_ids_as('MEMBER'))::uuid[])

-- find_wedding --
-- One wedding of ours with its people, where the caller may know them, and its phases.
select w.*, p.couple_names, p.contacts, p.visible_to, w.shared_key is not null as is_shared,
    null::jsonb as windows, false as is_host_row
from public.apm_weddings as w
left join public.apm_wedding_people as p on p.organization_id = w.organization_id and p.wedding_id = w.id
where w.id = %(id)s::uuid

-- lock_wedding --
-- Holds a wedding for whoever may change it; of two changes the second begins with what the first one made.
select w.id from public.apm_weddings as w
where w.id = %(id)s::uuid
for update

-- find_client_wedding --
-- One wedding that only the host's clients know.
select c.client_id as id, c.organization_id, c.client_id, c.initials as couple_initials, c.venue_name, c.wedding_date,
    null::text as time_zone, 'booked' as status, 'client' as source, null::uuid as created_by,
    null::timestamptz as created_at, null::timestamptz as updated_at, null::date as moved_from,
    null::text as couple_names, null::jsonb as contacts, null::text as visible_to, false as is_shared, c.windows,
    true as is_host_row, has_table_privilege('public.clients', 'select') as are_names_readable
from public.apm_client_weddings(
    (select public.apm_current_organization_ids())::uuid[], '-infinity'::date, 'infinity'::date
) as c
where c.client_id = %(id)s::uuid

-- create_wedding --
-- A wedding without people and phases yet; these follow in the same transaction.
insert into public.apm_weddings
    (organization_id, client_id, couple_initials, venue_name, wedding_date, time_zone, status, created_by)
values (
    %(organization_id)s::uuid, %(client_id)s::uuid, %(couple_initials)s::text, %(venue_name)s::text,
    %(wedding_date)s::date, %(time_zone)s::text, %(status)s::text, auth.uid()
)
returning id

-- update_wedding --
-- The whole wedding as it shall be.
update public.apm_weddings
set client_id = %(client_id)s::uuid,
    couple_initials = %(couple_initials)s::text,
    venue_name = %(venue_name)s::text,
    wedding_date = %(wedding_date)s::date,
    time_zone = %(time_zone)s::text,
    status = %(status)s::text
where id = %(id)s::uuid
returning id

-- list_windows_of --
-- The phases of some weddings of ours, worked out from the venue's clock at this moment.
select w.wedding_id, w.windows
from public.apm_wedding_windows_of(%(ids)s::uuid[]) as w

-- list_shared_weddings --
-- How many other vendors have a part in some weddings of ours, and whether they have it on the same date.
select s.wedding_id, s.other_vendors, s.is_date_agreed
from public.apm_shared_weddings(%(ids)s::uuid[]) as s

-- upsert_wedding_people --
-- The couple and whom to ring.
insert into public.apm_wedding_people as p (organization_id, wedding_id, couple_names, contacts, visible_to)
values (
    %(organization_id)s::uuid, %(wedding_id)s::uuid, %(couple_names)s::text, %(contacts)s::jsonb, %(visible_to)s::text
)
on conflict (organization_id, wedding_id) do update
set couple_names = excluded.couple_names, contacts = excluded.contacts, visible_to = excluded.visible_to

-- clear_wedding_windows --
-- Before new phases take their place.
delete from public.apm_wedding_windows
where organization_id = %(organization_id)s::uuid and wedding_id = %(wedding_id)s::uuid

-- add_wedding_windows --
-- The phases as entered, by the venue's clock or as instants; the database works out the other of the two.
insert into public.apm_wedding_windows (organization_id, wedding_id, phase, span, starts_local, ends_local)
select %(organization_id)s::uuid, %(wedding_id)s::uuid, w.phase,
    case when w.starts_at is not null then tstzrange(w.starts_at, w.ends_at) end, w.starts_local, w.ends_local
from unnest(
    %(phases)s::text[], %(starts_at)s::timestamptz[], %(ends_at)s::timestamptz[],
    %(starts_local)s::timestamp[], %(ends_local)s::timestamp[]
) as w (phase, starts_at, ends_at, starts_local, ends_local)

-- delete_wedding --
-- Gone with its people and phases.
delete from public.apm_weddings
where id = %(id)s::uuid

-- answer_wedding_day --
-- Whether the date, or today at the venue, is a wedding day; null for an organization that is not the caller's.
select public.is_wedding_day(%(organization_id)s::uuid, %(date)s::date) as is_wedding_day, now() as at

-- list_windows_at --
-- The weddings under way at an instant, the next milestone first.
select wedding_id, phase, lower(span) as starts_at, upper(span) as ends_at, time_zone, minutes_to_next_milestone
from public.wedding_window_at(%(organization_id)s::uuid, %(at)s::timestamptz)

-- list_phases_between --
-- How near the organization's weddings are over a range, the most telling phase first.
select p.wedding_id, p.wedding_date, p.time_zone, p.phase, lower(p.span) as starts_at, upper(p.span) as ends_at, p.precedence
from public.apm_wedding_phases(%(organization_id)s::uuid, %(earliest)s::timestamptz, %(latest)s::timestamptz) as p
order by lower(p.span), p.precedence, p.wedding_id
limit %(limit)s::int

-- share_wedding --
-- Until when a code for the other vendors is good; null for no admin of the wedding's organization.
select public.apm_share_wedding(%(id)s::uuid, %(code_hash)s::bytea) as expires_at

-- join_wedding --
-- Whether the wedding became a part of the shared one; null for no admin of the wedding's organization.
select public.apm_join_wedding(%(id)s::uuid, %(code_hash)s::bytea) as is_joined

-- leave_wedding --
-- Whether the wedding was a part of a shared one; null for no admin of the wedding's organization.
select public.apm_leave_wedding(%(id)s::uuid) as has_left

-- reveal_wedding --
-- Who marries, for an operator with a reason; the reason stands in the audit log afterwards.
select r.* from public.apm_reveal_wedding(%(id)s::uuid, %(reason)s::text) as r
