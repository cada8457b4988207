-- Compaction: what is to be done, the rows that are taken in, and those that take their place.

-- settle_blocks [apm_engine] --
-- Up to which block everything is committed or never will be.
select apm_private.settle_blocks(%(older_than)s::interval) as settled_id

-- note_work [apm_engine] --
-- Notes the organizations and days of every flush since the last look; a flush may be noted twice, never missed.
with valid as materialized (
    select c.snapshot from apm_private.cursors as c
    where c.name = %(name)s::text and pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
), noted as (
    insert into apm_private.compaction_work as w (organization_id, day, noted_at, block_count)
    select o.organization_id, (o.earliest at time zone 'UTC')::date, min(f.flushed_at), count(*)
    from apm_private.flushes as f
    cross join lateral unnest(f.organization_ids, f.earliest) as o (organization_id, earliest)
    where f.xid >= coalesce((select pg_snapshot_xmax(v.snapshot) from valid as v), '0'::xid8)
        or f.xid = any (array(select pg_snapshot_xip(v.snapshot) from valid as v))
    group by o.organization_id, (o.earliest at time zone 'UTC')::date
    order by o.organization_id, (o.earliest at time zone 'UTC')::date
    on conflict (organization_id, day) do update set
        noted_at = least(w.noted_at, excluded.noted_at), block_count = w.block_count + excluded.block_count
    returning organization_id
), moved as (
    insert into apm_private.cursors as c (name, snapshot, updated_at)
    values (%(name)s::text, pg_current_snapshot(), clock_timestamp())
    on conflict (name) do update set snapshot = excluded.snapshot, updated_at = excluded.updated_at
)
select (select count(*) from noted) as noted, exists (select from valid) as is_continued

-- note_everything [apm_engine] --
-- Without a valid cursor the flushes may be gone: whatever lies uncompacted is noted.
insert into apm_private.compaction_work as w (organization_id, day, noted_at, block_count)
select b.organization_id, (b."timestamp" at time zone 'UTC')::date, min(b.ingested_at), count(*)
from public.apm_metrics as b
where b.level = 0
group by b.organization_id, (b."timestamp" at time zone 'UTC')::date
on conflict (organization_id, day) do update set
    noted_at = least(w.noted_at, excluded.noted_at), block_count = greatest(w.block_count, excluded.block_count)

-- claim_work [apm_engine] --
-- A day that is worth a run: its oldest batch has waited long enough, or there are many. Nobody else gets it meanwhile.
select w.organization_id, w.day, w.block_count
from apm_private.compaction_work as w
where (w.noted_at <= %(noted_before)s::timestamptz or w.block_count >= %(blocks)s::bigint)
    and not exists (
        select from unnest(%(stuck_organizations)s::uuid[], %(stuck_days)s::date[]) as s (organization_id, day)
        where s.organization_id = w.organization_id and s.day = w.day
    )
order by w.noted_at
limit 1
for update skip locked

-- list_batches [apm_engine] --
-- The oldest settled write batches of a day, up to a number of samples.
select b.place, b.block_id, b.level, b.first_ms, b.series_ids, b.offsets_ms, b.metric_values, b.wedding_context, b.source
from (
    select m.ctid::text as place, m.block_id, m.level, (extract(epoch from m."timestamp") * 1000)::bigint as first_ms,
        m.series_ids, m.offsets_ms, m.metric_values, m.wedding_context::text as wedding_context, m.apm_source as source,
        sum(cardinality(m.series_ids)) over (order by m.block_id rows unbounded preceding) - cardinality(m.series_ids)
            as samples_before
    from public.apm_metrics as m
    where m.level = 0
        and m.organization_id = %(organization_id)s::uuid
        and m."timestamp" >= %(from)s::timestamptz
        and m."timestamp" < %(to)s::timestamptz
        and m.block_id <= %(settled_id)s::bigint
) as b
where b.samples_before < %(most_samples)s::bigint
order by b.block_id

-- list_headers [apm_engine] --
-- The compacted rows of a day, without their samples.
select b.ctid::text as place, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms,
    (extract(epoch from b.ends_at) * 1000)::bigint as last_ms, b.series_ids,
    coalesce(b.sample_count, cardinality(b.metric_values), cardinality(b.scaled_values)) as sample_count
from public.apm_metrics as b
where b.level = 1
    and b.organization_id = %(organization_id)s::uuid
    and b."timestamp" >= %(from)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz

-- list_compacted [apm_engine] --
-- Compacted rows with their samples.
select b.block_id, b.level, (extract(epoch from b."timestamp") * 1000)::bigint as first_ms, b.series_ids, b.offsets_ms,
    b.metric_values, b.step_ms, b.scaled_values, b.value_base, b.value_scale, b.series_clocks, b.series_digits,
    b.clock_counts, b.packed_bases, b.packed_rises, b.packed_units, b.packed_widths, b.packed_starts, b.packed_bits,
    b.wedding_context::text as wedding_context, b.apm_source as source
from public.apm_metrics as b
where b.level = 1
    and b.organization_id = %(organization_id)s::uuid
    and b."timestamp" >= %(from)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz
    and b.ctid = any (%(places)s::text[]::tid[])

-- announce_nothing [apm_engine] --
-- What this transaction writes is nothing new to those who follow new blocks.
select set_config('apm.batch', 'on', true)

-- insert_packed [apm_engine] --
-- A row that takes the place of others.
insert into public.apm_metrics (
    organization_id, "timestamp", ends_at, level, series_ids, metric_values, sample_count, series_clocks, series_digits,
    clock_counts, packed_bases, packed_rises, packed_units, packed_widths, packed_starts, packed_bits, wedding_context,
    apm_source, block_id
)
values (
    %(organization_id)s::uuid,
    timestamptz 'epoch' + %(first_ms)s::bigint * interval '1 millisecond',
    timestamptz 'epoch' + %(last_ms)s::bigint * interval '1 millisecond',
    1, %(series_ids)s::int4[], %(metric_values)s::float8[], %(sample_count)s::int4, %(series_clocks)s::int4[],
    %(series_digits)s::int2[], %(clock_counts)s::int4[], %(packed_bases)s::int8[], %(packed_rises)s::int8[],
    %(packed_units)s::int4[], %(packed_widths)s::int2[], %(packed_starts)s::int4[], %(packed_bits)s::bit varying,
    %(wedding_context)s::text::jsonb, %(source)s::text, %(block_id)s::bigint
)

-- delete_rows [apm_engine] --
-- The rows whose place is taken.
delete from public.apm_metrics as b
where b.level = %(level)s::smallint
    and b.organization_id = %(organization_id)s::uuid
    and b."timestamp" >= %(from)s::timestamptz
    and b."timestamp" < %(to)s::timestamptz
    and b.ctid = any (%(places)s::text[]::tid[])

-- keep_work [apm_engine] --
-- What is left to do for a day, if anything is.
with rest as (
    select min(b.ingested_at) as noted_at, count(*) as block_count
    from public.apm_metrics as b
    where b.level = 0
        and b.organization_id = %(organization_id)s::uuid
        and b."timestamp" >= %(from)s::timestamptz
        and b."timestamp" < %(to)s::timestamptz
), done as (
    delete from apm_private.compaction_work as w
    using rest as r
    where w.organization_id = %(organization_id)s::uuid and w.day = %(day)s::date and r.block_count = 0
)
update apm_private.compaction_work as w
set noted_at = r.noted_at, block_count = r.block_count
from rest as r
where w.organization_id = %(organization_id)s::uuid and w.day = %(day)s::date and r.block_count > 0
