-- What files say about weddings, beside what came from files before. Everything runs as the admin who imports.

-- read_habits --
-- The organization's clock and language, and the date there at this moment.
select h.time_zone, h.locale, (now() at time zone 'UTC')::date as today, public.apm_role_in(%(organization_id)s::uuid) as role
from public.apm_calendar_habits(%(organization_id)s::uuid) as h

-- lock_imports --
-- One import of an organization at a time: two of the same file would both make its weddings.
select pg_advisory_xact_lock(hashtextextended('wedding import ' || %(organization_id)s::uuid::text, 0))

-- list_imports --
-- The weddings that came from these entries before, as they stand now.
select i.external_uid, i.recurrence, i.sequence, i.content_hash, i.wedding_id,
    w.wedding_date, w.time_zone, w.status, w.venue_name, p.couple_names, p.contacts, p.visible_to, v.windows
from public.apm_wedding_imports as i
join public.apm_weddings as w on w.organization_id = i.organization_id and w.id = i.wedding_id
left join public.apm_wedding_people as p on p.organization_id = w.organization_id and p.wedding_id = w.id
left join public.apm_wedding_windows_of(array(
    select x.wedding_id from public.apm_wedding_imports as x
    where x.organization_id = %(organization_id)s::uuid and x.external_uid = any (%(uids)s::text[])
)) as v on v.wedding_id = w.id
where i.organization_id = %(organization_id)s::uuid and i.external_uid = any (%(uids)s::text[])

-- create_imported_wedding --
-- A wedding of a file, without people and phases yet.
insert into public.apm_weddings
    (organization_id, couple_initials, venue_name, wedding_date, time_zone, status, source, created_by)
values (
    %(organization_id)s::uuid, %(couple_initials)s::text, %(venue_name)s::text, %(wedding_date)s::date,
    %(time_zone)s::text, %(status)s::text, 'import', auth.uid()
)
returning id

-- update_imported_wedding --
-- The wedding as the file says now.
update public.apm_weddings
set couple_initials = %(couple_initials)s::text,
    venue_name = %(venue_name)s::text,
    wedding_date = %(wedding_date)s::date,
    time_zone = %(time_zone)s::text,
    status = %(status)s::text
where organization_id = %(organization_id)s::uuid and id = %(wedding_id)s::uuid

-- cancel_imported_wedding --
-- Cancelled in the calendar that it came from, or gone from it.
update public.apm_weddings
set status = 'cancelled'
where organization_id = %(organization_id)s::uuid and id = %(wedding_id)s::uuid

-- note_import --
-- Which entry the wedding is, and what that said.
insert into public.apm_wedding_imports as i
    (organization_id, wedding_id, external_uid, recurrence, sequence, content_hash, imported_at)
values (
    %(organization_id)s::uuid, %(wedding_id)s::uuid, %(external_uid)s::text, %(recurrence)s::text, %(sequence)s::int,
    %(content_hash)s::bytea, now()
)
on conflict (organization_id, external_uid, recurrence) do update
set sequence = excluded.sequence, content_hash = excluded.content_hash, imported_at = excluded.imported_at

-- note_run --
-- What a file did, for the list of imports.
insert into public.apm_wedding_import_runs (organization_id, format, counts, refused, faults)
values (%(organization_id)s::uuid, %(format)s::text, %(counts)s::jsonb, %(refused)s::int, %(faults)s::jsonb)

-- list_runs --
-- The organization's imports, the newest first; nothing for those who may not import.
select r.id, r.format, r.imported_at, r.imported_by, r.counts, r.refused, r.faults
from public.apm_wedding_import_runs as r
where r.organization_id = %(organization_id)s::uuid
order by r.imported_at desc, r.id
limit %(limit)s::int
