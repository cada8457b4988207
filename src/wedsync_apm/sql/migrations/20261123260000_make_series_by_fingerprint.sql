-- pre: a new series costs the database half of what it did, and a request that brings some a fifth.

-- An organization's row here stands for its series as well: they come with it and go with it, so that the organization
-- is looked up once for all that a statement makes, and not for each.
create function apm_private.count_new_series() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into apm_private.series_counts as c (organization_id, at_most, counted_at)
    select a.organization_id, count(*), now()
    from arrived as a
    group by a.organization_id
    order by a.organization_id
    on conflict (organization_id) do update set at_most = c.at_most + excluded.at_most;
    return null;
end
$$;
call apm_private.hand_over('apm_private.count_new_series()');
create trigger apm_series_count_new after insert on public.apm_series
referencing new table as arrived
for each statement execute function apm_private.count_new_series();

create function apm_private.drop_counted_series() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'TRUNCATE' then
        delete from public.apm_series;
    else
        delete from public.apm_series as s where s.organization_id = old.organization_id;
    end if;
    return null;
end
$$;
call apm_private.hand_over('apm_private.drop_counted_series()');
create trigger series_counts_drop_series after delete on apm_private.series_counts
for each row execute function apm_private.drop_counted_series();
create trigger series_counts_drop_all_series after truncate on apm_private.series_counts
for each statement execute function apm_private.drop_counted_series();

insert into apm_private.series_counts (organization_id, at_most, counted_at)
select s.organization_id, count(*), now()
from public.apm_series as s
group by s.organization_id
on conflict (organization_id) do nothing;
alter table public.apm_series drop constraint apm_series_organization_id_fkey;

-- What is known of series, in the order asked: null for an id where there is no such series; the organizations of those,
-- and of those that were silent for a day, one entry for each series. Only the index of the fingerprints has them in
-- their order, so the plan is the same whatever the statistics know, and is kept.
create function apm_private.look_up_series(
    organization_ids uuid[], fingerprints bytea[], units text[],
    out series_ids int[], out new_of uuid[], out back_of uuid[], out is_stale boolean, out has_new_unit boolean
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
as $$
begin
    select
        array_agg(k.id),
        array_agg(u.organization_id) filter (where k.id is null),
        array_agg(u.organization_id) filter (where k.last_seen_at < now() - interval '24 hours'),
        bool_or(k.last_seen_at < now() - interval '4 hours'),
        bool_or(k.unit is null and u.unit is not null and k.id is not null)
    into series_ids, new_of, back_of, is_stale, has_new_unit
    from unnest(look_up_series.organization_ids, look_up_series.fingerprints, look_up_series.units)
        as u (organization_id, fingerprint, unit)
    left join lateral (
        select s.id, s.last_seen_at, s.unit
        from public.apm_series as s
        where s.organization_id = u.organization_id
            and s.fingerprint >= u.fingerprint and s.fingerprint <= u.fingerprint
        order by s.fingerprint
        limit 1
    ) as k on true;
end
$$;
call apm_private.hand_over('apm_private.look_up_series(uuid[], bytea[], text[])');

-- The ids of series in the order asked. New ones are made, in the order asked, while their organization has room among
-- the active ones; over its limit the answer is `refused`, and series that exist never are. It is
-- `unknown_organization` for an id that is no organization: a platform key may name any. A fingerprint must be what
-- apm_private.series_fingerprint makes of the others: the caller's computing it costs less than calling that.
create function apm_private.find_or_make_series(
    organization_ids uuid[], service_names text[], metric_names text[], metric_types text[], units text[], tags text[],
    fingerprints bytea[], series_limit int, refused int, unknown_organization int
) returns int[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    found record;
    ids int[];
    new_ids int[];
    growing uuid[];
    wanted int[];
    strangers uuid[];
    uncertain uuid[];
begin
    found := apm_private.look_up_series(
        find_or_make_series.organization_ids, find_or_make_series.fingerprints, find_or_make_series.units
    );
    ids := found.series_ids;

    if found.new_of is not null or found.back_of is not null then
        select array_agg(a.organization_id), array_agg(a.wanted) into growing, wanted
        from (
            select a.organization_id, count(*) as wanted
            from unnest(found.new_of || found.back_of) as a (organization_id)
            group by a.organization_id
        ) as a;
        -- One caller at a time makes an organization's series; in one order, so that two callers never wait for each
        -- other; and with few locks, however many organizations there are.
        perform pg_advisory_xact_lock(hashtext('apm_series'), l.key)
        from (
            select distinct hashtext(g.organization_id::text) & 511 as key
            from unnest(growing) as g (organization_id)
            order by key
        ) as l;

        -- Who has no count has no series.
        select array_agg(g.organization_id) filter (where c.organization_id is null),
            array_agg(g.organization_id) filter (
                where coalesce(c.at_most, 0) + g.wanted > find_or_make_series.series_limit
                    or c.counted_at <= now() - interval '1 hour'
            )
        into strangers, uncertain
        from unnest(growing, wanted) as g (organization_id, wanted)
        left join lateral (
            select c.organization_id, c.at_most, c.counted_at
            from apm_private.series_counts as c
            where c.organization_id = g.organization_id
            limit 1
        ) as c on true;
        if strangers is not null then
            strangers := array(
                select s.organization_id from unnest(strangers) as s (organization_id)
                except
                select o.id from public.organizations as o where o.id = any (strangers)
            );
        end if;

        if uncertain is not null or cardinality(strangers) > 0 then
            -- Counted afresh when the limit comes near, and every hour.
            update apm_private.series_counts as c
            set counted_at = now(),
                at_most = (
                    select count(*) from public.apm_series as s
                    where s.organization_id = c.organization_id and s.last_seen_at > now() - interval '24 hours'
                )
            where c.organization_id = any (uncertain);
            -- What somebody else made before we had the lock needs no room.
            found := apm_private.look_up_series(
                find_or_make_series.organization_ids, find_or_make_series.fingerprints, find_or_make_series.units
            );
            select array_agg(
                case
                    when u.id is not null then u.id
                    when u.organization_id = any (strangers) then find_or_make_series.unknown_organization
                    when u.place > find_or_make_series.series_limit - coalesce(c.at_most, 0) then find_or_make_series.refused
                end
                order by u.ordinal
            ) into ids
            from (
                select n.organization_id, n.id, n.ordinal,
                    row_number() over (partition by n.organization_id, n.id is null order by n.ordinal) as place
                from unnest(find_or_make_series.organization_ids, found.series_ids)
                    with ordinality as n (organization_id, id, ordinal)
            ) as u
            left join lateral (
                select c.at_most from apm_private.series_counts as c where c.organization_id = u.organization_id limit 1
            ) as c on true;
        end if;

        if found.back_of is not null then
            insert into apm_private.series_counts as c (organization_id, at_most, counted_at)
            select b.organization_id, count(*), now()
            from unnest(found.back_of) as b (organization_id)
            group by b.organization_id
            on conflict (organization_id) do update set at_most = c.at_most + excluded.at_most;
        end if;

        new_ids := array(
            select case when u.id is null then nextval('apm_private.series_ids')::int else u.id end
            from unnest(ids) as u (id)
        );
        begin
            insert into public.apm_series
                (organization_id, id, service_name, metric_name, metric_type, unit, tags, fingerprint)
            select n.organization_id, n.new_id, n.service_name, n.metric_name, n.metric_type::public.metric_type, n.unit,
                n.tags::jsonb, n.fingerprint
            from unnest(
                find_or_make_series.organization_ids, find_or_make_series.service_names,
                find_or_make_series.metric_names, find_or_make_series.metric_types, find_or_make_series.units,
                find_or_make_series.tags, find_or_make_series.fingerprints, ids, new_ids
            ) as n (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint, id, new_id)
            where n.id is null;
            ids := new_ids;
        exception when unique_violation then
            -- Somebody made one before we had the lock, or it was asked for twice. To look at each costs a quarter more.
            insert into public.apm_series
                (organization_id, id, service_name, metric_name, metric_type, unit, tags, fingerprint)
            select n.organization_id, n.new_id, n.service_name, n.metric_name, n.metric_type::public.metric_type, n.unit,
                n.tags::jsonb, n.fingerprint
            from unnest(
                find_or_make_series.organization_ids, find_or_make_series.service_names,
                find_or_make_series.metric_names, find_or_make_series.metric_types, find_or_make_series.units,
                find_or_make_series.tags, find_or_make_series.fingerprints, ids, new_ids
            ) as n (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint, id, new_id)
            where n.id is null
            on conflict (organization_id, fingerprint) do nothing;
            found := apm_private.look_up_series(
                find_or_make_series.organization_ids, find_or_make_series.fingerprints, find_or_make_series.units
            );
            select array_agg(coalesce(f.id, f.code)) into ids from unnest(found.series_ids, ids) as f (id, code);
        end;
    end if;

    if found.is_stale or found.has_new_unit then
        perform apm_private.refresh_series(find_or_make_series.organization_ids, ids, find_or_make_series.units);
    end if;
    return ids;
end
$$;
call apm_private.hand_over(
    'apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], text[], bytea[], int, int, int)'
);
grant execute on function
    apm_private.find_or_make_series(uuid[], text[], text[], text[], text[], text[], bytea[], int, int, int) to apm_writer;

-- INSERT into the view takes the same way.
create or replace function apm_private.insert_sample() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    resolved int;
begin
    if not apm_private.is_service()
        and (new.organization_id = any (public.apm_organization_ids_as('ADMIN'))) is not true then
        raise exception 'new row violates row-level security policy for view "apm_samples"'
            using errcode = 'insufficient_privilege';
    end if;
    if new.metric_value is null or new."timestamp" is null then
        raise exception 'a sample needs metric_value and "timestamp"' using errcode = 'not_null_violation';
    end if;
    resolved := (apm_private.find_or_make_series(
        array[new.organization_id], array[coalesce(new.service_name, 'default')], array[new.metric_name],
        array[coalesce(new.metric_type::text, case when new.metric_name like '%\_total' then 'counter' else 'gauge' end)],
        array[new.unit], array[coalesce(new.tags, '{}'::jsonb)::text], array[apm_private.series_fingerprint(
            coalesce(new.service_name, 'default'), new.metric_name, coalesce(new.tags, '{}'::jsonb)
        )], 20000, -1, -2
    ))[1];
    if resolved = -1 then
        raise exception 'organization % has as many series as it may have', new.organization_id
            using errcode = 'AP003', hint = 'Use fewer distinct tag values.';
    elsif resolved = -2 then
        raise exception 'there is no organization %', new.organization_id using errcode = 'foreign_key_violation';
    end if;
    insert into public.apm_metrics
        (organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, wedding_context, apm_source)
    values (
        new.organization_id,
        date_trunc('milliseconds', new."timestamp"), date_trunc('milliseconds', new."timestamp"),
        array[resolved], array[0], array[new.metric_value],
        coalesce(new.wedding_context, (
            select c.wedding_context
            from apm_private.wedding_contexts(array[new.organization_id], new."timestamp", new."timestamp") as c
            limit 1
        )),
        coalesce(new.apm_source, 'sql')
    );
    return new;
end
$$;
