-- pre: a channel that goes out by other people's code stays off the critical path, and is never the only one told at a wedding.

alter table public.apm_contact_methods drop constraint apm_contact_methods_address;
alter table public.apm_contact_methods add constraint apm_contact_methods_address check (
    (channel = 'email' and address ~ '^[^@\s]+@[^@\s]+$')
    or (channel in ('slack', 'webhook', 'push', 'apprise') and secret_ciphertext is not null)
    or (channel = 'voice' and address ~ '^\+[1-9][0-9]{6,14}$')
    or channel in ('sms', 'pagerduty')
);

-- One tenant's service that asks us to wait does not hold up his others.
create or replace function apm_private.prepare_delivery() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.provider := case
        when new.channel::text in ('email', 'sms', 'voice', 'push') then new.channel::text
        else concat_ws(':', new.channel, new.organization_id, (
            select c.address from public.apm_contact_methods as c
            where new.channel in ('webhook', 'apprise') and c.organization_id = new.organization_id and c.id = new.contact_method_id
        ))
    end;
    -- An urgent call counts only when it has arrived.
    if new.fail_over_at is null and new.kind in ('page', 'reopened') and new.priority >= 135
        and new.contact_method_id is not null then
        new.fail_over_at := greatest(new.created_at, new.due_at) + interval '45 seconds';
    end if;
    return new;
end
$$;

-- What goes out by Apprise has a lane of its own: six at a time over all processes, two of one organization, however urgent.
-- So its slow services hold a few of the slots, and never those that the others need. All else is as it was.
create or replace function apm_private.claim_deliveries(
    at timestamptz, lease_owner text, lease_seconds float8, batch_size int, ordinary_size int, per_organization int,
    per_channel int
) returns table (organization_id uuid, id uuid, fence bigint, is_more boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    look constant int := 256;
    most_put_off constant int := 500;
    most_of_apprise constant int := 6;
    each_of_apprise constant int := 2;
    under_way jsonb;
    holds jsonb;
    level int := 2147483647;
    is_urgent boolean;
    is_backlog boolean;
    share int;
    each int;
    starts uuid[];
    start uuid;
    channels public.notification_channel[];
    lane public.notification_channel;
    candidate record;
    leased bigint;
    taken int := 0;
    ordinary int := 0;
    put_off int := 0;
    has_more boolean := false;
begin
    -- what is under way, by organization and by channel
    select coalesce(jsonb_object_agg(coalesce(b.organization_id::text, b.channel::text), b.held), '{}') into under_way
    from (
        select d.organization_id, d.channel,
            case when grouping(d.channel) = 0 then count(*) filter (where d.priority < 135 or d.channel = 'apprise')
                else count(*) end as held
        from public.apm_deliveries as d
        where d.state in ('leased', 'sending') and d.lease_until > claim_deliveries.at
        group by grouping sets ((d.organization_id), (d.channel))
    ) as b;
    select coalesce(jsonb_object_agg(h.provider, h.held_until), '{}') into holds
    from apm_private.provider_holds as h where h.held_until > claim_deliveries.at;

    -- of what goes out by Apprise, by organization too
    select coalesce(jsonb_object_agg('apprise:' || b.organization_id, b.held), '{}') || under_way into under_way
    from (
        select d.organization_id, count(*) as held
        from public.apm_deliveries as d
        where d.state in ('leased', 'sending') and d.lease_until > claim_deliveries.at and d.channel = 'apprise'
        group by d.organization_id
    ) as b;

    <<levels>>
    loop
        select max(d.priority) into level from public.apm_deliveries as d
        where d.state in ('pending', 'retry', 'unknown') and d.priority < level;
        exit when level is null;
        is_urgent := level >= 135;
        share := claim_deliveries.per_organization * case when is_urgent then 2 else 1 end;
        is_backlog := exists (
            select from public.apm_deliveries as d
            where d.state in ('pending', 'retry', 'unknown') and d.priority = level and d.due_at <= claim_deliveries.at
            order by d.due_at
            offset look limit 1
        );
        starts := case when is_backlog then array[gen_random_uuid(), '00000000-0000-0000-0000-000000000000'] end;
        channels := array(select c from unnest(enum_range(null::public.notification_channel)) as c order by random());
        foreach each in array case when is_backlog then array[2, share] else array[share] end loop
            foreach lane in array case when is_backlog then channels else channels[1:1] end loop
                foreach start in array coalesce(starts, array['00000000-0000-0000-0000-000000000000'::uuid]) loop
                    for candidate in
                        select few.* from (
                            select d.organization_id, d.id, d.provider, d.channel,
                                row_number() over (partition by d.organization_id order by d.due_at, d.id) as turn, d.due_at
                            from (
                                select f.* from public.apm_deliveries as f
                                where not is_backlog and f.state in ('pending', 'retry', 'unknown') and f.priority = level
                                    and f.due_at <= claim_deliveries.at
                                order by f.due_at
                                limit look
                            ) as d
                            order by turn, d.due_at, d.id
                        ) as few
                        union all
                        select many.organization_id, many.id, many.provider, lane, 0, null from (
                            with recursive ring as (
                                (
                                    select d.organization_id from public.apm_deliveries as d
                                    where is_backlog and d.state in ('pending', 'retry', 'unknown') and d.priority = level
                                        and d.channel = lane and d.organization_id >= start
                                    order by d.organization_id
                                    limit 1
                                )
                                union all
                                select d.organization_id
                                from ring as r
                                cross join lateral (
                                    select d.organization_id from public.apm_deliveries as d
                                    where d.state in ('pending', 'retry', 'unknown') and d.priority = level
                                        and d.channel = lane and d.organization_id > r.organization_id
                                    order by d.organization_id
                                    limit 1
                                ) as d
                            )
                            select d.organization_id, d.id, d.provider
                            from ring as r
                            cross join lateral (
                                select d.organization_id, d.id, d.provider from public.apm_deliveries as d
                                where d.state in ('pending', 'retry', 'unknown') and d.priority = level and d.channel = lane
                                    and d.organization_id = r.organization_id and d.due_at <= claim_deliveries.at
                                order by d.due_at
                                limit each
                            ) as d
                        ) as many
                    loop
                        if taken >= claim_deliveries.batch_size or put_off >= most_put_off
                            or (not is_urgent and ordinary >= claim_deliveries.ordinary_size) then
                            has_more := true;
                            exit levels;
                        end if;
                        if holds ? candidate.provider then
                            -- in a moment after that, one after the other; a person's next channel does not wait as long
                            update public.apm_deliveries as d set
                                due_at = (holds ->> candidate.provider)::timestamptz + random() * interval '2 seconds',
                                stage = 'taken', state_reason = 'the provider has asked us to wait',
                                fail_over_at = least(d.fail_over_at, claim_deliveries.at)
                            where d.organization_id = candidate.organization_id and d.id = candidate.id
                                and d.state in ('pending', 'retry', 'unknown');
                            put_off := put_off + 1;
                            continue;
                        end if;
                        if coalesce((under_way ->> candidate.organization_id::text)::int, 0) >= share then
                            has_more := true;
                            continue;
                        end if;
                        if not is_urgent
                            and coalesce((under_way ->> candidate.channel::text)::int, 0) >= claim_deliveries.per_channel then
                            has_more := true;
                            exit when is_backlog;
                            continue;
                        end if;
                        if candidate.channel = 'apprise' then
                            if coalesce((under_way ->> 'apprise')::int, 0) >= most_of_apprise then
                                has_more := true;
                                exit when is_backlog;
                                continue;
                            end if;
                            if coalesce((under_way ->> ('apprise:' || candidate.organization_id))::int, 0)
                                >= each_of_apprise then
                                has_more := true;
                                continue;
                            end if;
                        end if;
                        update public.apm_deliveries as d set
                            state = 'leased',
                            lease_owner = claim_deliveries.lease_owner,
                            lease_until = claim_deliveries.at + make_interval(secs => claim_deliveries.lease_seconds),
                            fence = d.fence + 1
                        where d.organization_id = candidate.organization_id and d.id = (
                            select f.id from public.apm_deliveries as f
                            where f.organization_id = candidate.organization_id and f.id = candidate.id
                                and f.state in ('pending', 'retry', 'unknown') and f.due_at <= claim_deliveries.at
                            for update skip locked
                        )
                        returning d.fence into leased;
                        continue when leased is null;
                        taken := taken + 1;
                        under_way := under_way || jsonb_build_object(
                            candidate.organization_id::text,
                            coalesce((under_way ->> candidate.organization_id::text)::int, 0) + 1
                        );
                        if candidate.channel = 'apprise' then
                            under_way := under_way || jsonb_build_object(
                                'apprise:' || candidate.organization_id,
                                coalesce((under_way ->> ('apprise:' || candidate.organization_id))::int, 0) + 1
                            );
                        end if;
                        if not is_urgent then
                            ordinary := ordinary + 1;
                        end if;
                        if not is_urgent or candidate.channel = 'apprise' then
                            under_way := under_way || jsonb_build_object(
                                candidate.channel::text, coalesce((under_way ->> candidate.channel::text)::int, 0) + 1
                            );
                        end if;
                        organization_id := candidate.organization_id;
                        id := candidate.id;
                        fence := leased;
                        is_more := false;
                        return next;
                    end loop;
                end loop;
            end loop;
        end loop;
    end loop;
    if has_more or put_off > 0 then
        organization_id := null;
        id := null;
        fence := null;
        is_more := true;
        return next;
    end if;
end
$$;

-- Whom one rung reaches at an instant.
create or replace function apm_private.rung_receivers(organization_id uuid, rung jsonb, at timestamptz)
returns table (
    contact_method_id uuid, channel public.notification_channel, name text, address text, via text, is_verified boolean
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with own as materialized (
        select c.contact_method_id, c.via
        from apm_private.rung_contacts(
            rung_receivers.organization_id, rung_receivers.rung, rung_receivers.at
        ) as c
        where apm_private.is_in_hours(rung_receivers.rung -> 'hours', c.zone, rung_receivers.at)
    ), enough as materialized (
        -- Apprise says at most that a service took it: at a wedding it is nobody's only way to hear.
        select not apm_private.is_wedding_at(rung_receivers.organization_id, rung_receivers.at) or exists (
            select from own as o
            join public.apm_contact_methods as m on m.organization_id = rung_receivers.organization_id
                and m.id = o.contact_method_id and m.channel <> 'apprise'
        ) as is_enough
    ), reached as materialized (
        select m.id, m.channel, m.name, m.address, coalesce(o.via, 'everybody') as via, m.verified_at is not null as is_verified
        from public.apm_contact_methods as m
        left join own as o on o.contact_method_id = m.id
        where m.organization_id = rung_receivers.organization_id and m.disabled_at is null
            and (
                o.contact_method_id is not null or not exists (select from own) or not (select c.is_enough from enough as c)
                -- whom the weddings under way want called, whatever the ladder says
                or m.id in (
                    select e.contact_method_id
                    from apm_private.emergency_contacts(rung_receivers.organization_id, rung_receivers.at) as e
                )
            )
    )
    select r.id, r.channel, r.name, r.address, r.via, r.is_verified from reached as r
    union all
    select null, 'email', u.display_name, u.email, 'owner', false
    from apm_private.users as u
    where u.disabled_at is null and u.id in (
        select o.user_id from public.apm_memberships as o
        where o.organization_id = rung_receivers.organization_id and o.role = 'OWNER'
        union all
        select k.id from apm_private.users as k
        cross join lateral apm_private.host_memberships(k.id) as h
        where h.organization_id = rung_receivers.organization_id and h.role = 'OWNER'
        union all
        select p.user_id from public.apm_operators as p
        cross join apm_private.platform as f
        where f.organization_id = rung_receivers.organization_id and p.role = 'oncall' and p.disabled_at is null
    ) and not exists (
        select from reached as r
        where r.channel <> 'apprise' or not apm_private.is_wedding_at(rung_receivers.organization_id, rung_receivers.at)
    )
$$;

-- Of each step of the ladders in use what it leaves open in a range. Whoever is told by Apprise alone is not counted as told.
create or replace function apm_private.ladder_reach(organization_id uuid, earliest timestamptz, latest timestamptz)
returns table (
    policy_id uuid, policy_name text, is_default boolean, step int, gaps tstzmultirange, is_empty boolean, unreachable int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select tstzrange(ladder_reach.earliest, least(ladder_reach.latest, ladder_reach.earliest + interval '100 days')) as span
        where ladder_reach.earliest < ladder_reach.latest
    ), steps as (
        select p.id, p.name, p.is_default, s.position, r.rung, a.span, case
            when r.rung -> 'hours' ->> 'zone' = 'organization' then (
                select coalesce(range_agg(d.span * a.span), '{}')
                from apm_private.host_organizations(array[p.organization_id]) as o
                cross join lateral apm_private.daily_spans(
                    s.hours_from, s.hours_until, s.hours_weekdays,
                    case when apm_private.is_time_zone(o.time_zone) then o.time_zone else 'UTC' end, lower(a.span), upper(a.span)
                ) as d
            )
            else tstzmultirange(a.span)
        end as hours
        from asked as a
        join public.apm_escalation_policies as p on p.organization_id = ladder_reach.organization_id
        join public.apm_escalation_steps as s on s.organization_id = p.organization_id and s.policy_id = p.id
        join lateral jsonb_array_elements(apm_private.snapshot_ladder(p.organization_id, p.id)) as r (rung)
            on (r.rung ->> 'position')::int = s.position
        where s.weddings <> 'never' and (p.is_default or exists (
            select from public.apm_notification_rules as n
            where n.organization_id = p.organization_id and n.escalation_policy_id = p.id and n.is_active
        ))
    ), turns as (
        -- who is on call by which schedule, once for all the steps that name it
        select l.id, range_agg(tstzrange(b.starts_at, b.ends_at)) filter (where w.contacts > 0) as spans,
            array_agg(distinct b.user_id) filter (where w.verified = 0) as unproven
        from (
            select distinct n.id::uuid as id, s.span
            from steps as s
            cross join lateral jsonb_array_elements_text(s.rung -> 'schedule_ids') as n (id)
        ) as l
        cross join lateral apm_private.on_call_between(
            ladder_reach.organization_id, l.id, lower(l.span), upper(l.span)
        ) as b
        cross join lateral apm_private.reach_of(ladder_reach.organization_id, b.user_id) as w
        group by l.id
    )
    select s.id, s.name, s.is_default, s.position,
        case when f.has_fixed then '{}'
            else s.hours - coalesce((select range_agg(p.part) from turns as t cross join lateral unnest(t.spans) as p (part)
                where s.rung -> 'schedule_ids' ? t.id::text), '{}')
        end,
        not f.has_fixed and s.rung -> 'schedule_ids' = '[]',
        f.unproven + coalesce((select sum(cardinality(t.unproven))::int from turns as t
            where s.rung -> 'schedule_ids' ? t.id::text), 0)
    from steps as s
    cross join lateral (
        select
            exists (
                select from apm_private.rung_contacts(
                    ladder_reach.organization_id, s.rung || '{"schedule_ids": []}', lower(s.span)
                ) as c
                join public.apm_contact_methods as m on m.organization_id = ladder_reach.organization_id
                    and m.id = c.contact_method_id and m.channel <> 'apprise'
            ) as has_fixed,
            (
                select count(*)::int from jsonb_array_elements_text(s.rung -> 'user_ids') as u (id)
                cross join lateral apm_private.reach_of(ladder_reach.organization_id, u.id::uuid) as w
                where w.verified = 0
            ) as unproven
    ) as f
$$;

-- How many ways there are to reach somebody, and how many of them are proven to arrive: by Apprise nobody ever knows.
create or replace function apm_private.reach_of(organization_id uuid, user_id uuid)
returns table (contacts int, verified int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select count(*)::int, count(*) filter (where m.verified_at is not null and m.channel <> 'apprise')::int
    from public.apm_contact_methods as m
    where m.organization_id = reach_of.organization_id and m.user_id = reach_of.user_id and m.disabled_at is null
$$;
