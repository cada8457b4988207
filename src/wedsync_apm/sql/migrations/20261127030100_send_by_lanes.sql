-- pre: APM extended: the sender takes what is due by index, holds to limits, and goes on to a person's next channel.

-- More kinds: `group` tells what a rule's group has, and is about several incidents or none.
alter table public.apm_deliveries drop constraint apm_deliveries_kind_check;
alter table public.apm_deliveries add constraint apm_deliveries_kind_check check (
    kind in ('page', 'update', 'resolved', 'reopened', 'test', 'verify', 'group', 'report', 'drill')
);
alter table public.apm_deliveries drop constraint apm_deliveries_state_check;
alter table public.apm_deliveries add constraint apm_deliveries_state_check check (state in (
    'pending', 'leased', 'sending', 'sent', 'delivered', 'unknown', 'retry', 'failed', 'suppressed', 'cancelled',
    'expired', 'inbox',
    -- another message says it, too: bundled_into; if that one fails, it is its own again
    'bundled'
));
alter table public.apm_deliveries
    add column provider text not null default '',
    -- the stage that dropped it or held it back
    add column stage text,
    -- since when it waits because its contact has had enough messages
    add column throttled_at timestamptz,
    add column bundled_into uuid,
    -- when the person's next channel is tried beside it, unless it has arrived by then; null: it is not, or was
    add column fail_over_at timestamptz,
    -- the message that it stands in for, and after which channels
    add column stands_in_for uuid,
    add constraint apm_deliveries_bundled_fkey foreign key (organization_id, bundled_into)
        references public.apm_deliveries (organization_id, id) on delete set null (bundled_into),
    add constraint apm_deliveries_stands_in_fkey foreign key (organization_id, stands_in_for)
        references public.apm_deliveries (organization_id, id) on delete set null (stands_in_for);

-- claim_deliveries: where much is due, one organization's part of a channel after the other
create index idx_apm_deliveries_lanes on public.apm_deliveries (priority desc, channel, organization_id, due_at)
where state in ('pending', 'retry', 'unknown');
-- bundle_deliveries: what waits for one contact
create index idx_apm_deliveries_throttled on public.apm_deliveries (organization_id, contact_method_id)
where state = 'pending' and throttled_at is not null;
-- unbundle_deliveries, and the set-null when the message goes
create index idx_apm_deliveries_bundled on public.apm_deliveries (organization_id, bundled_into) where bundled_into is not null;
-- the set-null when the message goes
create index idx_apm_deliveries_stands_in on public.apm_deliveries (organization_id, stands_in_for) where stands_in_for is not null;
-- fail_over_deliveries: over all organizations
create index idx_apm_deliveries_fail_over on public.apm_deliveries (fail_over_at) where fail_over_at is not null;

-- Who takes a message: the platform's own provider of a channel; of what a tenant names himself, his part of a host.
-- What one tenant's host says must not hold up another's.
create function apm_private.prepare_delivery() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.provider := case
        when new.channel::text in ('email', 'sms', 'voice', 'push') then new.channel::text
        else concat_ws(':', new.channel, new.organization_id, (
            select c.address from public.apm_contact_methods as c
            where new.channel = 'webhook' and c.organization_id = new.organization_id and c.id = new.contact_method_id
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
call apm_private.hand_over('apm_private.prepare_delivery()');
create trigger apm_deliveries_prepare before insert on public.apm_deliveries
for each row execute function apm_private.prepare_delivery();
update public.apm_deliveries as d set provider = case
    when d.channel::text in ('email', 'sms', 'voice', 'push') then d.channel::text
    else concat_ws(':', d.channel, d.organization_id, (
        select c.address from public.apm_contact_methods as c
        where d.channel = 'webhook' and c.organization_id = d.organization_id and c.id = d.contact_method_id
    ))
end
where d.state in ('pending', 'leased', 'sending', 'retry', 'unknown');

-- A provider that has asked us to wait, and until when.
create table apm_private.provider_holds (
    provider text primary key,
    held_until timestamptz not null,
    reason text not null
);
call apm_private.protect_table('apm_private.provider_holds');

-- How many messages a contact still takes: a bucket for each limit, which fills up evenly.
create table apm_private.throttle_buckets (
    organization_id uuid not null,
    contact_method_id uuid not null,
    seconds int not null,
    lane text not null check (lane in ('all', 'urgent')),
    tokens float8 not null,
    filled_at timestamptz not null,
    primary key (organization_id, contact_method_id, lane, seconds),
    foreign key (organization_id, contact_method_id)
        references public.apm_contact_methods (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.throttle_buckets');

-- The limits of one contact by channel: so many in so many seconds. A channel without a row has none. What is urgent has
-- a lane of its own past the others, up to its own limit.
create table apm_private.throttle_limits (
    channel text not null,
    lane text not null check (lane in ('all', 'urgent')),
    seconds int not null check (seconds > 0),
    most int not null check (most > 0),
    primary key (channel, lane, seconds)
);
call apm_private.protect_table('apm_private.throttle_limits');
insert into apm_private.throttle_limits (channel, lane, seconds, most) values
    ('email', 'all', 60, 5), ('email', 'all', 900, 15),
    ('sms', 'all', 60, 1), ('sms', 'all', 900, 5), ('sms', 'all', 3600, 11), ('sms', 'all', 10800, 21),
    ('voice', 'all', 60, 1), ('voice', 'all', 900, 3), ('voice', 'all', 3600, 7), ('voice', 'all', 10800, 15),
    ('push', 'all', 60, 5), ('push', 'all', 900, 15),
    ('slack', 'all', 60, 20),
    ('apprise', 'all', 60, 5), ('apprise', 'all', 900, 15),
    ('email', 'urgent', 900, 30), ('sms', 'urgent', 900, 15), ('voice', 'urgent', 900, 10), ('push', 'urgent', 900, 30),
    ('slack', 'urgent', 60, 40), ('apprise', 'urgent', 900, 30);

-- Takes one message's worth out of a contact's buckets, all of them or none; null: it may go, else when it may.
create function apm_private.take_token(
    organization_id uuid, contact_method_id uuid, channel text, is_urgent boolean, at timestamptz
) returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    wanted text := case when take_token.is_urgent then 'urgent' else 'all' end;
    free_at timestamptz;
begin
    insert into apm_private.throttle_buckets as b (organization_id, contact_method_id, seconds, lane, tokens, filled_at)
    select take_token.organization_id, take_token.contact_method_id, l.seconds, l.lane, l.most, take_token.at
    from apm_private.throttle_limits as l
    where l.channel = take_token.channel and l.lane = wanted
    on conflict do nothing;
    -- One at a time for each contact.
    perform from apm_private.throttle_buckets as b
    where b.organization_id = take_token.organization_id and b.contact_method_id = take_token.contact_method_id
    order by b.lane, b.seconds
    for update;
    with filled as (
        select b.lane, b.seconds, l.most,
            least(l.most, b.tokens + greatest(extract(epoch from take_token.at - b.filled_at), 0) * l.most / l.seconds) as tokens
        from apm_private.throttle_buckets as b
        join apm_private.throttle_limits as l
            on l.channel = take_token.channel and l.lane = b.lane and l.seconds = b.seconds
        where b.organization_id = take_token.organization_id and b.contact_method_id = take_token.contact_method_id
            and b.lane = wanted
    )
    select max(take_token.at + make_interval(secs => (1 - f.tokens) * f.seconds / f.most)) into free_at
    from filled as f
    where f.tokens < 1 - 1e-6;
    if free_at is not null then
        return free_at;
    end if;
    update apm_private.throttle_buckets as b set
        tokens = least(l.most, b.tokens + greatest(extract(epoch from take_token.at - b.filled_at), 0) * l.most / l.seconds) - 1,
        filled_at = greatest(b.filled_at, take_token.at)
    from apm_private.throttle_limits as l
    where l.channel = take_token.channel and l.lane = b.lane and l.seconds = b.seconds and b.lane = wanted
        and b.organization_id = take_token.organization_id and b.contact_method_id = take_token.contact_method_id;
    return null;
end
$$;
call apm_private.hand_over('apm_private.take_token(uuid, uuid, text, boolean, timestamptz)');
grant execute on function apm_private.take_token(uuid, uuid, text, boolean, timestamptz) to apm_engine;

-- A message that others are told with goes no further: they are their own again.
create function apm_private.unbundle_deliveries() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.apm_deliveries as d set
        state = 'pending', state_reason = 'the message that said it, too, did not go out', bundled_into = null
    where d.organization_id = new.organization_id and d.bundled_into = new.id and d.state = 'bundled';
    return null;
end
$$;
call apm_private.hand_over('apm_private.unbundle_deliveries()');
create trigger apm_deliveries_unbundle after update of state on public.apm_deliveries
for each row
when (
    new.state in ('failed', 'suppressed', 'cancelled', 'expired', 'inbox') and old.state is distinct from new.state
    and new.throttled_at is not null
)
execute function apm_private.unbundle_deliveries();

-- Leases what is most urgent, by index alone. Within one urgency the organizations take turns: mostly little is due, and
-- one look sees it all; of a backlog each channel's organizations are gone through from one by chance, a few of each, and
-- no further than there is room. Of each organization no more than its share is under way, and of each channel no more
-- than its own. What is urgent (135 and more: critical at a wedding, emergencies) has twice its organization's share and
-- asks no channel. What a provider that has asked us to wait would have to take is put off. `is_more`: more is due that
-- a limit keeps back or that was not looked at; a row without an id says only that.
create function apm_private.claim_deliveries(
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
            case when grouping(d.channel) = 0 then count(*) filter (where d.priority < 135) else count(*) end as held
        from public.apm_deliveries as d
        where d.state in ('leased', 'sending') and d.lease_until > claim_deliveries.at
        group by grouping sets ((d.organization_id), (d.channel))
    ) as b;
    select coalesce(jsonb_object_agg(h.provider, h.held_until), '{}') into holds
    from apm_private.provider_holds as h where h.held_until > claim_deliveries.at;

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
                        if not is_urgent then
                            ordinary := ordinary + 1;
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
call apm_private.hand_over('apm_private.claim_deliveries(timestamptz, text, float8, int, int, int, int)');
grant execute on function apm_private.claim_deliveries(timestamptz, text, float8, int, int, int, int) to apm_engine;
