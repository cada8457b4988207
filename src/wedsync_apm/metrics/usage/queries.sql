-- What organizations keep: the caller's own, or those that a service asks about.

-- measure_usage --
-- Series, samples and bytes by organization; null for all that the caller may see. Bytes are what a row's columns take
-- as they are stored, with 28 for its header and its place in the page, and of each table's indexes the share that
-- falls to so many of its rows. Free space in the tables is nobody's.
with blocks as (
    select b.organization_id, b.tableoid as part, count(*) as row_count,
        sum(coalesce(b.sample_count, cardinality(b.metric_values), cardinality(b.scaled_values))) as samples,
        sum(coalesce(b.sample_count, cardinality(b.metric_values), cardinality(b.scaled_values)))
            filter (where b."timestamp" >= %(since)s::timestamptz) as samples_since,
        sum(
            28 + 50 + pg_column_size(b.series_ids) + coalesce(pg_column_size(b.offsets_ms), 0)
            + coalesce(pg_column_size(b.metric_values), 0) + coalesce(pg_column_size(b.scaled_values), 0)
            + coalesce(pg_column_size(b.wedding_context), 0) + pg_column_size(b.apm_source)
            + coalesce(pg_column_size(b.series_clocks), 0) + coalesce(pg_column_size(b.series_digits), 0)
            + coalesce(pg_column_size(b.clock_counts), 0) + coalesce(pg_column_size(b.packed_bases), 0)
            + coalesce(pg_column_size(b.packed_rises), 0) + coalesce(pg_column_size(b.packed_units), 0)
            + coalesce(pg_column_size(b.packed_widths), 0) + coalesce(pg_column_size(b.packed_starts), 0)
            + coalesce(pg_column_size(b.packed_bits), 0)
        ) as bytes
    from public.apm_metrics as b
    where %(organization_id)s::uuid is null or b.organization_id = %(organization_id)s::uuid
    group by b.organization_id, b.tableoid
), rollups as (
    select a.organization_id, a.tableoid as part, count(*) as row_count,
        sum(
            28 + 60 + pg_column_size(a.series_ids) + pg_column_size(a.sample_counts) + pg_column_size(a.sum_values)
            + pg_column_size(a.min_values) + pg_column_size(a.max_values) + pg_column_size(a.last_values)
            + pg_column_size(a.p50) + pg_column_size(a.p95) + pg_column_size(a.p99) + pg_column_size(a.sketches)
        ) as bytes
    from public.apm_metric_aggregations as a
    where %(organization_id)s::uuid is null or a.organization_id = %(organization_id)s::uuid
    group by a.organization_id, a.tableoid
), catalogue as (
    select s.organization_id, 'public.apm_series'::regclass::oid as part, count(*) as row_count,
        count(*) filter (where s.last_seen_at > now() - interval '24 hours') as active, sum(4 + pg_column_size(s.*)) as bytes
    from public.apm_series as s
    where %(organization_id)s::uuid is null or s.organization_id = %(organization_id)s::uuid
    group by s.organization_id
), indexes as (
    select p.organization_id, sum(pg_indexes_size(p.part) * (p.row_count / greatest(c.reltuples, p.row_count))) as bytes
    from (
        select organization_id, part, row_count from blocks
        union all
        select organization_id, part, row_count from rollups
        union all
        select organization_id, part, row_count from catalogue
    ) as p
    join pg_catalog.pg_class as c on c.oid = p.part
    group by p.organization_id
)
select i.organization_id,
    coalesce(max(s.row_count), 0)::bigint as series,
    coalesce(max(s.active), 0)::bigint as active_series,
    coalesce(max(b.samples), 0)::bigint as samples,
    coalesce(max(b.samples_since), 0)::bigint as samples_last_day,
    coalesce(max(b.bytes), 0)::bigint as sample_bytes,
    coalesce(max(r.bytes), 0)::bigint as rollup_bytes,
    coalesce(max(s.bytes), 0)::bigint as series_bytes,
    coalesce(max(i.bytes), 0)::bigint as index_bytes
from indexes as i
left join (
    select organization_id, sum(samples) as samples, sum(samples_since) as samples_since, sum(bytes) as bytes
    from blocks group by organization_id
) as b on b.organization_id = i.organization_id
left join (select organization_id, sum(bytes) as bytes from rollups group by organization_id) as r
    on r.organization_id = i.organization_id
left join catalogue as s on s.organization_id = i.organization_id
group by i.organization_id
order by i.organization_id
