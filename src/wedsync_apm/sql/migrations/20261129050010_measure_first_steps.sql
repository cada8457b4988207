-- pre: the first five minutes of a business: each step's state is measured from what is there; skipping one is kept with its reason.

create table public.apm_skipped_steps (
    id uuid not null default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id) on delete cascade,
    -- "card" is the card on Today
    step text not null check (step in ('calendar', 'phone', 'rules', 'test', 'install', 'card')),
    -- whose it is; null: everybody's there
    user_id uuid,
    reason text not null default '' check (length(reason) <= 300),
    skipped_at timestamptz not null default now(),
    primary key (organization_id, id),
    constraint apm_skipped_steps_once unique nulls not distinct (organization_id, step, user_id),
    -- a phone, its test and an installation are a person's, the rest is the business's
    constraint apm_skipped_steps_whose check ((step in ('phone', 'test', 'install', 'card')) = (user_id is not null))
);
call apm_private.protect_table('public.apm_skipped_steps');
grant select, insert (organization_id, step, user_id, reason), delete on public.apm_skipped_steps to authenticated;
create policy apm_skipped_steps_authenticated_select on public.apm_skipped_steps for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));
create policy apm_skipped_steps_authenticated_insert on public.apm_skipped_steps for insert to authenticated
with check (
    (user_id is null and organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
    or (user_id = (select auth.uid()) and organization_id = any ((select public.apm_current_organization_ids())::uuid[]))
);
create policy apm_skipped_steps_authenticated_delete on public.apm_skipped_steps for delete to authenticated
using (
    (user_id is null and organization_id = any ((select public.apm_organization_ids_as('ADMIN'))::uuid[]))
    or (user_id = (select auth.uid()) and organization_id = any ((select public.apm_current_organization_ids())::uuid[]))
);
create trigger apm_skipped_steps_audit after insert or delete on public.apm_skipped_steps
for each row execute function apm_private.write_audit();

-- first_steps: the last test of each contact, among all that it was ever sent
create index idx_apm_deliveries_tests on public.apm_deliveries (organization_id, created_at desc) where kind = 'test';

-- Five rows for each organization: how far it is, by what is there. `user_id` asks for one person's phone, test and
-- installation, null for anybody's. States: done, todo, unknown (it cannot be known, `code` says why), skipped.
create function apm_private.first_steps(organization_ids uuid[], user_id uuid, at timestamptz)
returns table (organization_id uuid, step text, state text, code text, detail jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with asked as materialized (
        select a.organization_id, (first_steps.at at time zone coalesce(o.zone, 'UTC'))::date as today
        from unnest(first_steps.organization_ids) as a (organization_id)
        left join lateral (
            select case when apm_private.is_time_zone(h.time_zone) then h.time_zone else 'UTC' end as zone
            from apm_private.host_organizations(array[a.organization_id]) as h
        ) as o on true
    ), dates as (
        select w.organization_id, w.wedding_date
        from public.apm_weddings as w
        where w.organization_id = any (first_steps.organization_ids) and w.status <> 'cancelled'
        union all
        select h.organization_id, h.wedding_date
        from apm_private.host_weddings(first_steps.organization_ids, '-infinity', 'infinity') as h
        where not exists (
            select from public.apm_weddings as w
            where w.organization_id = h.organization_id and w.client_id = h.client_id
        )
        union all
        select s.organization_id, s.wedding_date
        from apm_private.host_shared_weddings(first_steps.organization_ids, '-infinity', 'infinity') as s
        where not exists (
            select from public.apm_weddings as w
            where w.organization_id = s.organization_id and w.client_id in (s.connection_id, s.client_id)
        )
    ), weddings as (
        select a.organization_id, count(*) filter (where d.wedding_date >= a.today) as coming,
            min(d.wedding_date) filter (where d.wedding_date >= a.today) as next_on, max(d.wedding_date) as last_on
        from asked as a
        join dates as d on d.organization_id = a.organization_id
        group by a.organization_id
    ), measured as (
        select a.organization_id, 'calendar' as step,
            case when w.coming > 0 then 'done' else 'todo' end as state,
            case when w.coming > 0 then 'there' when w.last_on is not null then 'past' else 'none' end as code,
            jsonb_build_object('coming', coalesce(w.coming, 0), 'next_on', w.next_on, 'last_on', w.last_on) as detail
        from asked as a
        left join weddings as w on w.organization_id = a.organization_id
        union all
        select a.organization_id, 'phone',
            case when c.verified_at is not null then 'done' else 'todo' end,
            case when c.verified_at is not null then 'there' when c.id is not null then 'unverified' else 'none' end,
            jsonb_build_object('contact_id', c.id, 'verified_at', c.verified_at)
        from asked as a
        left join lateral (
            select m.id, m.verified_at from public.apm_contact_methods as m
            where m.organization_id = a.organization_id and m.channel in ('sms', 'voice') and m.disabled_at is null
                and (first_steps.user_id is null or m.user_id = first_steps.user_id)
            order by m.verified_at desc nulls last, m.created_at desc
            limit 1
        ) as c on true
        union all
        select a.organization_id, 'rules',
            case when r.rules > 0 and b.boards > 0 then 'done' else 'todo' end,
            case when r.rules > 0 and b.boards > 0 then 'there' when r.rules > 0 then 'no_board'
                when b.boards > 0 then 'no_rules' else 'none' end,
            jsonb_build_object('rules', r.rules, 'boards', b.boards)
        from asked as a
        cross join lateral (
            select count(*) as rules from public.apm_alerts as r where r.organization_id = a.organization_id and r.is_active
        ) as r
        cross join lateral (
            select count(*) as boards from public.apm_dashboards as b where b.organization_id = a.organization_id
        ) as b
        union all
        select a.organization_id, 'test',
            case when t.state = 'delivered' then 'done' when t.state in ('sent', 'unknown', 'inbox') then 'unknown' else 'todo' end,
            case when t.state is null then 'none' when t.state in ('leased', 'sending', 'retry', 'bundled') then 'pending'
                when t.state in ('suppressed', 'cancelled', 'expired') then 'failed' else t.state end,
            jsonb_build_object('channel', t.channel, 'sent_at', t.created_at, 'contact_id', t.contact_method_id,
                'seconds', extract(epoch from t.delivered_at - t.created_at), 'reason', nullif(t.state_reason, ''))
        from asked as a
        left join lateral (
            select d.state, d.state_reason, d.channel, d.created_at, d.delivered_at, d.contact_method_id
            from public.apm_deliveries as d
            where d.organization_id = a.organization_id and d.kind = 'test'
                and (first_steps.user_id is null or d.contact_method_id in (
                    select m.id from public.apm_contact_methods as m
                    where m.organization_id = a.organization_id and m.user_id = first_steps.user_id
                ))
            -- what has arrived once is proven, whatever came after it
            order by d.state = 'delivered' desc, d.created_at desc
            limit 1
        ) as t on true
        union all
        select a.organization_id, 'install',
            case when p.verified_at is not null then 'done' when p.id is not null then 'unknown' else 'todo' end,
            case when p.verified_at is not null then 'there' when p.id is not null then 'unproved' else 'none' end,
            jsonb_build_object('contact_id', p.id, 'verified_at', p.verified_at)
        from asked as a
        left join lateral (
            select m.id, m.verified_at from public.apm_contact_methods as m
            where m.organization_id = a.organization_id and m.channel = 'push' and m.disabled_at is null
                and (first_steps.user_id is null or m.user_id = first_steps.user_id)
            order by m.verified_at desc nulls last, m.created_at desc
            limit 1
        ) as p on true
    )
    select m.organization_id, m.step, case when m.state <> 'done' and k.id is not null then 'skipped' else m.state end, m.code,
        m.detail || case when k.id is not null
            then jsonb_build_object('skipped_at', k.skipped_at, 'skip_reason', k.reason) else '{}' end
    from measured as m
    left join public.apm_skipped_steps as k
        on k.organization_id = m.organization_id and k.step = m.step
        and (k.user_id is null or k.user_id = first_steps.user_id)
$$;
call apm_private.hand_over('apm_private.first_steps(uuid[], uuid, timestamptz)');
grant execute on function apm_private.first_steps(uuid[], uuid, timestamptz) to apm_engine;

-- The caller's own first steps in an organization of his.
create function public.apm_first_steps(organization_id uuid)
returns table (organization_id uuid, step text, state text, code text, detail jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.* from apm_private.first_steps(
        array(select apm_first_steps.organization_id
            where apm_first_steps.organization_id = any (public.apm_current_organization_ids())),
        case when apm_private.claims() ->> 'kind' = 'user' then apm_private.caller_id() end, now()
    ) as s
$$;
call apm_private.hand_over('public.apm_first_steps(uuid)');
grant execute on function public.apm_first_steps(uuid) to authenticated;

-- Who is watched, who is set up, and who has a wedding soon and is not: for operators and the engine. Set up is whoever has
-- done the four steps that are not one device's. Worst first: not set up with a wedding within `horizon`, then all others.
create function public.apm_set_up(horizon interval)
returns table (
    organization_id uuid, name text, vendor_type text, state text, group_name text, reason text, changed_at timestamptz,
    changed_by_name text, done int, is_set_up boolean, open_steps text[], next_on date, is_near boolean, rank int
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with steps as materialized (
        select s.organization_id,
            count(*) filter (where s.state = 'done')::int as done,
            count(*) filter (where s.state = 'done' and s.step <> 'install') = 4 as is_set_up,
            array_agg(s.step order by array_position(array['calendar', 'phone', 'rules', 'test', 'install'], s.step))
                filter (where s.state <> 'done') as open_steps,
            max((s.detail ->> 'next_on')::date) filter (where s.step = 'calendar') as next_on
        from apm_private.first_steps(array(select o.id from public.organizations as o
            where apm_private.is_service() or (select public.apm_operator_role()) is not null), null, now()) as s
        group by s.organization_id
    )
    select o.organization_id, o.name, o.vendor_type, coalesce(m.state, d.state), coalesce(m.group_name, ''), m.reason,
        m.changed_at, m.changed_by_name, s.done, s.is_set_up, coalesce(s.open_steps, '{}'), s.next_on, n.is_near,
        case when n.is_near and not s.is_set_up then 0 when n.is_near and coalesce(m.state, d.state) = 'off' then 1
            when not s.is_set_up then 2 else 3 end
    from apm_private.host_organizations(null) as o
    join steps as s on s.organization_id = o.organization_id
    cross join apm_private.monitoring_default as d
    left join public.apm_monitoring as m on m.organization_id = o.organization_id
    cross join lateral (
        select coalesce(s.next_on <= (now() + apm_set_up.horizon)::date, false) as is_near
    ) as n
    where not exists (select from apm_private.platform as p where p.organization_id = o.organization_id)
$$;
call apm_private.hand_over('public.apm_set_up(interval)');
grant execute on function public.apm_set_up(interval) to authenticated, apm_engine;
