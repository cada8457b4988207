-- pre: a status page for each vendor, public by choice, and e-mail for whoever asks for it and confirms that.

create table public.apm_status_pages (
    organization_id uuid primary key references public.organizations (id) on delete cascade,
    -- the page's address: /status/{slug}
    slug text not null constraint apm_status_pages_slug_key unique
        constraint apm_status_pages_slug_check check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) between 3 and 60),
    title text not null check (length(title) between 1 and 100),
    intro text not null default '' check (length(intro) <= 500),
    is_public boolean not null default false,
    -- whether search engines may keep it
    is_indexed boolean not null default false,
    -- what it shows, in this order
    check_ids uuid[] not null default '{}' check (cardinality(check_ids) <= 20),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
call apm_private.protect_table('public.apm_status_pages');
create trigger apm_status_pages_audit after insert or update or delete on public.apm_status_pages
for each row execute function apm_private.write_audit();
grant select on public.apm_status_pages to authenticated;
call apm_private.grant_writes('public.apm_status_pages');
create policy apm_status_pages_authenticated_select on public.apm_status_pages for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_status_pages_authenticated_insert on public.apm_status_pages for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_status_pages_authenticated_update on public.apm_status_pages for update to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_status_pages_authenticated_delete on public.apm_status_pages for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- Only the vendor's own checks of what vendors or couples use.
create function apm_private.check_status_page() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from unnest(new.check_ids) as wanted (id)
        where not exists (
            select from public.service_health_checks as c
            where c.organization_id = new.organization_id and c.id = wanted.id and (c.vendor_facing or c.couple_facing)
        )
    ) then
        raise exception 'a status page shows checks of its own organization that vendors or couples use'
            using errcode = 'check_violation', constraint = 'apm_status_pages_check_ids', table = 'apm_status_pages',
            column = 'check_ids';
    end if;
    return new;
end
$$;
call apm_private.hand_over('apm_private.check_status_page()');
create trigger apm_status_pages_check before insert or update of check_ids on public.apm_status_pages
for each row when (cardinality(new.check_ids) > 0) execute function apm_private.check_status_page();

-- What the vendor says in his own words, for everybody to read.
create table public.apm_status_notes (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    body text not null check (length(body) between 1 and 1000),
    -- "next update by": a promise
    next_update_at timestamptz,
    posted_at timestamptz not null default now(),
    -- when the subscribers' messages were put in line
    told_at timestamptz,
    created_by uuid,
    primary key (organization_id, id)
);
call apm_private.protect_table('public.apm_status_notes');
create trigger apm_status_notes_audit after insert or delete on public.apm_status_notes
for each row execute function apm_private.write_audit();
-- follow_status_pages: what nobody was told yet, over all organizations
create index idx_apm_status_notes_untold on public.apm_status_notes (posted_at) where told_at is null;
grant select, delete on public.apm_status_notes to authenticated;
grant insert (organization_id, body, next_update_at, created_by) on public.apm_status_notes to authenticated;
create policy apm_status_notes_authenticated_select on public.apm_status_notes for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_status_notes_authenticated_insert on public.apm_status_notes for insert to authenticated
with check (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_status_notes_authenticated_delete on public.apm_status_notes for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- Who has asked for mail. Without confirmed_at nobody has proven that the address is his, and it gets nothing.
create table public.apm_status_subscribers (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    address text not null check (length(address) between 3 and 320 and address = lower(address)),
    asked_at timestamptz not null default now(),
    confirmed_at timestamptz,
    -- mails in a row that came back
    failures int not null default 0,
    primary key (organization_id, id),
    constraint apm_status_subscribers_address_key unique (organization_id, address)
);
call apm_private.protect_table('public.apm_status_subscribers');
-- forget_status_asks: addresses that nobody confirmed
create index idx_apm_status_subscribers_unconfirmed on public.apm_status_subscribers (asked_at) where confirmed_at is null;
grant select, delete on public.apm_status_subscribers to authenticated;
create policy apm_status_subscribers_authenticated_select on public.apm_status_subscribers for select to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));
create policy apm_status_subscribers_authenticated_delete on public.apm_status_subscribers for delete to authenticated
using (organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]));

-- A coming and going of trouble with one service, as the page tells it.
create table public.apm_status_problems (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    check_id uuid not null,
    state text not null check (state in ('slow', 'down', 'over')),
    began_at timestamptz not null,
    changed_at timestamptz not null,
    ended_at timestamptz check (ended_at >= began_at),
    -- the vendor's own words of the incident: {"subject", "problem", "still_works"}
    vendor_text jsonb not null default '{}' check (jsonb_typeof(vendor_text) = 'object'),
    is_in_hand boolean not null default false,
    next_update_at timestamptz,
    -- the state that subscribers were told last; null: nothing yet
    told text check (told in ('slow', 'down', 'over')),
    -- how often they were told
    news int not null default 0,
    primary key (organization_id, id),
    constraint apm_status_problems_ended check ((state = 'over') = (ended_at is not null)),
    constraint apm_status_problems_check_fkey foreign key (organization_id, check_id)
        references public.service_health_checks (organization_id, id) on delete cascade
);
call apm_private.protect_table('public.apm_status_problems');
-- one at a time for a service; also the way back from a check that goes
create index idx_apm_status_problems_check on public.apm_status_problems (organization_id, check_id, began_at desc);
create unique index idx_apm_status_problems_open on public.apm_status_problems (organization_id, check_id) where ended_at is null;
-- follow_status_pages: what nobody was told yet, over all organizations
create index idx_apm_status_problems_news on public.apm_status_problems (changed_at) where state <> coalesce(told, 'over');
grant select on public.apm_status_problems to authenticated;
create policy apm_status_problems_authenticated_select on public.apm_status_problems for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

-- SHA-256 of what stands in the links of mails.
create table apm_private.status_links (
    token_hash bytea primary key check (length(token_hash) = 32),
    organization_id uuid not null,
    subscriber_id uuid not null,
    purpose text not null check (purpose in ('confirm', 'leave')),
    -- null: for as long as there is the subscription
    expires_at timestamptz,
    constraint status_links_subscriber_fkey foreign key (organization_id, subscriber_id)
        references public.apm_status_subscribers (organization_id, id) on delete cascade
);
call apm_private.protect_table('apm_private.status_links');
-- what goes with a subscription
create index idx_apm_status_links_subscriber on apm_private.status_links (organization_id, subscriber_id);

-- Who has asked lately, as hashes, for the limits; a day, and it is gone.
create table apm_private.status_asks (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    address_hash bytea not null,
    caller_hash bytea not null,
    asked_at timestamptz not null
);
call apm_private.protect_table('apm_private.status_asks');
-- the limits of ask_for_status_mail
create index idx_apm_status_asks_organization on apm_private.status_asks (organization_id, asked_at);
create index idx_apm_status_asks_address on apm_private.status_asks (address_hash, asked_at);
create index idx_apm_status_asks_caller on apm_private.status_asks (caller_hash, asked_at);

-- A message to a subscriber knows him and not his address, which only owners and admins may see.
alter table public.apm_deliveries
    add column status_subscriber_id uuid,
    add constraint apm_deliveries_subscriber_fkey foreign key (organization_id, status_subscriber_id)
        references public.apm_status_subscribers (organization_id, id) on delete set null (status_subscriber_id);
-- end_status_subscription, and the set-null
create index idx_apm_deliveries_subscriber on public.apm_deliveries (organization_id, status_subscriber_id)
where status_subscriber_id is not null;

-- What goes out to one who has left goes no further.
create function apm_private.end_status_subscription() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.apm_deliveries as d set state = 'cancelled', state_reason = 'the subscription has ended', lease_owner = null,
        lease_until = null
    where d.organization_id = old.organization_id and d.status_subscriber_id = old.id
        and d.state in ('pending', 'leased', 'retry', 'unknown');
    return old;
end
$$;
call apm_private.hand_over('apm_private.end_status_subscription()');
create trigger apm_status_subscribers_end before delete on public.apm_status_subscribers
for each row execute function apm_private.end_status_subscription();

-- A page that is turned off tells nobody anything more.
create function apm_private.close_status_page() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.apm_deliveries as d set state = 'cancelled', state_reason = 'the status page was turned off',
        lease_owner = null, lease_until = null
    where d.organization_id = old.organization_id and d.status_subscriber_id is not null
        and d.state in ('pending', 'leased', 'retry', 'unknown');
    return null;
end
$$;
call apm_private.hand_over('apm_private.close_status_page()');
create trigger apm_status_pages_close after update of is_public on public.apm_status_pages
for each row when (old.is_public and not new.is_public) execute function apm_private.close_status_page();
create trigger apm_status_pages_gone after delete on public.apm_status_pages
for each row execute function apm_private.close_status_page();

-- A mailbox that is gone (SMTP 5.1.x) ends its subscription, and so do three mails in a row that came back.
create function apm_private.hear_status_bounce() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.state <> 'failed' then
        update public.apm_status_subscribers as s set failures = 0
        where s.organization_id = new.organization_id and s.id = new.status_subscriber_id and s.failures > 0;
    elsif new.provider_status ~ '5\.1\.\d+' then
        delete from public.apm_status_subscribers as s
        where s.organization_id = new.organization_id and s.id = new.status_subscriber_id;
    else
        update public.apm_status_subscribers as s set failures = s.failures + 1
        where s.organization_id = new.organization_id and s.id = new.status_subscriber_id;
        delete from public.apm_status_subscribers as s
        where s.organization_id = new.organization_id and s.id = new.status_subscriber_id and s.failures >= 3;
    end if;
    return null;
end
$$;
call apm_private.hand_over('apm_private.hear_status_bounce()');
create trigger apm_deliveries_status_bounce after update of state on public.apm_deliveries
for each row
when (
    new.status_subscriber_id is not null and new.state in ('failed', 'sent', 'delivered')
    and new.state is distinct from old.state
)
execute function apm_private.hear_status_bounce();

-- Puts a message to every confirmed subscriber of a page in line, each on its own.
create function apm_private.tell_subscribers(organization_id uuid, news text, payload jsonb, at timestamptz) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    told int;
begin
    insert into public.apm_deliveries (
        organization_id, status_subscriber_id, channel, kind, reason, recipient, payload, idempotency_key, priority, due_at,
        created_at
    )
    select s.organization_id, s.id, 'email', 'report', 'status_page', '{"name": "A subscriber of the status page"}',
        tell_subscribers.payload, 'status:' || tell_subscribers.news || ':' || s.id, 5, tell_subscribers.at, tell_subscribers.at
    from public.apm_status_subscribers as s
    where s.organization_id = tell_subscribers.organization_id and s.confirmed_at is not null
    on conflict (organization_id, idempotency_key) do nothing;
    get diagnostics told = row_count;
    return told;
end
$$;
call apm_private.hand_over('apm_private.tell_subscribers(uuid, text, jsonb, timestamptz)');

-- What a public page shows of its services now; state null: not known, which changes nothing.
create function apm_private.status_services(at timestamptz)
returns table (
    organization_id uuid, check_id uuid, name text, state text, since timestamptz, vendor_text jsonb, is_in_hand boolean,
    next_update_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select c.organization_id, c.id, c.display_name,
        case
            when c.last_check_at is null
                or status_services.at > c.last_check_at + 5 * greatest(c.check_interval, c.effective_interval) then null
            when c.status = 'critical' then 'down'
            when c.status = 'warning' then 'slow'
            when c.status = 'healthy' and i.is_live then 'slow'
            when c.status in ('healthy', 'maintenance') then 'over'
        end,
        case when c.status in ('critical', 'warning') then c.status_since else coalesce(i.detected_at, c.status_since) end,
        coalesce(i.vendor_text, '{}'), coalesce(i.is_in_hand, false), i.next_update_at
    from public.apm_status_pages as p
    cross join lateral unnest(p.check_ids) as shown (id)
    join public.service_health_checks as c on c.organization_id = p.organization_id and c.id = shown.id
    left join lateral (
        -- the check's own incident, or one of a rule that watches the very same figures
        select i.detected_at, i.next_update_at, i.status <> 'open' as is_in_hand, i.alert_id is not null as is_live,
            jsonb_strip_nulls(jsonb_build_object(
                'subject', i.vendor_text -> 'subject', 'problem', i.vendor_text -> 'problem',
                'still_works', i.vendor_text -> 'still_works'
            )) as vendor_text
        from public.apm_incidents as i
        left join public.apm_alerts as a on a.organization_id = i.organization_id and a.id = i.alert_id
        where i.organization_id = c.organization_id and i.status in ('open', 'acknowledged', 'investigating')
            and i.severity >= 'warning'
            and (
                i.dedup_key = 'check:1:' || c.id or a.metric_pattern = c.source_metric
                or split_part(a.metric_pattern, '.', 1) = c.service_name
            )
        order by i.alert_id is not null desc, i.severity desc, i.detected_at
        limit 1
    ) as i on true
    where p.is_public and c.is_active
$$;
call apm_private.hand_over('apm_private.status_services(timestamptz)');

-- Follows what public pages show, and puts the news of it in line: a minute after it came, so that what flickers is told
-- once. Trouble that comes back within half an hour is the same trouble. Tells how many messages that made.
create function apm_private.follow_status_pages(at timestamptz) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    seen record;
    told int := 0;
begin
    for seen in
        select s.*, p.id as problem_id
        from apm_private.status_services(follow_status_pages.at) as s
        left join lateral (
            select p.* from public.apm_status_problems as p
            where p.organization_id = s.organization_id and p.check_id = s.check_id
                and (p.ended_at is null or p.ended_at > follow_status_pages.at - interval '30 minutes')
            order by p.ended_at is null desc, p.began_at desc
            limit 1
        ) as p on true
        where s.state is not null and case s.state
            when 'over' then p.state <> 'over'
            else (p.state, p.vendor_text, p.is_in_hand, p.next_update_at)
                is distinct from (s.state, s.vendor_text, s.is_in_hand, s.next_update_at)
        end
    loop
        if seen.problem_id is null then
            insert into public.apm_status_problems
                (organization_id, check_id, state, began_at, changed_at, vendor_text, is_in_hand, next_update_at)
            values (
                seen.organization_id, seen.check_id, seen.state, least(seen.since, follow_status_pages.at), follow_status_pages.at,
                seen.vendor_text, seen.is_in_hand, seen.next_update_at
            );
        elsif seen.state = 'over' then
            -- what it was stays readable
            update public.apm_status_problems as p set
                state = 'over', changed_at = follow_status_pages.at, ended_at = greatest(p.began_at, follow_status_pages.at),
                next_update_at = null
            where p.organization_id = seen.organization_id and p.id = seen.problem_id;
        else
            update public.apm_status_problems as p set
                changed_at = case when p.state = seen.state then p.changed_at else follow_status_pages.at end,
                state = seen.state, ended_at = null, vendor_text = seen.vendor_text, is_in_hand = seen.is_in_hand,
                next_update_at = seen.next_update_at
            where p.organization_id = seen.organization_id and p.id = seen.problem_id;
        end if;
    end loop;
    for seen in
        update public.apm_status_problems as p set told = p.state, news = p.news + 1
        from (
            select o.organization_id, o.id, o.told
            from public.apm_status_problems as o
            join public.apm_status_pages as g on g.organization_id = o.organization_id and g.is_public and o.check_id = any (g.check_ids)
            where o.state <> coalesce(o.told, 'over') and o.changed_at <= follow_status_pages.at - interval '1 minute'
            order by o.changed_at
            limit 100
            for update of o skip locked
        ) as due, public.service_health_checks as c
        where p.organization_id = due.organization_id and p.id = due.id
            and c.organization_id = p.organization_id and c.id = p.check_id
        returning p.*, c.display_name, due.told as told_before
    loop
        told := told + apm_private.tell_subscribers(seen.organization_id, seen.id || ':' || seen.news, jsonb_build_object(
            'word', case
                when seen.told_before is null then 'status_begin'
                when seen.state = 'over' then 'status_end'
                when seen.told_before = 'over' then 'status_again'
                else 'status_change'
            end,
            'service', seen.display_name, 'state', case seen.state when 'over' then seen.told_before else seen.state end, 'began_at', seen.began_at, 'ended_at', seen.ended_at,
            'changed_at', seen.changed_at, 'vendor_text', seen.vendor_text, 'is_in_hand', seen.is_in_hand,
            'next_update_at', seen.next_update_at
        ), follow_status_pages.at);
    end loop;
    for seen in
        update public.apm_status_notes as n set told_at = follow_status_pages.at
        from public.apm_status_pages as g
        where n.told_at is null and n.posted_at > follow_status_pages.at - interval '1 day'
            and g.organization_id = n.organization_id and g.is_public
        returning n.*
    loop
        told := told + apm_private.tell_subscribers(seen.organization_id, seen.id::text, jsonb_build_object(
            'word', 'status_note', 'body', seen.body, 'posted_at', seen.posted_at, 'next_update_at', seen.next_update_at
        ), follow_status_pages.at);
    end loop;
    return told;
end
$$;
call apm_private.hand_over('apm_private.follow_status_pages(timestamptz)');
grant execute on function apm_private.follow_status_pages(timestamptz) to apm_engine;

-- Addresses that nobody confirmed, hashes of who asked, and old troubles.
create function apm_private.forget_status_asks(at timestamptz) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from public.apm_status_subscribers as s
    where s.confirmed_at is null and s.asked_at < forget_status_asks.at - interval '2 days';
    delete from apm_private.status_asks as a where a.asked_at < forget_status_asks.at - interval '1 day';
    delete from public.apm_status_problems as p where p.ended_at < forget_status_asks.at - interval '100 days';
$$;
call apm_private.hand_over('apm_private.forget_status_asks(timestamptz)');
grant execute on function apm_private.forget_status_asks(timestamptz) to apm_engine;

-- All that a status page shows: no name but the page's own and its services', no cause, no figure of a measurement.
create function apm_private.status_content(organization_id uuid, at timestamptz) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with page as (
        select p.*, case when apm_private.is_time_zone(o.time_zone) then o.time_zone else 'UTC' end as time_zone
        from public.apm_status_pages as p
        cross join lateral apm_private.host_organizations(array[p.organization_id]) as o
        where p.organization_id = status_content.organization_id
    ), shown as (
        select c.organization_id, c.id, c.service_name, c.display_name, c.status, c.status_since, c.last_check_at, wanted.place,
            least(
                status_content.at, c.last_check_at + 5 * greatest(c.check_interval, c.effective_interval)
            ) as known_until
        from page as p
        cross join lateral unnest(p.check_ids) with ordinality as wanted (id, place)
        join public.service_health_checks as c on c.organization_id = p.organization_id and c.id = wanted.id and c.is_active
            and (c.vendor_facing or c.couple_facing)
    ), days as (
        select d::date as day, d::date::timestamp at time zone p.time_zone as starts_at,
            (d::date + 1)::timestamp at time zone p.time_zone as ends_at
        from page as p
        cross join lateral generate_series(
            (status_content.at at time zone p.time_zone)::date - 89, (status_content.at at time zone p.time_zone)::date, '1 day'
        ) as d
    ), spans as (
        select s.id, h.status, h.since,
            least(lead(h.since, 1, 'infinity') over (partition by s.id order by h.since), s.known_until) as until
        from shown as s
        join public.apm_service_status_history as h on h.organization_id = s.organization_id and h.check_id = s.id
    ), sums as (
        select s.id, d.day,
            coalesce(sum(w.seconds) filter (where s.status = 'warning'), 0)::int as slow,
            coalesce(sum(w.seconds) filter (where s.status = 'critical'), 0)::int as down,
            coalesce(sum(w.seconds) filter (where s.status <> 'unknown'), 0)::int as known
        from spans as s
        join days as d on s.since < d.ends_at and s.until > d.starts_at
        cross join lateral (
            select extract(epoch from least(s.until, d.ends_at) - greatest(s.since, d.starts_at)) as seconds
        ) as w
        group by s.id, d.day
    )
    select jsonb_build_object(
        'slug', p.slug, 'title', p.title, 'intro', p.intro, 'is_public', p.is_public, 'is_indexed', p.is_indexed,
        'time_zone', p.time_zone, 'at', status_content.at,
        'services', coalesce((
            select jsonb_agg(jsonb_build_object(
                'id', s.id, 'name', s.display_name, 'status', s.status, 'since', s.status_since, 'checked_at', s.last_check_at,
                'is_known', s.status <> 'unknown' and s.known_until = status_content.at,
                'days', (
                    select jsonb_agg(
                        jsonb_build_array(d.day, coalesce(m.slow, 0), coalesce(m.down, 0), coalesce(m.known, 0)) order by d.day
                    )
                    from days as d left join sums as m on m.id = s.id and m.day = d.day
                )
            ) order by s.place)
            from shown as s
        ), '[]'),
        'problems', coalesce((
            select jsonb_agg(jsonb_build_object(
                'check_id', o.check_id, 'service', s.display_name, 'state', o.state, 'began_at', o.began_at,
                'ended_at', o.ended_at, 'vendor_text', o.vendor_text, 'is_in_hand', o.is_in_hand,
                'next_update_at', o.next_update_at
            ) order by o.ended_at is null desc, o.began_at desc)
            from (
                select o.* from public.apm_status_problems as o
                where o.organization_id = p.organization_id
                    and (o.ended_at is null or o.ended_at > status_content.at - interval '14 days')
                order by o.ended_at is null desc, o.began_at desc
                limit 20
            ) as o
            join shown as s on s.id = o.check_id
        ), '[]'),
        'notes', coalesce((
            select jsonb_agg(jsonb_build_object(
                'id', n.id, 'body', n.body, 'posted_at', n.posted_at, 'next_update_at', n.next_update_at
            ) order by n.posted_at desc)
            from (
                select n.* from public.apm_status_notes as n
                where n.organization_id = p.organization_id and n.posted_at > status_content.at - interval '14 days'
                order by n.posted_at desc
                limit 20
            ) as n
        ), '[]'),
        'planned', coalesce((
            select jsonb_agg(jsonb_build_object('services', w.names, 'starts_at', w.starts_at, 'ends_at', w.ends_at) order by w.starts_at)
            from (
                select lower(o.span) as starts_at, upper(o.span) as ends_at, touched.names
                from public.apm_maintenance_windows as m
                cross join lateral apm_private.maintenance_spans(m, status_content.at, status_content.at + interval '14 days') as o
                cross join lateral (
                    select jsonb_agg(s.display_name order by s.place) as names from shown as s
                    where apm_private.do_matchers_match(m.matchers, jsonb_build_object('service', s.service_name))
                ) as touched
                where m.organization_id = p.organization_id and m.is_active and touched.names is not null
                    and upper(o.span) > status_content.at
                order by lower(o.span)
                limit 10
            ) as w
        ), '[]')
    )
    from page as p
$$;
call apm_private.hand_over('apm_private.status_content(uuid, timestamptz)');

-- The same for whoever knows the address of a public page; null for any other address.
create function apm_private.show_status_page(slug text, at timestamptz) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select apm_private.status_content(p.organization_id, show_status_page.at)
    from public.apm_status_pages as p
    where p.slug = show_status_page.slug and p.is_public
$$;
call apm_private.hand_over('apm_private.show_status_page(text, timestamptz)');
grant execute on function apm_private.show_status_page(text, timestamptz) to apm_api;

-- The same for the vendor's own people, public or not.
create function public.apm_preview_status_page(organization_id uuid, at timestamptz default now()) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select apm_private.status_content(apm_preview_status_page.organization_id, apm_preview_status_page.at)
    where apm_preview_status_page.organization_id = any (public.apm_current_organization_ids())
$$;
call apm_private.hand_over('public.apm_preview_status_page(uuid, timestamptz)');
grant execute on function public.apm_preview_status_page(uuid, timestamptz) to authenticated;

-- How many have confirmed, for every member; who they are is for owners and admins.
create function public.apm_count_status_subscribers(organization_id uuid) returns int
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select count(*)::int from public.apm_status_subscribers as s
    where s.organization_id = apm_count_status_subscribers.organization_id and s.confirmed_at is not null
        and s.organization_id = any (public.apm_current_organization_ids())
$$;
call apm_private.hand_over('public.apm_count_status_subscribers(uuid)');
grant execute on function public.apm_count_status_subscribers(uuid) to authenticated;

-- Somebody asks for mail: "asked" whether or not the address is known, "wait" over the limits of the page or the caller,
-- "unknown" where there is no such page. An address gets one mail in ten minutes from a page, and five a day from all.
create function apm_private.ask_for_status_mail(slug text, address text, caller_hash bytea, at timestamptz) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    page public.apm_status_pages%rowtype;
    subscriber public.apm_status_subscribers%rowtype;
    mailbox text := lower(ask_for_status_mail.address);
    mark bytea := sha256(convert_to(mailbox, 'UTF8'));
    ask_id uuid;
begin
    select p.* into page from public.apm_status_pages as p where p.slug = ask_for_status_mail.slug and p.is_public;
    if not found then
        return 'unknown';
    end if;
    -- one after the other, or two would both be the last one within the limits
    perform pg_advisory_xact_lock(hashtextextended('status asks', 0));
    if (
        select count(*) from apm_private.status_asks as a
        where a.caller_hash = ask_for_status_mail.caller_hash and a.asked_at > ask_for_status_mail.at - interval '1 hour'
    ) >= 10 or (
        select count(*) from apm_private.status_asks as a
        where a.organization_id = page.organization_id and a.asked_at > ask_for_status_mail.at - interval '1 hour'
    ) >= 100 or (
        select count(*) from public.apm_status_subscribers as s where s.organization_id = page.organization_id
    ) >= 10000 then
        return 'wait';
    end if;
    if exists (
        select from apm_private.status_asks as a
        where a.address_hash = mark and a.organization_id = page.organization_id
            and a.asked_at > ask_for_status_mail.at - interval '10 minutes'
    ) or (
        select count(*) from apm_private.status_asks as a
        where a.address_hash = mark and a.asked_at > ask_for_status_mail.at - interval '1 day'
    ) >= 5 then
        return 'asked';
    end if;
    insert into apm_private.status_asks (organization_id, address_hash, caller_hash, asked_at)
    values (page.organization_id, mark, ask_for_status_mail.caller_hash, ask_for_status_mail.at)
    returning id into ask_id;
    insert into public.apm_status_subscribers as s (organization_id, address, asked_at)
    values (page.organization_id, mailbox, ask_for_status_mail.at)
    on conflict (organization_id, address) do update set
        asked_at = case when s.confirmed_at is null then excluded.asked_at else s.asked_at end
    returning s.* into subscriber;
    insert into public.apm_deliveries (
        organization_id, status_subscriber_id, channel, kind, reason, recipient, payload, idempotency_key, priority, due_at,
        created_at
    )
    values (
        page.organization_id, subscriber.id, 'email', 'report', 'status_page', '{"name": "A subscriber of the status page"}',
        jsonb_build_object('word', case when subscriber.confirmed_at is null then 'status_confirm' else 'status_known' end),
        'status:ask:' || ask_id, 10, ask_for_status_mail.at, ask_for_status_mail.at
    );
    return 'asked';
end
$$;
call apm_private.hand_over('apm_private.ask_for_status_mail(text, text, bytea, timestamptz)');
grant execute on function apm_private.ask_for_status_mail(text, text, bytea, timestamptz) to apm_api;

-- What a link of a mail is about; nothing of whom.
create function apm_private.look_up_status_link(token_hash bytea, purpose text, at timestamptz)
returns table (title text, slug text, is_public boolean, is_confirmed boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.title, p.slug, p.is_public, s.confirmed_at is not null
    from apm_private.status_links as l
    join public.apm_status_subscribers as s on s.organization_id = l.organization_id and s.id = l.subscriber_id
    join public.apm_status_pages as p on p.organization_id = l.organization_id
    where l.token_hash = look_up_status_link.token_hash and l.purpose = look_up_status_link.purpose
        and (l.expires_at is null or l.expires_at > look_up_status_link.at)
$$;
call apm_private.hand_over('apm_private.look_up_status_link(bytea, text, timestamptz)');
-- Confirms, or ends, the subscription of a link; a second time changes nothing. False for a link that is none.
create function apm_private.use_status_link(token_hash bytea, purpose text, at timestamptz) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    link apm_private.status_links%rowtype;
begin
    select l.* into link from apm_private.status_links as l
    where l.token_hash = use_status_link.token_hash and l.purpose = use_status_link.purpose
        and (l.expires_at is null or l.expires_at > use_status_link.at);
    if not found then
        return false;
    end if;
    if link.purpose = 'leave' then
        delete from public.apm_status_subscribers as s
        where s.organization_id = link.organization_id and s.id = link.subscriber_id;
    else
        update public.apm_status_subscribers as s set confirmed_at = use_status_link.at
        where s.organization_id = link.organization_id and s.id = link.subscriber_id and s.confirmed_at is null;
    end if;
    return true;
end
$$;
call apm_private.hand_over('apm_private.use_status_link(bytea, text, timestamptz)');
grant execute on function apm_private.look_up_status_link(bytea, text, timestamptz),
    apm_private.use_status_link(bytea, text, timestamptz) to apm_api;
