-- Drills as members see and start them, as whoever got a message answers, and as the engine begins and ends them.

-- list_drills --
-- The organizations' drills, newest first.
select d.id, d.organization_id, d.cause, d.reason, d.wedding_id, d.planned_at, d.started_at, d.ends_at, d.ended_at,
    d.started_by, d.started_by_name, d.called, d.answered, d.in_time
from public.apm_drills as d
where d.organization_id = any (%(organization_ids)s::uuid[])
    and (%(before_at)s::timestamptz is null or (d.started_at, d.id) < (%(before_at)s, %(before_id)s::uuid))
order by d.started_at desc, d.id desc
limit %(limit)s::int

-- find_drill --
-- A drill that the caller can see.
select d.id, d.organization_id, d.cause, d.reason, d.wedding_id, d.planned_at, d.started_at, d.ends_at, d.ended_at,
    d.started_by, d.started_by_name, d.called, d.answered, d.in_time
from public.apm_drills as d
where d.id = %(id)s::uuid

-- list_calls --
-- Whom drills have called and what became of it; nothing for a viewer.
select c.drill_id, c.person, c.name, c.user_id, c.channel::text as channel, c.answered_at, c.how,
    c.delivery_id is not null as is_called, e.state, e.state_reason, e.sent_at, e.delivered_at as received_at
from public.apm_drill_calls as c
left join public.apm_deliveries as e on e.organization_id = c.organization_id and e.id = c.delivery_id
where c.organization_id = %(organization_id)s::uuid and c.drill_id = any (%(drill_ids)s::uuid[])
order by c.drill_id, c.name, c.channel, c.id

-- list_calls_of [apm_engine] --
-- The same for a drill that was started on the command line.
select c.drill_id, c.person, c.name, c.user_id, c.channel::text as channel, c.answered_at, c.how,
    c.delivery_id is not null as is_called, e.state, e.state_reason, e.sent_at, e.delivered_at as received_at, d.started_at,
    d.ends_at, d.ended_at, clock_timestamp() as at
from public.apm_drills as d
join public.apm_drill_calls as c on c.organization_id = d.organization_id and c.drill_id = d.id
left join public.apm_deliveries as e on e.organization_id = c.organization_id and e.id = c.delivery_id
where d.organization_id = %(organization_id)s::uuid and d.id = %(id)s::uuid
order by c.name, c.channel, c.id

-- start_drill --
-- Calls everybody now.
select public.apm_start_drill(%(organization_id)s::uuid, %(reason)s::text, %(wedding_id)s::uuid) as id

-- ask_drill [apm_engine] --
-- The same for whoever sits at the machine.
select apm_private.ask_drill(
    %(organization_id)s::uuid, %(reason)s::text, null, null, %(name)s::text, clock_timestamp()
) as id

-- find_schedule --
-- When drills are held by themselves.
select s.organization_id, s.every, s.weekday, to_char(s.local_time, 'HH24:MI') as local_time, s.time_zone, s.planned_at,
    s.next_at, s.held_by
from public.apm_drill_schedules as s
where s.organization_id = %(organization_id)s::uuid

-- set_schedule --
-- Holds them by themselves from now on, or at other times.
insert into public.apm_drill_schedules as s (organization_id, every, weekday, local_time, time_zone)
values (
    %(organization_id)s::uuid, %(every)s::text, %(weekday)s::int, %(local_time)s::text::time, %(time_zone)s::text
)
on conflict (organization_id) do update set
    every = excluded.every, weekday = excluded.weekday, local_time = excluded.local_time, time_zone = excluded.time_zone
returning s.organization_id, s.every, s.weekday, to_char(s.local_time, 'HH24:MI') as local_time, s.time_zone, s.planned_at,
    s.next_at, s.held_by

-- clear_schedule --
-- Holds none by themselves any more.
delete from public.apm_drill_schedules as s
where s.organization_id = %(organization_id)s::uuid
returning s.organization_id

-- start_due_drills [apm_engine] --
-- Begins those whose time has come, and puts off what something holds back.
select r.started, r.held
from apm_private.start_due_drills(%(at)s::timestamptz, %(most)s::int) as r

-- end_drills [apm_engine] --
-- Ends those that are over.
select apm_private.end_drills(%(at)s::timestamptz, %(in_time)s::interval) as ended

-- store_link [apm_engine] --
-- Keeps the hash of the link that is about to be sent.
insert into apm_private.drill_links (token_hash, organization_id, delivery_id)
values (%(token_hash)s::bytea, %(organization_id)s::uuid, %(delivery_id)s::uuid)
on conflict (token_hash) do nothing

-- look_up_link [apm_api] --
-- What a link is about.
select l.delivery_id, l.organization_name, l.time_zone, l.name, l.started_at, l.ends_at, l.answered_at, l.is_over,
    clock_timestamp() as at
from apm_private.look_up_drill_link(%(token_hash)s::bytea, clock_timestamp()) as l

-- use_link [apm_api] --
-- Answers, once.
select apm_private.use_drill_link(%(token_hash)s::bytea, clock_timestamp()) as outcome

-- answer_drill [apm_api] --
-- Answers for whoever got a message, on the channel on which he got it.
select apm_private.answer_drill(%(delivery_id)s::uuid, %(how)s::text, clock_timestamp()) as outcome

-- answer_drill_of_number [apm_api] --
-- The same for the latest message to a number.
select apm_private.answer_drill_of_number(%(phone)s::text, clock_timestamp()) as outcome

-- is_drill_waiting [apm_api] --
-- Whether somebody at a number is called by a drill and has not answered.
select apm_private.is_drill_waiting(%(phone)s::text, clock_timestamp()) as is_waiting
