-- Silences, maintenance windows and inhibition rules as members see and change them.

-- list_silences --
-- The organizations' silences, newest first, as they stand, or only those in one state.
select s.*, a.state, a.works_until, a.weddings
from public.apm_silences as s
cross join lateral public.apm_silence_at(s.id) as a
where s.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (s.created_at, s.id) < (%(before_at)s, %(before_id)s::uuid))
    and (%(state)s::text is null or a.state = %(state)s::text)
order by s.created_at desc, s.id desc
limit %(limit)s::int

-- find_silence --
-- A silence that the caller can see, as it stands, and whether he asked for it.
select s.*, public.apm_is_own(s.created_by) as is_own, a.state, a.works_until, a.weddings
from public.apm_silences as s
cross join lateral public.apm_silence_at(s.id) as a
where s.id = %(id)s::uuid

-- create_silence --
-- A new silence; the owner is the caller unless another is named.
insert into public.apm_silences (organization_id, matchers, starts_at, ends_at, reason, owner)
values (
    %(organization_id)s::uuid, %(matchers)s::jsonb, coalesce(%(starts_at)s::timestamptz, now()),
    %(ends_at)s::timestamptz, %(reason)s::text, %(owner)s::text
)
returning id

-- approve_silence --
-- The second person says yes; refuses whoever made it.
select public.apm_approve_silence(%(id)s::uuid)

-- expire_silence --
-- Ends it now.
select public.apm_expire_silence(%(id)s::uuid)

-- list_maintenance_windows --
-- The organizations' maintenance windows, newest first, with the next times that each is open.
select m.*, to_char(m.starts_time, 'HH24:MI') as starts_time, to_char(m.ends_time, 'HH24:MI') as ends_time, (
    select coalesce(jsonb_agg(to_jsonb(o) order by o.starts_at), '[]')
    from public.apm_maintenance_spans(m.id, now(), 5) as o
) as next_spans, a.state, a.needs_approval, a.weddings
from public.apm_maintenance_windows as m
cross join lateral public.apm_maintenance_at(m.id) as a
where m.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (m.created_at, m.id) < (%(before_at)s, %(before_id)s::uuid))
order by m.created_at desc, m.id desc
limit %(limit)s::int

-- find_maintenance_window --
-- A maintenance window that the caller can see, with the next times that it is open, and whether he planned it.
select m.*, public.apm_is_own(m.planned_by) as is_own, to_char(m.starts_time, 'HH24:MI') as starts_time,
    to_char(m.ends_time, 'HH24:MI') as ends_time, (
    select coalesce(jsonb_agg(to_jsonb(o) order by o.starts_at), '[]')
    from public.apm_maintenance_spans(m.id, now(), 5) as o
) as next_spans, a.state, a.needs_approval, a.weddings
from public.apm_maintenance_windows as m
cross join lateral public.apm_maintenance_at(m.id) as a
where m.id = %(id)s::uuid

-- create_maintenance_window --
-- A new maintenance window.
insert into public.apm_maintenance_windows (
    organization_id, created_by, name, reason, matchers, starts_at, ends_at, weekdays, starts_time, ends_time, time_zone,
    first_day, last_day, every_weeks, is_active
)
select
    %(organization_id)s::uuid, %(created_by)s::uuid, v.name, v.reason, v.matchers, v.starts_at, v.ends_at, v.weekdays,
    v.starts_time, v.ends_time, v.time_zone, v.first_day, v.last_day, v.every_weeks, v.is_active
from jsonb_populate_record(null::public.apm_maintenance_windows, %(values)s::jsonb) as v
returning *, '[]'::jsonb as next_spans

-- update_maintenance_window --
-- Changes the named values and no others.
update public.apm_maintenance_windows as t
set (
    name, reason, matchers, starts_at, ends_at, weekdays, starts_time, ends_time, time_zone, first_day, last_day,
    every_weeks, is_active
) = (
    select v.name, v.reason, v.matchers, v.starts_at, v.ends_at, v.weekdays, v.starts_time, v.ends_time, v.time_zone,
        v.first_day, v.last_day, v.every_weeks, v.is_active
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*, '[]'::jsonb as next_spans

-- delete_maintenance_window --
-- Gone; what it held back is told.
delete from public.apm_maintenance_windows
where id = %(id)s::uuid

-- approve_maintenance_window --
-- The second person says yes over the weddings that it meets; refuses whoever planned it.
select public.apm_approve_maintenance(%(id)s::uuid)

-- refuse_maintenance_window --
-- The second person says no over the weddings that it meets, and why; refuses whoever planned it.
select public.apm_refuse_maintenance(%(id)s::uuid, %(reason)s::text)

-- list_matched --
-- The live incidents that matchers match right now, and the rules that they are about.
select m.kind, m.id, m.title, m.is_whole
from public.apm_matched_now(%(organization_id)s::uuid, %(matchers)s::jsonb) as m

-- list_weddings_in_the_way --
-- The weddings that a time lies over.
select w.wedding_id, w.wedding_date, w.initials, w.starts_at, w.ends_at
from public.apm_weddings_in_the_way(
    %(organization_id)s::uuid, %(starts_at)s::timestamptz, %(ends_at)s::timestamptz
) as w

-- preview_maintenance --
-- When planned work that is not saved yet would be open, and the weddings that it would meet.
select p.spans, p.weddings
from public.apm_preview_maintenance(%(organization_id)s::uuid, %(values)s::jsonb) as p

-- list_waiting --
-- What waits for a second person whom the caller could be: of the organizations he belongs to, and for operators of all.
select w.kind, w.id, w.organization_id, public.apm_is_own(w.asked_by) as is_own, w.asked_at
from (
    select 'silence' as kind, s.id, s.organization_id, s.created_by as asked_by, s.created_at as asked_at
    from public.apm_silences as s
    where s.needs_approval and s.approved_at is null and s.expired_at is null and s.ends_at > now()
    union all
    select 'maintenance', m.id, m.organization_id, m.planned_by, m.updated_at
    from public.apm_maintenance_windows as m
    cross join lateral public.apm_maintenance_at(m.id) as a
    where m.is_active and (m.ends_at is null or m.ends_at > now()) and (m.last_day is null or m.last_day >= now() - interval '2 days')
        and a.needs_approval
) as w
where %(everywhere)s::boolean or w.organization_id = any (%(organization_ids)s::uuid[])
order by w.asked_at desc
limit 50

-- list_inhibition_rules --
-- The organizations' inhibition rules, newest first.
select *
from public.apm_inhibition_rules
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_inhibition_rule --
-- An inhibition rule that the caller can see.
select *
from public.apm_inhibition_rules
where id = %(id)s::uuid

-- create_inhibition_rule --
-- A new inhibition rule.
insert into public.apm_inhibition_rules (
    organization_id, created_by, name, source_matchers, target_matchers, equal, is_platform_wide, words,
    told_at_weddings, is_active
)
select
    %(organization_id)s::uuid, %(created_by)s::uuid, v.name, v.source_matchers, v.target_matchers, v.equal,
    v.is_platform_wide, v.words, v.told_at_weddings, v.is_active
from jsonb_populate_record(null::public.apm_inhibition_rules, %(values)s::jsonb) as v
returning *

-- update_inhibition_rule --
-- Changes the named values and no others.
update public.apm_inhibition_rules as t
set (name, source_matchers, target_matchers, equal, is_platform_wide, words, told_at_weddings, is_active) = (
    select v.name, v.source_matchers, v.target_matchers, v.equal, v.is_platform_wide, v.words, v.told_at_weddings,
        v.is_active
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*

-- delete_inhibition_rule --
-- Gone; what it held back is told.
delete from public.apm_inhibition_rules
where id = %(id)s::uuid
