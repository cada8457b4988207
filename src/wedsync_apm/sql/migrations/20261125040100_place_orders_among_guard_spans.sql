-- pre: rules and the calendar know what operators order, and not the week's calendar alone.

-- When the platform is on guard over the range, by the calendar and by orders, each stretch with the mode that holds in
-- it ('enhanced', 'maximum'), and the weekly 'freeze'. No secret of anybody's. Nothing of an endless range.
create or replace function public.apm_guard_spans(earliest timestamptz, latest timestamptz)
returns table (kind text, span tstzrange)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    with weekly as materialized (
        select g.kind, g.span
        -- a week beyond the range, so that its last stretch has its own end
        from apm_private.guard_spans(apm_guard_spans.earliest, apm_guard_spans.latest + interval '8 days') as g
    ), turns as (
        select apm_guard_spans.earliest as at
        where isfinite(apm_guard_spans.earliest) and apm_guard_spans.latest <= apm_guard_spans.earliest + interval '1 year'
        union
        select t.at
        from weekly as w
        cross join lateral (values (lower(w.span)), (upper(w.span))) as t (at)
        where w.kind <> 'freeze' and t.at > apm_guard_spans.earliest
        union
        select t.at
        from apm_private.guard_overrides as o
        cross join lateral (values (o.starts_at), (least(o.ends_at, coalesce(o.ended_at, o.ends_at)))) as t (at)
        where o.ends_at > apm_guard_spans.earliest and o.starts_at < apm_guard_spans.latest
            and t.at > apm_guard_spans.earliest
    ), stretches as (
        select t.at as starts_at,
            coalesce(lead(t.at) over (order by t.at), apm_guard_spans.latest + interval '8 days') as ends_at
        from turns as t
    )
    select w.kind, w.span
    from weekly as w
    where w.kind = 'freeze' and w.span && tstzrange(apm_guard_spans.earliest, apm_guard_spans.latest, '[]')
    union all
    select l.mode, tstzrange(s.starts_at, s.ends_at)
    from stretches as s
    cross join lateral apm_private.guard_level_at(s.starts_at) as l
    where s.starts_at <= apm_guard_spans.latest and l.mode <> 'normal'
$$;
