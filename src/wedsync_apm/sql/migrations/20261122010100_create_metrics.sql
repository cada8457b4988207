-- pre: performance monitoring: the series catalogue, blocks of samples by day, and the views in which people read them.

call apm_private.ensure_enum('alert_severity', array['info', 'warning', 'critical', 'emergency']);
call apm_private.ensure_enum('alert_priority', array['low', 'medium', 'high', 'critical']);
call apm_private.ensure_enum('service_status', array['healthy', 'warning', 'critical', 'unknown', 'maintenance']);
call apm_private.ensure_enum('apm_provider', array['datadog', 'newrelic', 'prometheus', 'grafana', 'custom', 'pingdom', 'uptime_robot']);
call apm_private.ensure_enum('notification_channel', array['email', 'sms', 'slack', 'webhook', 'pagerduty']);
call apm_private.ensure_enum('metric_type', array['counter', 'gauge', 'histogram', 'summary', 'timer']);

create sequence apm_private.series_ids as int;
create sequence apm_private.block_ids as bigint;

create table public.apm_series (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    id int not null default nextval('apm_private.series_ids'),
    service_name text not null check (length(service_name) between 1 and 1024),
    metric_name text not null check (length(metric_name) between 1 and 1024),
    -- attributes: learnt or corrected later, they never split a series
    metric_type public.metric_type not null default 'gauge',
    unit text,
    tags jsonb not null default '{}' check (jsonb_typeof(tags) = 'object'),
    fingerprint bytea not null,
    created_at timestamptz not null default now(),
    -- the time of a stale marker: the sender said that the series ended
    ended_at timestamptz,
    primary key (organization_id, id),
    constraint apm_series_fingerprint_key unique (organization_id, fingerprint)
);
call apm_private.protect_table('public.apm_series');
-- find_series, list_metrics: an organization's series by name
create index idx_apm_series_organization_name on public.apm_series (organization_id, service_name, metric_name);
grant usage on sequence apm_private.series_ids to apm_definer, apm_writer;
grant usage on sequence apm_private.block_ids to apm_definer, apm_writer, apm_engine;

grant select on public.apm_series to authenticated;
create policy apm_series_authenticated_select on public.apm_series for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

-- A row is a write batch (level 0: one organization, flush, wedding context and source, n samples as parallel
-- arrays) or, compacted (level 1), one series of one span. No foreign key: it would nearly double the cost of a write.
create table public.apm_metrics (
    organization_id uuid not null,
    "timestamp" timestamptz not null,
    ends_at timestamptz not null,
    level smallint not null default 0,
    series_ids int4[] not null,
    -- milliseconds after "timestamp"; null in a compacted row of regular steps
    offsets_ms int4[],
    metric_values float8[],
    step_ms int4,
    -- value = value_base + scaled * value_scale, where that is exact
    scaled_values int2[],
    value_base float8,
    value_scale float8,
    wedding_context jsonb,
    apm_source text not null default 'api',
    ingested_at timestamptz not null default clock_timestamp(),
    -- orders the writes of one sample: the last one is the one that counts
    block_id bigint not null default nextval('apm_private.block_ids'),
    -- a reader needs only the rows that begin within an hour (level 1: a day) before its range
    constraint apm_metrics_span check (
        ends_at >= "timestamp" and ends_at <= "timestamp" + case level when 0 then interval '1 hour' else interval '24 hours' end
    ),
    -- a write batch: three arrays of one length
    constraint apm_metrics_level_0 check (
        level <> 0 or (
            cardinality(series_ids) > 0
            and cardinality(offsets_ms) is not distinct from cardinality(series_ids)
            and cardinality(metric_values) is not distinct from cardinality(series_ids)
            and step_ms is null and scaled_values is null
        )
    ),
    -- a compacted row: one series; offsets or a step; plain values or scaled ones
    constraint apm_metrics_level_1 check (
        level <> 1 or (
            cardinality(series_ids) = 1
            and num_nonnulls(offsets_ms, step_ms) = 1
            and num_nonnulls(metric_values, scaled_values) = 1
            and (scaled_values is null) = (value_base is null) and (scaled_values is null) = (value_scale is null)
            and coalesce(cardinality(metric_values), cardinality(scaled_values)) > 0
            and (offsets_ms is null or cardinality(offsets_ms) = coalesce(cardinality(metric_values), cardinality(scaled_values)))
        )
    ),
    constraint apm_metrics_levels check (level in (0, 1)),
    constraint apm_metrics_whole_milliseconds check (date_trunc('milliseconds', "timestamp") = "timestamp"),
    -- a wrong type is refused on the way in and never breaks a query
    constraint apm_metrics_wedding_context check (
        wedding_context is null or (
            jsonb_typeof(wedding_context) = 'object'
            and coalesce(jsonb_typeof(wedding_context -> 'is_wedding_day'), 'boolean') = 'boolean'
            and coalesce(jsonb_typeof(wedding_context -> 'wedding_id'), 'string') in ('string', 'null')
            and coalesce(jsonb_typeof(wedding_context -> 'phase'), 'string') in ('string', 'null')
        )
    )
) partition by range ("timestamp");
call apm_private.protect_table('public.apm_metrics');
-- list_samples and every range read; the writer pays for this one alone
create index idx_apm_metrics_organization_timestamp on public.apm_metrics (organization_id, "timestamp");
-- list_wedding_blocks: what was measured on wedding days
create index idx_apm_metrics_wedding on public.apm_metrics (organization_id, "timestamp")
where (wedding_context ->> 'is_wedding_day')::boolean = true;
-- list_samples: compacted spans that begin up to a day before the range
create index idx_apm_metrics_compacted on public.apm_metrics (organization_id, "timestamp") where level = 1;

grant select on public.apm_metrics to authenticated;
create policy apm_metrics_authenticated_select on public.apm_metrics for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

-- The writer: INSERT on blocks, nothing else. Where its login cannot bypass RLS, this policy lets INSERT through.
grant insert on public.apm_metrics to apm_writer;
create policy apm_metrics_writer_insert on public.apm_metrics for insert to apm_writer with check (true);

-- One row a flush, from which readers follow what is new: an entry of the three arrays for each block.
create table apm_private.flushes (
    xid xid8 not null default pg_current_xact_id(),
    organization_ids uuid[] not null,
    earliest timestamptz[] not null,
    latest timestamptz[] not null,
    flushed_at timestamptz not null default clock_timestamp(),
    constraint flushes_parallel check (
        cardinality(organization_ids) = cardinality(earliest) and cardinality(earliest) = cardinality(latest)
    )
);
call apm_private.protect_table('apm_private.flushes');
-- list_flushes_since: xid >= the snapshot's xmax or one of those then in progress
create index idx_apm_flushes_xid on apm_private.flushes (xid);
grant insert on apm_private.flushes to apm_writer;
create policy flushes_writer_insert on apm_private.flushes for insert to apm_writer with check (true);

-- Where each reader of the flushes stands: the snapshot that it has read up to.
create table apm_private.cursors (
    name text primary key,
    snapshot pg_snapshot not null,
    updated_at timestamptz not null default now()
);
call apm_private.protect_table('apm_private.cursors');

-- Blocks that come in otherwise than through the writer (which sets apm.batch and notes its flush itself).
create function apm_private.note_block() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into apm_private.flushes (organization_ids, earliest, latest)
    values (array[new.organization_id], array[new."timestamp"], array[new.ends_at]);
    return null;
end
$$;
call apm_private.hand_over('apm_private.note_block()');
create trigger apm_metrics_note_block after insert on public.apm_metrics
for each row when (current_setting('apm.batch', true) is distinct from 'on')
execute function apm_private.note_block();

-- A refused sample or series is counted for its owner, never dropped in silence.
create table public.apm_refusals (
    organization_id uuid not null references public.organizations (id) on delete cascade,
    day date not null,
    source text not null,
    reason text not null check (length(reason) <= 300),
    refused_count bigint not null,
    example text,
    last_at timestamptz not null,
    primary key (organization_id, day, source, reason)
);
call apm_private.protect_table('public.apm_refusals');
grant select on public.apm_refusals to authenticated;
create policy apm_refusals_authenticated_select on public.apm_refusals for select to authenticated
using (organization_id = any ((select public.apm_current_organization_ids())::uuid[]));

create function apm_private.count_refusals(
    organization_ids uuid[], sources text[], reasons text[], counts bigint[], examples text[]
) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into public.apm_refusals as r (organization_id, day, source, reason, refused_count, example, last_at)
    select u.organization_id, (now() at time zone 'UTC')::date, u.source, left(u.reason, 300), sum(u.count), left(min(u.example), 1000), now()
    from unnest(
        count_refusals.organization_ids, count_refusals.sources, count_refusals.reasons,
        count_refusals.counts, count_refusals.examples
    ) as u (organization_id, source, reason, count, example)
    join apm_private.host_organizations(count_refusals.organization_ids) as o on o.organization_id = u.organization_id
    group by u.organization_id, u.source, left(u.reason, 300)
    on conflict (organization_id, day, source, reason) do update set
        refused_count = r.refused_count + excluded.refused_count,
        example = excluded.example,
        last_at = excluded.last_at
$$;
call apm_private.hand_over('apm_private.count_refusals(uuid[], text[], text[], bigint[], text[])');
grant execute on function apm_private.count_refusals(uuid[], text[], text[], bigint[], text[])
    to apm_writer, apm_engine, apm_api;

create function apm_private.series_fingerprint(service_name text, metric_name text, tags jsonb) returns bytea
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    -- jsonb sorts its keys, so equal tags give equal text
    select sha256(convert_to(
        jsonb_build_array(series_fingerprint.service_name, series_fingerprint.metric_name, series_fingerprint.tags)::text, 'UTF8'
    ))
$$;
revoke all on function apm_private.series_fingerprint(text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function apm_private.series_fingerprint(text, text, jsonb) to apm_definer, apm_writer, apm_engine;

-- The series' ids in the order asked; new ones are made while the organization has room, else the id is null.
-- Old series are never refused. One organization's new series are made one caller at a time.
create function apm_private.resolve_series(
    organization_id uuid, service_names text[], metric_names text[], metric_types text[], units text[], tags jsonb[],
    series_limit int
) returns table (ordinal int, series_id int)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    room int;
begin
    if exists (
        select
        from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.tags)
            as u (service_name, metric_name, tags)
        left join public.apm_series as s
            on s.organization_id = resolve_series.organization_id
            and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
        where s.id is null
    ) then
        perform pg_advisory_xact_lock(hashtextextended('apm_series ' || resolve_series.organization_id, 0));
        select resolve_series.series_limit - count(*) into room
        from public.apm_series as s where s.organization_id = resolve_series.organization_id;
        insert into public.apm_series as s
            (organization_id, service_name, metric_name, metric_type, unit, tags, fingerprint)
        select resolve_series.organization_id, n.service_name, n.metric_name,
            n.metric_type::public.metric_type, n.unit, n.tags, n.fingerprint
        from (
            select distinct on (apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags))
                u.*, apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags) as fingerprint
            from unnest(
                resolve_series.service_names, resolve_series.metric_names, resolve_series.metric_types,
                resolve_series.units, resolve_series.tags
            ) with ordinality as u (service_name, metric_name, metric_type, unit, tags, ordinal)
            where not exists (
                select from public.apm_series as k
                where k.organization_id = resolve_series.organization_id
                    and k.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
            )
        ) as n
        order by n.ordinal
        limit greatest(room, 0)
        on conflict (organization_id, fingerprint) do nothing;
    end if;

    -- A type or unit that was not known before is learnt.
    update public.apm_series as s
    set unit = coalesce(s.unit, u.unit)
    from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.units, resolve_series.tags)
        as u (service_name, metric_name, unit, tags)
    where s.organization_id = resolve_series.organization_id
        and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
        and s.unit is null and u.unit is not null;

    return query
    select u.ordinal::int, s.id
    from unnest(resolve_series.service_names, resolve_series.metric_names, resolve_series.tags)
        with ordinality as u (service_name, metric_name, tags, ordinal)
    left join public.apm_series as s
        on s.organization_id = resolve_series.organization_id
        and s.fingerprint = apm_private.series_fingerprint(u.service_name, u.metric_name, u.tags)
    order by u.ordinal;
end
$$;
call apm_private.hand_over('apm_private.resolve_series(uuid, text[], text[], text[], text[], jsonb[], int)');
grant execute on function apm_private.resolve_series(uuid, text[], text[], text[], text[], jsonb[], int) to apm_writer;

create function apm_private.end_series(organization_id uuid, series_ids int[], ended_at timestamptz[]) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.apm_series as s set ended_at = u.ended_at
    from unnest(end_series.series_ids, end_series.ended_at) as u (id, ended_at)
    where s.organization_id = end_series.organization_id and s.id = u.id
$$;
call apm_private.hand_over('apm_private.end_series(uuid, int[], timestamptz[])');
grant execute on function apm_private.end_series(uuid, int[], timestamptz[]) to apm_writer;

-- Partitions: by day for blocks, made ahead; RLS on and forced on each, and no right for anyone, because a
-- partition read directly does not know its parent's policies. Attached, not created in place, which would lock
-- everybody out of the table; what it locks is the default partition, which is empty unless partitions came late.
create function apm_private.make_partition(parent regclass, name text, starts timestamptz, ends timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    fallback text := (select relname || '_default' from pg_catalog.pg_class where oid = make_partition.parent);
    key text := (
        select a.attname from pg_catalog.pg_partitioned_table as t
        join pg_catalog.pg_attribute as a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
        where t.partrelid = make_partition.parent
    );
begin
    if to_regclass(format('apm_partitions.%I', make_partition.name)) is not null then
        return false;
    end if;
    execute format(
        'create table apm_partitions.%I (like %s including defaults including constraints including storage)',
        make_partition.name, make_partition.parent
    );
    execute format('alter table apm_partitions.%I enable row level security', make_partition.name);
    execute format('revoke all on apm_partitions.%I from public, anon, authenticated, service_role', make_partition.name);
    -- Rows that were faster than their partition lie in the default one and would forbid the attaching.
    execute format('alter table apm_partitions.%I no force row level security', fallback);
    execute format(
        'with late as (delete from apm_partitions.%I where %I >= %L and %I < %L returning *)
        insert into apm_partitions.%I select * from late',
        fallback, key, make_partition.starts, key, make_partition.ends, make_partition.name
    );
    execute format('alter table apm_partitions.%I force row level security', fallback);
    execute format('alter table apm_partitions.%I force row level security', make_partition.name);
    execute format(
        'alter table %s attach partition apm_partitions.%I for values from (%L) to (%L)',
        make_partition.parent, make_partition.name, make_partition.starts, make_partition.ends
    );
    return true;
end
$$;
revoke all on function apm_private.make_partition(regclass, text, timestamptz, timestamptz)
    from public, anon, authenticated, service_role;

create table apm_partitions.apm_metrics_default partition of public.apm_metrics default;
alter table apm_partitions.apm_metrics_default enable row level security;
alter table apm_partitions.apm_metrics_default force row level security;
revoke all on apm_partitions.apm_metrics_default from public, anon, authenticated, service_role;

-- One row per sample, as people think of it; the last write of a sample is the one shown. Its "timestamp" is
-- computed and prunes nothing: apm_samples_between does.
create view public.apm_samples with (security_invoker = true) as
select
    d.organization_id,
    s.service_name,
    s.metric_name,
    s.metric_type,
    d.metric_value,
    s.unit,
    s.tags,
    d.wedding_context,
    d.apm_source,
    d."timestamp",
    d.series_id
from (
    select distinct on (b.organization_id, x.series_id, x."timestamp")
        b.organization_id, x.series_id, x."timestamp", x.metric_value, b.wedding_context, b.apm_source
    from public.apm_metrics as b
    cross join lateral (
        select u.series_id, b."timestamp" + u.offset_ms * interval '1 millisecond' as "timestamp", u.metric_value
        from unnest(b.series_ids, b.offsets_ms, b.metric_values) as u (series_id, offset_ms, metric_value)
        where b.level = 0
        union all
        select b.series_ids[1],
            b."timestamp" + coalesce(b.offsets_ms[i.n], (i.n - 1) * b.step_ms) * interval '1 millisecond',
            coalesce(b.metric_values[i.n], b.value_base + b.scaled_values[i.n] * b.value_scale)
        from generate_series(1, coalesce(cardinality(b.metric_values), cardinality(b.scaled_values))) as i (n)
        where b.level = 1
    ) as x
    order by b.organization_id, x.series_id, x."timestamp", b.block_id desc
) as d
left join public.apm_series as s on s.organization_id = d.organization_id and s.id = d.series_id;
revoke all on public.apm_samples from public, anon, authenticated, service_role;
grant select, insert on public.apm_samples to authenticated, service_role, apm_engine;

-- The samples of ["from", "to"): the same rows, from the few partitions and blocks that can hold them.
create function public.apm_samples_between("from" timestamptz, "to" timestamptz)
returns table (
    organization_id uuid, service_name text, metric_name text, metric_type public.metric_type, metric_value float8,
    unit text, tags jsonb, wedding_context jsonb, apm_source text, "timestamp" timestamptz, series_id int
)
language sql stable
as $$
    select
        d.organization_id, s.service_name, s.metric_name, s.metric_type, d.metric_value, s.unit, s.tags,
        d.wedding_context, d.apm_source, d."timestamp", d.series_id
    from (
        select distinct on (r.organization_id, r.series_id, r."timestamp") r.*
        from (
            select b.organization_id, u.series_id, b."timestamp" + u.offset_ms * interval '1 millisecond' as "timestamp",
                u.metric_value, b.wedding_context, b.apm_source, b.block_id
            from public.apm_metrics as b
            cross join lateral unnest(b.series_ids, b.offsets_ms, b.metric_values) as u (series_id, offset_ms, metric_value)
            where b.level = 0
                and b."timestamp" >= apm_samples_between."from" - interval '1 hour'
                and b."timestamp" < apm_samples_between."to"
                and b.ends_at >= apm_samples_between."from"
            union all
            select b.organization_id, b.series_ids[1],
                b."timestamp" + coalesce(b.offsets_ms[i.n], (i.n - 1) * b.step_ms) * interval '1 millisecond',
                coalesce(b.metric_values[i.n], b.value_base + b.scaled_values[i.n] * b.value_scale),
                b.wedding_context, b.apm_source, b.block_id
            from public.apm_metrics as b
            cross join lateral generate_series(1, coalesce(cardinality(b.metric_values), cardinality(b.scaled_values))) as i (n)
            where b.level = 1
                and b."timestamp" >= apm_samples_between."from" - interval '24 hours'
                and b."timestamp" < apm_samples_between."to"
                and b.ends_at >= apm_samples_between."from"
        ) as r
        where r."timestamp" >= apm_samples_between."from" and r."timestamp" < apm_samples_between."to"
        order by r.organization_id, r.series_id, r."timestamp", r.block_id desc
    ) as d
    left join public.apm_series as s on s.organization_id = d.organization_id and s.id = d.series_id
$$;
revoke all on function public.apm_samples_between(timestamptz, timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.apm_samples_between(timestamptz, timestamptz)
    to authenticated, service_role, apm_engine, apm_definer;

-- INSERT into the view: one sample, through the catalogue, for an owner or admin of the organization. Context
-- and type are checked by the table; the calendar answers where the sample brings no context.
create function apm_private.insert_sample() returns trigger
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
    select r.series_id into resolved
    from apm_private.resolve_series(
        new.organization_id, array[coalesce(new.service_name, 'default')], array[new.metric_name],
        array[coalesce(new.metric_type::text, case when new.metric_name like '%\_total' then 'counter' else 'gauge' end)],
        array[new.unit], array[coalesce(new.tags, '{}'::jsonb)], 20000
    ) as r;
    if resolved is null then
        raise exception 'organization % has as many series as it may have', new.organization_id
            using errcode = 'AP003', hint = 'Use fewer distinct tag values.';
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
call apm_private.hand_over('apm_private.insert_sample()');
create trigger apm_samples_insert instead of insert on public.apm_samples
for each row execute function apm_private.insert_sample();
