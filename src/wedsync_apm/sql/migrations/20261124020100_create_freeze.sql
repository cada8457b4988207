-- pre: the change freeze: which weddings stand in the way of a change, and who agreed to it all the same.

create table apm_private.freeze_approvals (
    id uuid primary key default gen_random_uuid(),
    -- null: by an operator, for the whole platform; else by an admin, for what his own weddings forbid
    organization_id uuid references public.organizations (id) on delete cascade,
    -- null: every service
    service text check (length(service) between 1 and 200),
    reason text not null check (length(btrim(reason)) between 3 and 1000),
    -- only an emergency lifts a ban
    emergency text check (emergency in (
        'payment', 'authentication', 'critical_infrastructure', 'security', 'data_loss'
    )),
    rollback_plan text check (length(btrim(rollback_plan)) between 3 and 2000),
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    created_by uuid,
    created_by_name text not null,
    ended_at timestamptz,
    ended_by uuid,
    ended_by_name text,
    constraint freeze_approvals_length check (ends_at > starts_at and ends_at <= starts_at + interval '8 hours'),
    constraint freeze_approvals_emergency check (emergency is null or rollback_plan is not null)
);
call apm_private.protect_table('apm_private.freeze_approvals');
-- the cascade when an organization goes, and its approvals
create index idx_apm_freeze_approvals_organization on apm_private.freeze_approvals (organization_id, ends_at desc);
create trigger freeze_approvals_audit after insert or update or delete on apm_private.freeze_approvals
for each row execute function apm_private.write_guard_audit();

-- Whose weddings and approvals the caller may ask about: null means of all, for services, operators and the
-- platform's reading keys; else his own. With an organization named: that one, if it is among them.
create function apm_private.freeze_scope(organization_id uuid)
returns table (sees_all boolean, organization_ids uuid[])
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with caller as (
        select apm_private.is_service() or public.apm_operator_role() is not null or apm_private.is_platform_reader()
            as sees_all, public.apm_current_organization_ids() as mine
    )
    select c.sees_all,
        case
            when c.sees_all then (
                select coalesce(array_agg(o.organization_id), '{}')
                from apm_private.host_organizations(
                    case when freeze_scope.organization_id is not null then array[freeze_scope.organization_id] end
                ) as o
            )
            when freeze_scope.organization_id is null then c.mine
            when freeze_scope.organization_id = any (c.mine) then array[freeze_scope.organization_id]
            else '{}'::uuid[]
        end
    from caller as c
$$;
call apm_private.hand_over('apm_private.freeze_scope(uuid)');

-- The weddings that matter for a change at an instant: those that are not over and less than the longest of the
-- settings' days ahead, with when each begins to ask for an approval and to ban. Who sees all of the platform sees
-- whose they are and when, and nothing of the couples.
create function public.apm_freeze_weddings(at timestamptz default now(), organization_id uuid default null)
returns table (
    organization_id uuid, organization_name text, wedding_id uuid, wedding_date date, time_zone text,
    is_zone_known boolean, initials text, watched_from timestamptz, frozen_from timestamptz, starts_at timestamptz,
    ends_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select c.sees_all, c.organization_ids, s.wedding_days_before,
            case when c.sees_all then s.platform_watch_days else s.watch_days end as watch_days
        from apm_private.freeze_scope(apm_freeze_weddings.organization_id) as c
        cross join apm_private.guard_settings as s
    ), ahead as (
        -- a week at least, so that an answer of "allow" can say until when
        select a.*, greatest(a.wedding_days_before, a.watch_days, 7) as days from asked as a
    ), weddings as (
        select w.*
        from ahead as a
        cross join lateral apm_private.weddings_between(
            a.organization_ids,
            (apm_freeze_weddings.at at time zone 'UTC')::date - 3,
            (apm_freeze_weddings.at at time zone 'UTC')::date + 3 + a.days
        ) as w
    ), spans as (
        select w.organization_id, w.wedding_id, min(lower(w.span)) as starts_at, max(upper(w.span)) as ends_at
        from ahead as a
        cross join lateral apm_private.wedding_windows_between(
            a.organization_ids,
            apm_freeze_weddings.at - interval '3 days',
            apm_freeze_weddings.at + make_interval(days => a.days + 3)
        ) as w
        where w.phase in ('set_up', 'ceremony', 'reception', 'tear_down', 'day')
        group by w.organization_id, w.wedding_id
    ), placed as (
        select w.*, s.starts_at, s.ends_at, a.sees_all,
            least(
                s.starts_at - make_interval(days => a.wedding_days_before),
                (w.wedding_date - a.wedding_days_before)::timestamp at time zone w.time_zone
            ) as frozen_from,
            least(
                s.starts_at - make_interval(days => a.watch_days),
                (w.wedding_date - a.watch_days)::timestamp at time zone w.time_zone
            ) as watched_from
        from weddings as w
        join spans as s on s.organization_id = w.organization_id and s.wedding_id = w.wedding_id
        cross join ahead as a
    )
    select p.organization_id, o.name, case when not p.sees_all then p.wedding_id end, p.wedding_date, p.time_zone,
        p.is_zone_known, case when not p.sees_all then p.initials end, least(p.watched_from, p.frozen_from),
        p.frozen_from, p.starts_at, p.ends_at
    from placed as p
    join apm_private.host_organizations(array(select distinct q.organization_id from placed as q)) as o
        on o.organization_id = p.organization_id
    where p.ends_at > apm_freeze_weddings.at
    order by p.starts_at, p.organization_id, p.wedding_id
$$;
call apm_private.hand_over('public.apm_freeze_weddings(timestamptz, uuid)');

-- The rest of what decides: the weekly freeze, the guard mode, the settings. One row, whatever is broken; no name where
-- the organization that was named is none that the caller can see.
create function public.apm_freeze_calendar(at timestamptz default now(), organization_id uuid default null)
returns table (
    is_zone_known boolean, time_zone text, freeze_until timestamptz, next_freeze_at timestamptz, weekly_freeze text,
    blocking_weddings int, sees_all boolean, mode text, mode_source text, mode_who text, mode_why text,
    mode_until timestamptz, organization_name text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with spans as (
        select s.span
        from apm_private.guard_spans(apm_freeze_calendar.at, apm_freeze_calendar.at + interval '15 days') as s
        where s.kind = 'freeze'
    )
    select apm_private.platform_time_zone() is not null, s.time_zone,
        (select max(upper(x.span)) from spans as x where x.span @> apm_freeze_calendar.at),
        (select min(lower(x.span)) from spans as x where lower(x.span) > apm_freeze_calendar.at),
        coalesce(s.weekly_freeze, 'blocked'), coalesce(s.blocking_weddings, 1), c.sees_all,
        g.mode, g.source, g.who, g.why, g."until",
        case when apm_freeze_calendar.organization_id is not null
            then (select o.name from apm_private.host_organizations(c.organization_ids) as o) end
    from apm_private.freeze_scope(apm_freeze_calendar.organization_id) as c
    left join apm_private.guard_settings as s on true
    left join apm_private.guard_mode_at(apm_freeze_calendar.at) as g on true
$$;
call apm_private.hand_over('public.apm_freeze_calendar(timestamptz, uuid)');

-- The approvals that the caller may know, the newest first: the platform's and those of his organizations; with
-- `at`, only those that hold then.
create function public.apm_freeze_approvals(
    at timestamptz default null, organization_id uuid default null, before timestamptz default null,
    most int default 100, approval_id uuid default null
)
returns table (
    id uuid, organization_id uuid, service text, reason text, emergency text, rollback_plan text,
    starts_at timestamptz, ends_at timestamptz, created_by uuid, created_by_name text, ended_at timestamptz,
    ended_by uuid, ended_by_name text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select f.id, f.organization_id, f.service, f.reason, f.emergency, f.rollback_plan, f.starts_at, f.ends_at,
        f.created_by, f.created_by_name, f.ended_at, f.ended_by, f.ended_by_name
    from apm_private.freeze_scope(apm_freeze_approvals.organization_id) as c
    join apm_private.freeze_approvals as f on f.organization_id is null or f.organization_id = any (c.organization_ids)
    where (
            apm_freeze_approvals.at is null
            or (
                f.starts_at <= apm_freeze_approvals.at
                and apm_freeze_approvals.at < least(f.ends_at, coalesce(f.ended_at, f.ends_at))
            )
        )
        and (apm_freeze_approvals.before is null or f.starts_at < apm_freeze_approvals.before)
        and (apm_freeze_approvals.approval_id is null or f.id = apm_freeze_approvals.approval_id)
    order by f.starts_at desc
    limit apm_freeze_approvals.most
$$;
call apm_private.hand_over('public.apm_freeze_approvals(timestamptz, uuid, timestamptz, int, uuid)');

grant execute on function public.apm_freeze_weddings(timestamptz, uuid), public.apm_freeze_calendar(timestamptz, uuid),
    public.apm_freeze_approvals(timestamptz, uuid, timestamptz, int, uuid) to authenticated, service_role, apm_engine;

-- Agrees to changes of a service (null: of all) from now: an operator for the platform, an owner or admin for what
-- the weddings of his own organization forbid.
create function public.apm_approve_change(
    organization_id uuid, service text, reason text, ends_at timestamptz, emergency text default null,
    rollback_plan text default null
) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := clock_timestamp();
    standing text := public.apm_role_in(apm_approve_change.organization_id);
    made uuid;
begin
    if apm_private.claims() ->> 'kind' = 'key' then
        raise exception 'A person must approve it: a key cannot agree with itself.' using errcode = 'AP403';
    elsif apm_approve_change.organization_id is null then
        perform apm_private.require_operator();
    elsif standing is null then
        raise exception 'There is no such organization that you can see.' using errcode = 'AP404';
    elsif standing not in ('OWNER', 'ADMIN') then
        raise exception 'Only an owner or admin may approve a change.' using errcode = 'AP403';
    end if;
    if apm_approve_change.ends_at <= at or apm_approve_change.ends_at > at + interval '8 hours' then
        raise exception 'It must end within eight hours from now.' using errcode = 'AP422', constraint = 'freeze_approvals_length';
    end if;
    insert into apm_private.freeze_approvals as f
        (organization_id, service, reason, emergency, rollback_plan, starts_at, ends_at, created_by, created_by_name)
    values (
        apm_approve_change.organization_id, apm_approve_change.service, apm_approve_change.reason,
        apm_approve_change.emergency, apm_approve_change.rollback_plan, at, apm_approve_change.ends_at,
        apm_private.caller_id(), apm_private.actor_name()
    )
    returning f.id into made;
    return made;
end
$$;
call apm_private.hand_over('public.apm_approve_change(uuid, text, text, timestamptz, text, text)');

-- Takes an approval back; who may give it may do that. The same answer for another's and for none.
create function public.apm_withdraw_approval(id uuid) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at timestamptz := clock_timestamp();
    found_ apm_private.freeze_approvals%rowtype;
begin
    select f.* into found_ from apm_private.freeze_approvals as f where f.id = apm_withdraw_approval.id for update;
    if found_.id is null
        or (found_.organization_id is null and public.apm_operator_role() is null)
        or (found_.organization_id is not null and public.apm_role_in(found_.organization_id) is null) then
        raise exception 'There is no such approval.' using errcode = 'AP404';
    elsif found_.organization_id is null then
        perform apm_private.require_operator();
    elsif public.apm_role_in(found_.organization_id) not in ('OWNER', 'ADMIN') then
        raise exception 'Only an owner or admin may withdraw an approval.' using errcode = 'AP403';
    end if;
    if found_.ended_at is not null or found_.ends_at <= at then
        raise exception 'This approval is over already.' using errcode = 'AP409', constraint = 'freeze_approvals_end';
    end if;
    update apm_private.freeze_approvals as f set
        ended_at = at, ended_by = apm_private.caller_id(), ended_by_name = apm_private.actor_name()
    where f.id = apm_withdraw_approval.id;
end
$$;
call apm_private.hand_over('public.apm_withdraw_approval(uuid)');

grant execute on function public.apm_approve_change(uuid, text, text, timestamptz, text, text),
    public.apm_withdraw_approval(uuid) to authenticated;
