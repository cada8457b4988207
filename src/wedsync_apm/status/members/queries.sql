-- find_status_page --
-- The vendor's page, for its own people.
select p.organization_id, p.slug, p.title, p.intro, p.is_public, p.is_indexed, p.check_ids, p.created_at, p.updated_at,
    public.apm_count_status_subscribers(p.organization_id) as subscribers
from public.apm_status_pages as p
where p.organization_id = %(organization_id)s::uuid

-- lock_status_page --
-- Kept still while somebody saves it, also where there is none yet.
select pg_advisory_xact_lock(hashtextextended('status page ' || %(organization_id)s::uuid, 0))

-- save_status_page --
-- Makes the page, or changes it.
insert into public.apm_status_pages as p (organization_id, slug, title, intro, is_public, is_indexed, check_ids)
values (
    %(organization_id)s::uuid, %(slug)s::text, %(title)s::text, %(intro)s::text, %(is_public)s::boolean,
    %(is_indexed)s::boolean, %(check_ids)s::uuid[]
)
on conflict (organization_id) do update set
    slug = excluded.slug, title = excluded.title, intro = excluded.intro, is_public = excluded.is_public,
    is_indexed = excluded.is_indexed, check_ids = excluded.check_ids
returning p.organization_id

-- close_status_page --
-- Off: it stays as it is set up, and its subscribers stay.
update public.apm_status_pages as p set is_public = false
where p.organization_id = %(organization_id)s::uuid
returning p.organization_id

-- preview_status_page --
-- What the page shows now, or would if it were public.
select public.apm_preview_status_page(%(organization_id)s::uuid, clock_timestamp()) as content

-- list_status_choices --
-- The checks that a page may show.
select c.id, c.display_name, c.couple_facing, c.is_active
from public.service_health_checks as c
where c.organization_id = %(organization_id)s::uuid and (c.vendor_facing or c.couple_facing)
order by c.couple_facing desc, c.display_name

-- post_status_note --
-- Says something on the page; subscribers are told soon after.
insert into public.apm_status_notes as n (organization_id, body, next_update_at, created_by)
values (%(organization_id)s::uuid, %(body)s::text, %(next_update_at)s::timestamptz, auth.uid())
returning n.id, n.organization_id, n.body, n.next_update_at, n.posted_at

-- list_status_notes --
-- What was said, the latest first.
select n.id, n.organization_id, n.body, n.next_update_at, n.posted_at
from public.apm_status_notes as n
where n.organization_id = %(organization_id)s::uuid
order by n.posted_at desc, n.id
limit 100

-- list_status_subscribers --
-- Who gets mail; for owners and admins.
select s.id, s.organization_id, s.address, s.asked_at, s.confirmed_at
from public.apm_status_subscribers as s
where s.organization_id = %(organization_id)s::uuid
order by s.asked_at desc, s.id
limit 1000
