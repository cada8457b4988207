-- find_writer_rights [apm_writer] --
-- Whether COPY is open to us: it is refused to every role that row-level security binds.
select rolsuper or rolbypassrls as can_copy from pg_catalog.pg_roles where rolname = current_user

-- resolve_series [apm_writer] --
-- The catalogue's ids of the series of many organizations, in their order; made where they are new and there is room.
select array_agg(
    coalesce(
        r.series_id,
        case when r.is_known then %(refused)s::int else %(unknown_organization)s::int end
    )
    order by r.ordinal
) as series_ids
from apm_private.resolve_many_series(
    %(organization_ids)b::uuid[],
    %(service_names)b::text[],
    %(metric_names)b::text[],
    %(metric_types)b::text[],
    %(units)b::text[],
    %(tags)b::text[]::jsonb[],
    %(series_limit)s::int
) as r

-- find_wedding_contexts [apm_writer] --
-- The spans in which samples of these organizations get a wedding context, the most telling one first.
select
    c.organization_id,
    floor(extract(epoch from lower(c.span)) * 1000)::bigint as start_ms,
    floor(extract(epoch from upper(c.span)) * 1000)::bigint as end_ms,
    c.wedding_context::text as context
from apm_private.wedding_contexts(
    %(organization_ids)b::uuid[],
    timestamptz 'epoch' + %(start_ms)s::bigint * interval '1 millisecond',
    timestamptz 'epoch' + %(end_ms)s::bigint * interval '1 millisecond'
) as c

-- announce_flush [apm_writer] --
-- Tells the readers of new blocks which ones come in this transaction; comes before the blocks, so that
-- the table does not announce each one by itself.
with announced as (
    insert into apm_private.flushes (organization_ids, earliest, latest)
    values (
        %(organization_ids)s::uuid[],
        %(earliest)s::timestamptz[],
        %(latest)s::timestamptz[]
    )
)
select set_config('apm.batch', 'on', true), pg_notify('apm_live', %(event)s::text)

-- insert_blocks [apm_writer] --
-- The blocks of a flush where COPY is closed to us: the same arrays, cut here.
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
    b.wedding_context::jsonb,
    b.apm_source
from unnest(
    %(organization_ids)b::uuid[],
    %(earliest)b::timestamptz[],
    %(latest)b::timestamptz[],
    %(start_ats)b::int4[],
    %(stop_ats)b::int4[],
    %(wedding_contexts)b::text[],
    %(apm_sources)b::text[]
) as b (organization_id, earliest, latest, start_at, stop_at, wedding_context, apm_source)

-- end_series [apm_writer] --
-- Notes that the sender declared these series of one organization over.
select apm_private.end_series(
    %(organization_id)s::uuid,
    %(series_ids)s::int4[],
    %(ended_at)s::timestamptz[]
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
