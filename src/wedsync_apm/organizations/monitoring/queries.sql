-- Who is watched, and the first steps of each organization.

-- list_first_steps --
-- The caller's own first steps at one organization, whether that is watched, and whether he has put the card on Today away;
-- none where he does not belong.
select s.step, s.state, s.code, s.detail, k.is_watched, k.is_card_put_away
from public.apm_first_steps(%(organization_id)s::uuid) as s
cross join (
    select coalesce(public.apm_is_watched(%(organization_id)s), false) as is_watched, exists (
        select from public.apm_skipped_steps as c
        where c.organization_id = %(organization_id)s and c.step = 'card' and c.user_id = %(user_id)s::uuid
    ) as is_card_put_away
    offset 0
) as k
order by array_position(array['calendar', 'phone', 'rules', 'test', 'install'], s.step)

-- skip_step --
-- Leaves one out; skipping it again changes nothing.
insert into public.apm_skipped_steps (organization_id, step, user_id, reason)
values (%(organization_id)s::uuid, %(step)s::text, %(user_id)s::uuid, %(reason)s::text)
on conflict on constraint apm_skipped_steps_once do nothing

-- take_up_step --
-- Wants it after all.
delete from public.apm_skipped_steps as k
where k.organization_id = %(organization_id)s::uuid and k.step = %(step)s::text
    and k.user_id is not distinct from %(user_id)s::uuid

-- list_set_up --
-- For operators: all organizations with their steps, those first that have a wedding soon and are not set up; and what is
-- counted of those that match.
with found as materialized (
    select s.*
    from public.apm_set_up(make_interval(days => %(near_days)s::int)) as s
    where (%(state)s::text is null or s.state = %(state)s)
        and (%(is_set_up)s::boolean is null or s.is_set_up = %(is_set_up)s)
        and (%(group_name)s::text is null or s.group_name = %(group_name)s)
        and (not %(is_near)s::boolean or s.is_near)
        and (%(name)s::text = '' or position(lower(%(name)s) in lower(s.name)) > 0)
),
counts as (
    select count(*)::int as all_count, count(*) filter (where f.is_set_up)::int as set_up_count,
        count(*) filter (where f.state = 'off')::int as off_count, count(*) filter (where f.state = 'beta')::int as beta_count,
        count(*) filter (where f.is_near and not f.is_set_up)::int as near_count
    from found as f
)
select c.*, f.*
from counts as c
left join (
    select f.* from found as f
    where %(after_rank)s::int is null
        or (f.rank, coalesce(f.next_on, '9999-12-31'), f.organization_id)
            > (%(after_rank)s, %(after_next_on)s::date, %(after_id)s::uuid)
    order by f.rank, coalesce(f.next_on, '9999-12-31'), f.organization_id
    limit %(limit)s::int
) as f on true
order by f.rank, coalesce(f.next_on, '9999-12-31'), f.organization_id

-- switch_monitoring --
-- For operators: what came of it for each.
select s.organization_id, s.outcome
from public.apm_switch_monitoring(
    %(organization_ids)s::uuid[], %(state)s::text, %(group_name)s::text, %(reason)s::text, %(is_near_ok)s::boolean
) as s

-- set_default --
-- For operators: what organizations to come begin with.
select public.apm_set_monitoring_default(%(state)s::text, %(reason)s::text) as kept

-- find_default --
-- The same as it is; null for anybody else.
select public.apm_monitoring_default() as state

-- list_groups --
-- For operators: the groups with how many are in each state.
select m.group_name as name, count(*)::int as members, count(*) filter (where m.state = 'off')::int as off,
    count(*) filter (where m.state = 'beta')::int as beta, count(*) filter (where m.state = 'on')::int as "on"
from public.apm_monitoring as m
where m.group_name <> ''
group by m.group_name
order by m.group_name

-- list_group_members --
-- Who is in a group.
select m.organization_id from public.apm_monitoring as m where m.group_name = %(group_name)s::text order by m.organization_id

-- name_actor [apm_engine] --
-- What the log calls a command on the server.
select set_config('apm.actor', %(name)s::text, false)
