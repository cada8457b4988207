-- pre: the engine computes whole rollups and writes many at once: what a row of them looks like to it.

create type apm_private.rollup_row as (
    organization_id uuid,
    time_bucket timestamptz,
    series_ids int4[],
    sample_counts int8[],
    sum_values float8[],
    min_values float8[],
    max_values float8[],
    first_values float8[],
    last_values float8[],
    increases float8[],
    p50 float8[],
    p95 float8[],
    p99 float8[],
    sketches bytea[],
    is_wedding_day boolean,
    parts int
);
