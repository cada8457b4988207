-- On-call schedules, as members see and change them.

-- list_schedules --
-- The organizations' schedules with their rotations, newest first.
select s.*, (
    select coalesce(jsonb_agg(jsonb_build_object(
        'participants', l.participants,
        'starts_on', l.starts_on,
        'handover_time', to_char(l.handover_time, 'HH24:MI'),
        'shift_days', l.shift_days,
        'weekdays', l.weekdays,
        'from_time', to_char(l.from_time, 'HH24:MI'),
        'until_time', to_char(l.until_time, 'HH24:MI')
    ) order by l.position), '[]')
    from public.apm_on_call_layers as l
    where l.organization_id = s.organization_id and l.schedule_id = s.id
) as layers
from public.apm_on_call_schedules as s
where s.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (s.created_at, s.id) < (%(before_at)s, %(before_id)s::uuid))
order by s.created_at desc, s.id desc
limit %(limit)s::int

-- find_schedule --
-- One schedule with its rotations.
select s.*, (
    select coalesce(jsonb_agg(jsonb_build_object(
        'participants', l.participants,
        'starts_on', l.starts_on,
        'handover_time', to_char(l.handover_time, 'HH24:MI'),
        'shift_days', l.shift_days,
        'weekdays', l.weekdays,
        'from_time', to_char(l.from_time, 'HH24:MI'),
        'until_time', to_char(l.until_time, 'HH24:MI')
    ) order by l.position), '[]')
    from public.apm_on_call_layers as l
    where l.organization_id = s.organization_id and l.schedule_id = s.id
) as layers
from public.apm_on_call_schedules as s
where s.id = %(id)s::uuid

-- create_schedule --
-- A schedule; its rotations follow in the same transaction.
insert into public.apm_on_call_schedules (organization_id, name, time_zone)
select %(organization_id)s::uuid, v.name, v.time_zone
from jsonb_populate_record(null::public.apm_on_call_schedules, %(values)s::jsonb) as v
returning id

-- update_schedule --
-- Changes the named values and no others.
update public.apm_on_call_schedules as t
set (name, time_zone) = (
    select v.name, v.time_zone
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.id, t.organization_id

-- delete_schedule --
-- Gone with all that hangs on it; a ladder that named it goes on without.
delete from public.apm_on_call_schedules
where id = %(id)s::uuid

-- clear_layers --
-- Before new ones take their place.
delete from public.apm_on_call_layers
where organization_id = %(organization_id)s::uuid and schedule_id = %(schedule_id)s::uuid

-- add_layer --
-- One rotation of a schedule.
insert into public.apm_on_call_layers (
    organization_id, schedule_id, position, participants, starts_on, handover_time, shift_days, weekdays, from_time,
    until_time
)
values (
    %(organization_id)s::uuid, %(schedule_id)s::uuid, %(position)s::int, %(participants)s::uuid[], %(starts_on)s::date,
    %(handover_time)s::time, %(shift_days)s::int, %(weekdays)s::int[], %(from_time)s::time, %(until_time)s::time
)

-- list_overrides --
-- The organizations' overrides, newest first.
select *
from public.apm_on_call_overrides
where organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc
limit %(limit)s::int

-- find_override --
-- An override that the caller can see.
select *
from public.apm_on_call_overrides
where id = %(id)s::uuid

-- create_override --
-- One person instead of all else, for a while.
insert into public.apm_on_call_overrides (organization_id, schedule_id, user_id, starts_at, ends_at, reason)
select %(organization_id)s::uuid, v.schedule_id, v.user_id, v.starts_at, v.ends_at, v.reason
from jsonb_populate_record(null::public.apm_on_call_overrides, %(values)s::jsonb) as v
returning *

-- update_override --
-- Changes the named values and no others.
update public.apm_on_call_overrides as t
set (schedule_id, user_id, starts_at, ends_at, reason) = (
    select v.schedule_id, v.user_id, v.starts_at, v.ends_at, v.reason
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*

-- delete_override --
-- The schedule counts again.
delete from public.apm_on_call_overrides
where id = %(id)s::uuid

-- list_temporary_schedules --
-- The organizations' temporary schedules, newest first.
select t.*, (
    select jsonb_agg(jsonb_build_object('user_id', s.user_id, 'starts_at', s.starts_at, 'ends_at', s.ends_at) order by s.n)
    from unnest(t.shift_user_ids, t.shift_starts, t.shift_ends) with ordinality as s (user_id, starts_at, ends_at, n)
) as shifts
from public.apm_on_call_temporary_schedules as t
where t.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (t.created_at, t.id) < (%(before_at)s, %(before_id)s::uuid))
order by t.created_at desc, t.id desc
limit %(limit)s::int

-- find_temporary_schedule --
-- A temporary schedule that the caller can see.
select t.*, (
    select jsonb_agg(jsonb_build_object('user_id', s.user_id, 'starts_at', s.starts_at, 'ends_at', s.ends_at) order by s.n)
    from unnest(t.shift_user_ids, t.shift_starts, t.shift_ends) with ordinality as s (user_id, starts_at, ends_at, n)
) as shifts
from public.apm_on_call_temporary_schedules as t
where t.id = %(id)s::uuid

-- create_temporary_schedule --
-- Shifts that count instead of the rotations, for a while.
insert into public.apm_on_call_temporary_schedules
    (organization_id, schedule_id, starts_at, ends_at, reason, shift_user_ids, shift_starts, shift_ends)
select %(organization_id)s::uuid, v.schedule_id, v.starts_at, v.ends_at, v.reason, v.shift_user_ids, v.shift_starts,
    v.shift_ends
from jsonb_populate_record(null::public.apm_on_call_temporary_schedules, %(values)s::jsonb) as v
returning *, %(values)s::jsonb -> 'shifts' as shifts

-- update_temporary_schedule --
-- Changes the named values and no others.
update public.apm_on_call_temporary_schedules as t
set (schedule_id, starts_at, ends_at, reason, shift_user_ids, shift_starts, shift_ends) = (
    select v.schedule_id, v.starts_at, v.ends_at, v.reason, v.shift_user_ids, v.shift_starts, v.shift_ends
    from jsonb_populate_record(t, %(values)s::jsonb) as v
)
where t.id = %(id)s::uuid
returning t.*, (
    select jsonb_agg(jsonb_build_object('user_id', s.user_id, 'starts_at', s.starts_at, 'ends_at', s.ends_at) order by s.n)
    from unnest(t.shift_user_ids, t.shift_starts, t.shift_ends) with ordinality as s (user_id, starts_at, ends_at, n)
) as shifts

-- delete_temporary_schedule --
-- The rotations count again.
delete from public.apm_on_call_temporary_schedules
where id = %(id)s::uuid

-- list_on_call --
-- Of each schedule of the organizations who is on call from an instant until another one.
select s.id as schedule_id, s.organization_id, s.name as schedule_name, s.time_zone, p.user_id, p.name, p.starts_at,
    p.ends_at, p.source, p.layer, p.contacts, p.verified
from public.apm_on_call_schedules as s
left join lateral public.apm_on_call(s.id, %(earliest)s::timestamptz, %(latest)s::timestamptz) as p on true
where s.organization_id = any (%(organization_ids)s::uuid[])
order by s.name, s.id, p.starts_at, p.user_id
limit 20000

-- list_shifts --
-- Who is on call by one schedule from an instant until another one.
select p.user_id, p.name, p.starts_at, p.ends_at, p.source, p.layer, p.contacts, p.verified
from public.apm_on_call(%(id)s::uuid, %(earliest)s::timestamptz, %(latest)s::timestamptz) as p
order by p.starts_at, p.user_id

-- list_wedding_cover --
-- What the schedules leave open in each wedding dated in a range that is not over, one row for each of both.
select o.id as organization_id, w.wedding_id, w.wedding_date, w.wedding_zone, w.starts_at, w.ends_at, w.schedule_id,
    w.schedule_name, w.is_used, w.people, w.unreachable, w.thin, (
        select coalesce(
            jsonb_agg(jsonb_build_object('starts_at', lower(g.gap), 'ends_at', upper(g.gap)) order by lower(g.gap)), '[]'
        )
        from unnest(w.gaps) as g (gap)
    ) as gaps
from unnest(%(organization_ids)s::uuid[]) as o (id)
cross join lateral public.apm_on_call_weddings(
    o.id, (%(at)s::timestamptz at time zone 'UTC')::date - 3, (%(at)s at time zone 'UTC')::date + %(days)s::int
) as w
where w.ends_at > %(at)s
order by w.starts_at, w.wedding_id, w.schedule_name
