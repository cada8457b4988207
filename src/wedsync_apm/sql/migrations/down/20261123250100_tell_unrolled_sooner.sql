-- pre: looks at every place again.

-- The stretches of whole buckets in ["from", "to") of one of the caller's organizations that flushes have touched and
-- the rollups of the width have not seen: new samples, and late ones.
create or replace function public.apm_unrolled_between(
    organization_id uuid, width interval, "from" timestamptz, "to" timestamptz
) returns table (starts timestamptz, ends timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    with seen as materialized (
        select (
            select c.snapshot
            from apm_private.cursors as c
            where c.name = 'rollup ' || extract(epoch from apm_unrolled_between.width)::bigint || ' '
                    || apm_private.rollup_slice(apm_unrolled_between.organization_id)
                -- one from before a restore lies in the future and counts for nothing
                and pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
        ) as snapshot
    )
    select lower(r.stretch), upper(r.stretch)
    from (
        select range_agg(tstzrange(
            date_bin(apm_unrolled_between.width, e.earliest, timestamptz '2000-01-01 00:00:00+00'),
            date_bin(apm_unrolled_between.width, e.latest, timestamptz '2000-01-01 00:00:00+00')
                + apm_unrolled_between.width
        )) as stretches
        from apm_private.flushes as f
        cross join lateral unnest(f.organization_ids, f.earliest, f.latest) as e (organization_id, earliest, latest)
        where apm_unrolled_between.organization_id = any ((select public.apm_current_organization_ids())::uuid[])
            and f.xid >= (select coalesce(pg_snapshot_xmin(s.snapshot), '0'::xid8) from seen as s)
            and f.organization_ids @> array[apm_unrolled_between.organization_id]
            and (
                select s.snapshot is null or not pg_visible_in_snapshot(f.xid, s.snapshot) from seen as s
            )
            and e.organization_id = apm_unrolled_between.organization_id
            and e.earliest < apm_unrolled_between."to"
            and e.latest >= apm_unrolled_between."from"
    ) as t
    cross join lateral unnest(t.stretches) as r (stretch)
$$;
