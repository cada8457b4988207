-- Guard modes, the freeze and who agreed to changes, by functions that know what each caller may.

-- find_guard_mode --
-- How closely the platform watches at an instant, and the season there.
select g.mode, g.source, g.who, g.why, g."until", g.override_id, g.calendar_mode, g.calendar_why, g.season_region,
    g.is_season, g.capacity_factor, g.season_until, t.at
from (select coalesce(%(at)s::timestamptz, now()) as at) as t
cross join lateral public.apm_guard_mode(t.at, %(region)s::text) as g

-- list_guard_spans --
-- When the platform is on guard and when releases stop, over a range.
select g.kind, lower(g.span) as starts_at, upper(g.span) as ends_at
from public.apm_guard_spans(%(earliest)s::timestamptz, %(latest)s::timestamptz) as g
where not isempty(g.span)
order by lower(g.span), g.kind

-- list_overrides --
-- What operators ordered, the newest first.
select id, mode, reason, emergency, rollback_plan, starts_at, ends_at, created_by, created_by_name, ended_at, ended_by,
    ended_by_name, end_reason
from public.apm_guard_overrides(%(before_at)s::timestamptz, %(limit)s::int, %(id)s::uuid)

-- create_override --
-- An operator's order, from now.
select public.apm_override_guard_mode(
    %(mode)s::text, %(reason)s::text, clock_timestamp() + %(length)s::interval, %(emergency)s::text, %(rollback_plan)s::text
) as id

-- end_override --
-- Ends an order before its time.
select public.apm_end_guard_override(%(id)s::uuid, %(reason)s::text, %(emergency)s::text)

-- read_settings --
-- The week, the season and the days around weddings as they are set.
select time_zone, freeze_from, freeze_until, enhanced_from, enhanced_until, maximum_from, maximum_until, weekly_freeze,
    wedding_days_before, watch_days, platform_watch_days, blocking_weddings, season_region, seasons,
    to_char(readiness_time, 'HH24:MI') as readiness_time, updated_at
from public.apm_guard_settings()

-- change_settings --
-- What is named, as an operator wants it.
select public.apm_change_guard_settings(%(changes)s::jsonb)

-- find_freeze_calendar --
-- The weekly freeze, the guard mode and what is set, at an instant.
select c.is_zone_known, c.time_zone, c.freeze_until, c.next_freeze_at, c.weekly_freeze, c.blocking_weddings, c.sees_all,
    c.mode, c.mode_source, c.mode_who, c.mode_why, c.mode_until, c.organization_name, t.at
from (select coalesce(%(at)s::timestamptz, now()) as at) as t
cross join lateral public.apm_freeze_calendar(t.at, %(organization_id)s::uuid) as c

-- list_freeze_weddings --
-- The weddings that are under way or near at an instant, as far as the caller may know of them.
select organization_id, organization_name, wedding_id, wedding_date, time_zone, is_zone_known, initials, watched_from,
    frozen_from, starts_at, ends_at
from public.apm_freeze_weddings(%(at)s::timestamptz, %(organization_id)s::uuid)

-- list_approvals --
-- Who agreed to changes, the newest first; with an instant, what holds then.
select id, organization_id, service, reason, emergency, rollback_plan, starts_at, ends_at, created_by, created_by_name,
    ended_at, ended_by, ended_by_name
from public.apm_freeze_approvals(
    %(at)s::timestamptz, %(organization_id)s::uuid, %(before_at)s::timestamptz, %(limit)s::int, %(id)s::uuid
)

-- create_approval --
-- Agrees to changes of a service from now.
select public.apm_approve_change(
    %(organization_id)s::uuid, %(service)s::text, %(reason)s::text, clock_timestamp() + %(length)s::interval,
    %(emergency)s::text, %(rollback_plan)s::text
) as id

-- withdraw_approval --
-- Takes an approval back.
select public.apm_withdraw_approval(%(id)s::uuid)
