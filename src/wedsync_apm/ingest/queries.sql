-- resolve_series [apm_writer] --
-- The catalogue's ids of the series of many organizations, in their order; made where they are new and there is room.
-- Nobody waits for the disk here: the samples that need them are committed later, and with them all that came before.
select apm_private.find_or_make_series(
    %(organization_ids)b::uuid[],
    %(service_names)b::text[],
    %(metric_names)b::text[],
    %(metric_types)b::text[],
    %(units)b::text[],
    %(tags)b::text[],
    %(fingerprints)b::bytea[],
    %(series_limit)b::int,
    %(refused)b::int,
    %(unknown_organization)b::int
) as series_ids, set_config('synchronous_commit', 'off', true) as is_synchronous

-- find_wedding_contexts [apm_writer] --
-- The spans in which samples of these organizations get a wedding context, the most telling one first; null for none.
select json_agg(
    json_build_array(
        c.organization_id,
        floor(extract(epoch from lower(c.span)) * 1000)::bigint,
        floor(extract(epoch from upper(c.span)) * 1000)::bigint,
        c.wedding_context::text
    ) order by c.ordinality
) as spans
from apm_private.wedding_contexts(
    %(organization_ids)b::uuid[],
    timestamptz 'epoch' + %(start_ms)b::bigint * interval '1 millisecond',
    timestamptz 'epoch' + %(end_ms)b::bigint * interval '1 millisecond'
) with ordinality as c

-- store_blocks [apm_writer] --
-- A flush: notes for the readers which blocks come in this transaction, before the first of them, so that the table
-- does not announce each one by itself; then cuts them out of the columns.
with noted as (
    insert into apm_private.flushes (organization_ids, earliest, latest)
    values (%(organization_ids)b::uuid[], %(earliest)b::timestamptz[], %(latest)b::timestamptz[])
    returning set_config('apm.batch', 'on', true)
)
insert into public.apm_metrics (
    organization_id, "timestamp", ends_at, series_ids, offsets_ms, metric_values, wedding_context, apm_source
)
select
    b.organization_id,
    b.earliest,
    b.latest,
    (%(series_ids)b::int4[])[b.start_at : b.stop_at],
    (%(offsets_ms)b::int4[])[b.start_at : b.stop_at],
    (%(metric_values)b::float8[])[b.start_at : b.stop_at],
    (%(wedding_contexts)b::text[])[b.context_at]::jsonb,
    (%(apm_sources)b::text[])[b.source_at]
from noted as n
cross join unnest(
    %(organization_ids)b::uuid[],
    %(earliest)b::timestamptz[],
    %(latest)b::timestamptz[],
    %(start_ats)b::int4[],
    %(stop_ats)b::int4[],
    %(context_ats)b::int4[],
    %(source_ats)b::int4[]
) as b (organization_id, earliest, latest, start_at, stop_at, context_at, source_at)

-- announce_flushes [apm_writer] --
-- Tells whoever listens that samples came in. Of a hint nothing need be on the disk.
select pg_notify('apm_live', %(event)s::text), set_config('synchronous_commit', 'off', true)

-- end_series [apm_writer] --
-- Notes that the sender declared these series of one organization over.
select apm_private.end_series(
    %(organization_id)b::uuid,
    %(series_ids)b::int4[],
    array(
        select timestamptz 'epoch' + u.ended_ms * interval '1 millisecond'
        from unnest(%(ended_ms)b::bigint[]) with ordinality as u (ended_ms, place)
        order by u.place
    )
)

-- count_refusals [apm_writer] --
-- Adds what was not taken to the counts that its organization sees.
select apm_private.count_refusals(
    %(organization_ids)b::uuid[],
    %(sources)b::text[],
    %(reasons)b::text[],
    %(counts)b::bigint[],
    %(examples)b::text[]
)

-- read_clock [apm_api] --
-- What the database's clock shows, in seconds since 1970.
select extract(epoch from clock_timestamp())::float8 as seconds
