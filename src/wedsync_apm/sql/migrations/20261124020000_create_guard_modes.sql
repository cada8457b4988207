-- pre: how closely the platform watches: the week's calendar on its own clock, the season, and what an operator orders.

-- {"north": {"5": 1.4}}: of each region the months in which capacity limits are loosened, and by how much.
create function apm_private.is_season_table(seasons jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_typeof(is_season_table.seasons) = 'object' and coalesce((
        select bool_and(
            r.region ~ '^[a-z][a-z0-9_-]{0,39}$' and jsonb_typeof(r.months) = 'object'
            and coalesce((
                select bool_and(
                    m.month ~ '^([1-9]|1[0-2])$' and jsonb_typeof(m.factor) = 'number'
                    and (m.factor #>> '{}')::numeric between 1 and 10
                )
                from jsonb_each(case when jsonb_typeof(r.months) = 'object' then r.months else '{}' end) as m (month, factor)
            ), true)
        )
        from jsonb_each(
            case when jsonb_typeof(is_season_table.seasons) = 'object' then is_season_table.seasons else '{}' end
        ) as r (region, months)
    ), true)
$$;
revoke all on function apm_private.is_season_table(jsonb) from public, anon, authenticated, service_role;
grant execute on function apm_private.is_season_table(jsonb) to apm_definer, apm_engine;

create table apm_private.guard_settings (
    is_only boolean primary key default true check (is_only),
    time_zone text not null default 'Europe/London' check (length(time_zone) between 1 and 100),
    -- the same where it is one that is known: looked up when it is set, as that may take a tenth of a second
    known_time_zone text,
    -- all since Monday 00:00 on the platform's clock; an end may lie in the week after
    freeze_from interval not null default '4 days 18:00',
    freeze_until interval not null default '7 days',
    enhanced_from interval not null default '4 days 20:00',
    enhanced_until interval not null default '6 days',
    maximum_from interval not null default '5 days',
    maximum_until interval not null default '6 days',
    -- what the weekly freeze answers: a ban, or that somebody must agree
    weekly_freeze text not null default 'blocked' check (weekly_freeze in ('blocked', 'needs_approval')),
    -- from the morning so many days before a wedding nothing is changed
    wedding_days_before int not null default 1 check (wedding_days_before between 0 and 14),
    -- from so many days before a wedding of one's own a change needs an approval
    watch_days int not null default 7 check (watch_days between 0 and 60),
    -- the same for changes to the whole platform, where somebody always marries within a week
    platform_watch_days int not null default 0 check (platform_watch_days between 0 and 60),
    -- so many weddings today or tomorrow ban a change to the whole platform; fewer ask for an approval
    blocking_weddings int not null default 1 check (blocking_weddings >= 1),
    season_region text not null default 'north',
    seasons jsonb not null default '{
        "north": {"5": 1.4, "6": 1.6, "7": 1.5, "8": 1.4, "9": 1.4, "10": 1.3},
        "south": {"11": 1.4, "12": 1.6, "1": 1.5, "2": 1.4, "3": 1.4, "4": 1.3}
    }' check (apm_private.is_season_table(seasons)),
    -- when the evening before, at the venue, readiness is looked at
    readiness_time time not null default '18:00',
    updated_at timestamptz not null default now(),
    constraint guard_settings_region check (seasons ? season_region),
    constraint guard_settings_freeze check (
        freeze_from >= '0' and freeze_from < '7 days' and freeze_until > freeze_from and freeze_until <= freeze_from + '7 days'
    ),
    constraint guard_settings_enhanced check (
        enhanced_from >= '0' and enhanced_from < '7 days'
        and enhanced_until > enhanced_from and enhanced_until <= enhanced_from + '7 days'
    ),
    constraint guard_settings_maximum check (
        maximum_from >= '0' and maximum_from < '7 days'
        and maximum_until > maximum_from and maximum_until <= maximum_from + '7 days'
    )
);
call apm_private.protect_table('apm_private.guard_settings');
create function apm_private.look_up_time_zone() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.known_time_zone := case when apm_private.is_time_zone(new.time_zone) then new.time_zone end;
    return new;
end
$$;
call apm_private.hand_over('apm_private.look_up_time_zone()');
create trigger guard_settings_time_zone before insert or update on apm_private.guard_settings
for each row execute function apm_private.look_up_time_zone();
insert into apm_private.guard_settings default values;

-- What an operator orders, for eight hours at most; it ends by itself. Without an emergency it is a floor under what
-- the calendar says; with one it takes the calendar's place.
create table apm_private.guard_overrides (
    id uuid primary key default gen_random_uuid(),
    mode text not null check (mode in ('normal', 'enhanced', 'maximum')),
    reason text not null check (length(btrim(reason)) between 3 and 1000),
    emergency text check (emergency in (
        'payment', 'authentication', 'critical_infrastructure', 'security', 'data_loss'
    )),
    rollback_plan text check (length(btrim(rollback_plan)) between 3 and 2000),
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    created_by uuid,
    created_by_name text not null,
    -- ended before its time
    ended_at timestamptz,
    ended_by uuid,
    ended_by_name text,
    end_reason text check (length(btrim(end_reason)) between 3 and 1000),
    constraint guard_overrides_length check (ends_at > starts_at and ends_at <= starts_at + interval '8 hours'),
    constraint guard_overrides_emergency check (emergency is null or rollback_plan is not null),
    constraint guard_overrides_end check (ended_at is null or (end_reason is not null and ended_by_name is not null))
);
call apm_private.protect_table('apm_private.guard_overrides');

-- The platform's own acts stand in its own organization's log, where operators read them.
create function apm_private.write_guard_audit() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - 'updated_at' end;
    after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - 'updated_at' end;
    subject jsonb := coalesce(after, before);
begin
    if tg_op = 'UPDATE' and before = after then
        return null;
    end if;
    insert into public.apm_audit_log
        (organization_id, actor_id, actor, action, object_type, object_id, old_values, new_values)
    values (
        coalesce((subject ->> 'organization_id')::uuid, (select p.organization_id from apm_private.platform as p)),
        apm_private.caller_id(), apm_private.actor_name(), lower(tg_op), tg_table_name, subject ->> 'id', before, after
    );
    return null;
end
$$;
call apm_private.hand_over('apm_private.write_guard_audit()');
create trigger guard_settings_audit after insert or update or delete on apm_private.guard_settings
for each row execute function apm_private.write_guard_audit();
create trigger guard_overrides_audit after insert or update or delete on apm_private.guard_overrides
for each row execute function apm_private.write_guard_audit();

-- The platform's zone; null where it cannot be read.
create function apm_private.platform_time_zone() returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.known_time_zone from apm_private.guard_settings as s
$$;
call apm_private.hand_over('apm_private.platform_time_zone()');

-- The weekly spans that touch the range: 'freeze', 'enhanced', 'maximum'. None where the zone cannot be read, and none
-- of a range that is endless or longer than a year.
create function apm_private.guard_spans("from" timestamptz, "to" timestamptz)
returns table (kind text, span tstzrange)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with placed as (
        select k.kind,
            (w.monday + k.begins) at time zone z.name as starts_at,
            (w.monday + k.ends) at time zone z.name as ends_at
        from apm_private.guard_settings as s
        cross join (
            select case when isfinite(guard_spans."from") and guard_spans."to" <= guard_spans."from" + interval '1 year'
                then apm_private.platform_time_zone() end
        ) as z (name)
        cross join generate_series(
            date_trunc('week', guard_spans."from" at time zone z.name) - interval '14 days',
            guard_spans."to" at time zone z.name,
            interval '7 days'
        ) as w (monday)
        cross join lateral (values
            ('freeze', s.freeze_from, s.freeze_until),
            ('enhanced', s.enhanced_from, s.enhanced_until),
            ('maximum', s.maximum_from, s.maximum_until)
        ) as k (kind, begins, ends)
    )
    -- a clock put forward can leave nothing of a short one
    select p.kind, tstzrange(p.starts_at, greatest(p.starts_at, p.ends_at))
    from placed as p
    where tstzrange(p.starts_at, greatest(p.starts_at, p.ends_at)) && tstzrange(guard_spans."from", guard_spans."to", '[]')
$$;
call apm_private.hand_over('apm_private.guard_spans(timestamptz, timestamptz)');

-- The mode that holds at an instant. Where the settings cannot be read: the closest watch.
create function apm_private.guard_level_at(at timestamptz)
returns table (
    mode text, source text, who text, why text, override_id uuid, calendar_mode text, calendar_why text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with calendar as (
        select
            case
                when z.name is null then 'maximum'
                when bool_or(s.kind = 'maximum') then 'maximum'
                when bool_or(s.kind = 'enhanced') then 'enhanced'
                else 'normal'
            end as mode,
            case
                when z.name is null then 'the platform''s time zone cannot be read, so the closest watch is kept'
                else 'it is ' || to_char(guard_level_at.at at time zone z.name, 'FMDay HH24:MI') || ' in ' || z.name
            end as why
        from (select case when isfinite(guard_level_at.at) then apm_private.platform_time_zone() end) as z (name)
        left join apm_private.guard_spans(guard_level_at.at, guard_level_at.at) as s on s.span @> guard_level_at.at
        group by z.name
    ), active as (
        select o.*, array_position(array['normal', 'enhanced', 'maximum'], o.mode) as rank
        from apm_private.guard_overrides as o
        where o.starts_at <= guard_level_at.at
            and guard_level_at.at < least(o.ends_at, coalesce(o.ended_at, o.ends_at))
    ), emergency as (
        select a.* from active as a where a.emergency is not null order by a.starts_at desc, a.id limit 1
    ), floor as (
        select a.* from active as a where a.emergency is null order by a.rank desc, a.ends_at desc, a.id limit 1
    ), base as (
        select coalesce(e.mode, c.mode) as mode, e.id as override_id, e.created_by_name as who, e.reason as why,
            c.mode as calendar_mode, c.why as calendar_why
        from calendar as c
        left join emergency as e on true
    )
    select
        case when f.is_higher then f.mode else b.mode end,
        case when f.is_higher or b.override_id is not null then 'override' else 'calendar' end,
        case when f.is_higher then f.created_by_name else coalesce(b.who, 'calendar') end,
        case when f.is_higher then f.reason else coalesce(b.why, b.calendar_why) end,
        case when f.is_higher then f.id else b.override_id end,
        b.calendar_mode, b.calendar_why
    from base as b
    left join lateral (
        select g.*, g.rank > array_position(array['normal', 'enhanced', 'maximum'], b.mode) as is_higher from floor as g
    ) as f on true
$$;
call apm_private.hand_over('apm_private.guard_level_at(timestamptz)');

-- The same with until when, as far as is known now: the first instant at which the mode is another one.
create function apm_private.guard_mode_at(at timestamptz)
returns table (
    mode text, source text, who text, why text, "until" timestamptz, override_id uuid, calendar_mode text,
    calendar_why text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with turns as (
        select t.at
        from apm_private.guard_spans(guard_mode_at.at, guard_mode_at.at + interval '8 days') as s
        cross join lateral (values (lower(s.span)), (upper(s.span))) as t (at)
        where s.kind <> 'freeze'
        union
        select t.at
        from apm_private.guard_overrides as o
        cross join lateral (values (o.starts_at), (least(o.ends_at, coalesce(o.ended_at, o.ends_at)))) as t (at)
        where o.ends_at > guard_mode_at.at
    )
    select l.mode, l.source, l.who, l.why,
        (
            select t.at
            from turns as t
            cross join lateral apm_private.guard_level_at(t.at) as then_
            where t.at > guard_mode_at.at and then_.mode <> l.mode
            order by t.at
            limit 1
        ),
        l.override_id, l.calendar_mode, l.calendar_why
    from apm_private.guard_level_at(guard_mode_at.at) as l
$$;
call apm_private.hand_over('apm_private.guard_mode_at(timestamptz)');
grant execute on function apm_private.guard_spans(timestamptz, timestamptz), apm_private.guard_level_at(timestamptz),
    apm_private.guard_mode_at(timestamptz), apm_private.platform_time_zone() to apm_engine, apm_definer;

-- The season: it loosens limits of capacity alone, by a factor from 1 up, and has no say in how closely is watched.
-- No row for a region that is not in the table; factor 1 where the platform's zone cannot be read.
create function apm_private.season_at(at timestamptz, region text default null)
returns table (region text, is_season boolean, capacity_factor float8, "until" timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with chosen as (
        select coalesce(season_at.region, s.season_region) as region,
            s.seasons -> coalesce(season_at.region, s.season_region) as months,
            apm_private.platform_time_zone() as zone
        from apm_private.guard_settings as s
    ), months as (
        select c.region, n, m.starts_on at time zone c.zone as starts_at,
            coalesce((c.months ->> extract(month from m.starts_on)::int::text)::float8, 1) as factor
        from chosen as c
        cross join generate_series(0, 12) as n
        cross join lateral (
            select date_trunc('month', season_at.at at time zone c.zone) + n * interval '1 month'
        ) as m (starts_on)
        where c.months is not null
    )
    select m.region, m.factor > 1, m.factor,
        (select x.starts_at from months as x where x.factor <> m.factor order by x.n limit 1)
    from months as m
    where m.n = 0
$$;
call apm_private.hand_over('apm_private.season_at(timestamptz, text)');
grant execute on function apm_private.season_at(timestamptz, text) to apm_engine, apm_definer;

-- What everybody who is signed in may know: how closely the platform watches, and why.
create function public.apm_guard_mode(at timestamptz default now(), region text default null)
returns table (
    mode text, source text, who text, why text, "until" timestamptz, override_id uuid, calendar_mode text,
    calendar_why text, season_region text, is_season boolean, capacity_factor float8, season_until timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select g.mode, g.source, g.who, g.why, g."until", g.override_id, g.calendar_mode, g.calendar_why,
        s.region, s.is_season, s.capacity_factor, s."until"
    from apm_private.guard_mode_at(apm_guard_mode.at) as g
    left join apm_private.season_at(apm_guard_mode.at, apm_guard_mode.region) as s on true
$$;
call apm_private.hand_over('public.apm_guard_mode(timestamptz, text)');
grant execute on function public.apm_guard_mode(timestamptz, text) to authenticated, service_role, apm_engine;

-- Raises unless the caller is an operator who may act; an auditor only looks.
create function apm_private.require_operator() returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(public.apm_operator_role(), '') not in ('oncall', 'dba') then
        raise exception 'Only an operator of the platform may do this.' using errcode = 'AP403';
    end if;
end
$$;
call apm_private.hand_over('apm_private.require_operator()');

-- An operator orders a mode from now. Whatever lowers it needs a stated emergency and a way back, and then takes the
-- place of all orders before it; whatever does not lower it is a floor beside them.
create function public.apm_override_guard_mode(
    mode text, reason text, ends_at timestamptz, emergency text default null, rollback_plan text default null
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz;
    present text;
    made uuid;
begin
    perform apm_private.require_operator();
    -- one after the other, each with the time of its turn: what one orders the next one must see
    perform pg_advisory_xact_lock(hashtextextended('apm guard mode', 0));
    at := clock_timestamp();
    select l.mode into present from apm_private.guard_level_at(at) as l;
    if apm_override_guard_mode.emergency is null
        and array_position(array['normal', 'enhanced', 'maximum'], apm_override_guard_mode.mode)
            < array_position(array['normal', 'enhanced', 'maximum'], present) then
        raise exception 'The mode is % now; to lower it, name the emergency and how to go back.', present
            using errcode = 'AP422', constraint = 'guard_overrides_emergency';
    end if;
    if apm_override_guard_mode.ends_at <= at
        or apm_override_guard_mode.ends_at > at + interval '8 hours' then
        raise exception 'It must end within eight hours from now.' using errcode = 'AP422', constraint = 'guard_overrides_length';
    end if;
    if apm_override_guard_mode.emergency is not null then
        update apm_private.guard_overrides as o set
            ended_at = at, ended_by = apm_private.caller_id(), ended_by_name = apm_private.actor_name(),
            end_reason = 'replaced in an emergency: ' || left(apm_override_guard_mode.reason, 900)
        where o.starts_at <= at and o.ends_at > at and o.ended_at is null;
    end if;
    insert into apm_private.guard_overrides as o
        (mode, reason, emergency, rollback_plan, starts_at, ends_at, created_by, created_by_name)
    values (
        apm_override_guard_mode.mode, apm_override_guard_mode.reason, apm_override_guard_mode.emergency,
        apm_override_guard_mode.rollback_plan, at, apm_override_guard_mode.ends_at, apm_private.caller_id(),
        apm_private.actor_name()
    )
    returning o.id into made;
    return made;
end
$$;
call apm_private.hand_over('public.apm_override_guard_mode(text, text, timestamptz, text, text)');

-- Ends an order before its time. Where that lowers the mode it needs a stated emergency as the order itself would.
create function public.apm_end_guard_override(
    id uuid, reason text, emergency text default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz;
    before text;
    after text;
begin
    perform apm_private.require_operator();
    perform pg_advisory_xact_lock(hashtextextended('apm guard mode', 0));
    at := clock_timestamp();
    if not exists (select from apm_private.guard_overrides as o where o.id = apm_end_guard_override.id) then
        raise exception 'There is no such override.' using errcode = 'AP404';
    end if;
    select l.mode into before from apm_private.guard_level_at(at) as l;
    update apm_private.guard_overrides as o set
        ended_at = at, ended_by = apm_private.caller_id(), ended_by_name = apm_private.actor_name(),
        end_reason = concat_ws(': ', apm_end_guard_override.emergency, apm_end_guard_override.reason)
    where o.id = apm_end_guard_override.id and o.ended_at is null and o.ends_at > at;
    if not found then
        raise exception 'This override is over already.' using errcode = 'AP409', constraint = 'guard_overrides_end';
    end if;
    select l.mode into after from apm_private.guard_level_at(at) as l;
    if array_position(array['normal', 'enhanced', 'maximum'], after)
            < array_position(array['normal', 'enhanced', 'maximum'], before)
        and coalesce(apm_end_guard_override.emergency, '') <> all (array[
            'payment', 'authentication', 'critical_infrastructure', 'security', 'data_loss'
        ]) then
        raise exception 'Without it the mode is % and not %; name the emergency.', after, before
            using errcode = 'AP422', constraint = 'guard_overrides_emergency';
    end if;
end
$$;
call apm_private.hand_over('public.apm_end_guard_override(uuid, text, text)');

-- The orders, the newest first, for operators; nothing for anybody else.
create function public.apm_guard_overrides(
    before timestamptz default null, most int default 100, override_id uuid default null
)
returns table (
    id uuid, mode text, reason text, emergency text, rollback_plan text, starts_at timestamptz, ends_at timestamptz,
    created_by uuid, created_by_name text, ended_at timestamptz, ended_by uuid, ended_by_name text, end_reason text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select o.id, o.mode, o.reason, o.emergency, o.rollback_plan, o.starts_at, o.ends_at, o.created_by,
        o.created_by_name, o.ended_at, o.ended_by, o.ended_by_name, o.end_reason
    from apm_private.guard_overrides as o
    where (select public.apm_operator_role()) is not null
        and (apm_guard_overrides.before is null or o.starts_at < apm_guard_overrides.before)
        and (apm_guard_overrides.override_id is null or o.id = apm_guard_overrides.override_id)
    order by o.starts_at desc
    limit apm_guard_overrides.most
$$;
call apm_private.hand_over('public.apm_guard_overrides(timestamptz, int, uuid)');

-- The settings, which everybody who is signed in may read.
create function public.apm_guard_settings()
returns table (
    time_zone text, freeze_from interval, freeze_until interval, enhanced_from interval, enhanced_until interval,
    maximum_from interval, maximum_until interval, weekly_freeze text, wedding_days_before int, watch_days int,
    platform_watch_days int, blocking_weddings int, season_region text, seasons jsonb, readiness_time time,
    updated_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.time_zone, s.freeze_from, s.freeze_until, s.enhanced_from, s.enhanced_until, s.maximum_from,
        s.maximum_until, s.weekly_freeze, s.wedding_days_before, s.watch_days, s.platform_watch_days,
        s.blocking_weddings, s.season_region, s.seasons, s.readiness_time, s.updated_at
    from apm_private.guard_settings as s
$$;
call apm_private.hand_over('public.apm_guard_settings()');

-- An operator changes what is named in `changes`.
create function public.apm_change_guard_settings(changes jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted apm_private.guard_settings%rowtype;
begin
    perform apm_private.require_operator();
    select * into wanted from apm_private.guard_settings as s for update;
    wanted := jsonb_populate_record(wanted, apm_change_guard_settings.changes - 'is_only' - 'updated_at');
    if not apm_private.is_time_zone(wanted.time_zone) then
        raise exception 'is no time zone that is known' using errcode = '22023', column = 'time_zone';
    end if;
    update apm_private.guard_settings as s set
        time_zone = wanted.time_zone, freeze_from = wanted.freeze_from, freeze_until = wanted.freeze_until,
        enhanced_from = wanted.enhanced_from, enhanced_until = wanted.enhanced_until,
        maximum_from = wanted.maximum_from, maximum_until = wanted.maximum_until,
        weekly_freeze = wanted.weekly_freeze, wedding_days_before = wanted.wedding_days_before,
        watch_days = wanted.watch_days, platform_watch_days = wanted.platform_watch_days,
        blocking_weddings = wanted.blocking_weddings, season_region = wanted.season_region, seasons = wanted.seasons,
        readiness_time = wanted.readiness_time;
end
$$;
call apm_private.hand_over('public.apm_change_guard_settings(jsonb)');

grant execute on function public.apm_override_guard_mode(text, text, timestamptz, text, text),
    public.apm_end_guard_override(uuid, text, text), public.apm_guard_overrides(timestamptz, int, uuid),
    public.apm_guard_settings(), public.apm_change_guard_settings(jsonb) to authenticated;
